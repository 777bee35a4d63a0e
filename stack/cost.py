"""What processes cost: CPU time and memory, read from the kernel.

    with Cost({"api": [pid, …], "gate": [pid]}) as cost:
        …
    cost.us["api"]

CPU time is the kernel's own account of each process and its children (``clock_gettime`` on the process's CPU clock:
nanoseconds, ended threads included; utime and stime in ``/proc/<pid>/stat`` count in steps of 10 ms). Children that
have ended and been waited for come from ``cutime`` and ``cstime`` of their parent. Linux only.
"""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from stack.errors import StackError

_TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


class ProcessGone(StackError):
    """A process that was to be measured has ended."""


def process_tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for one in found:
        try:
            tasks = list((_PROC / str(one) / "task").iterdir())
            for task in tasks:
                found += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended since
            continue
    return found


def cpu_us(pid: int) -> float:
    """CPU time of a process tree so far, in microseconds. Raises ``ProcessGone`` when its root has ended."""
    try:
        total_us = _own_us(pid) + _waited_for_us(pid)
    except OSError:
        raise ProcessGone(f"process {pid} has ended") from None
    for child in process_tree(pid)[1:]:
        try:
            total_us += _own_us(child) + _waited_for_us(child)
        except OSError:  # ended between the list and the look: its parent has it now
            continue
    return total_us


def rss_bytes(pid: int) -> int:
    """Resident memory of one process. Raises ``ProcessGone``."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        raise ProcessGone(f"process {pid} has ended") from None


def _own_us(pid: int) -> float:
    # The kernel's numbering of process clocks (clock_getcpuclockid): the complement of the pid, and 2 for CPU time.
    return time.clock_gettime_ns((~pid << 3) | 2) / 1_000


def _waited_for_us(pid: int) -> float:
    # After the name, which may hold anything but ends at the last parenthesis: fields 3 …; cutime is field 16.
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) * _TICK_US


class Cost:
    """CPU-µs of process trees between the begin and the end of a ``with`` block, by role."""

    def __init__(self, pids_by_role: Mapping[str, Iterable[int]]) -> None:
        """Several processes of one role are added up."""
        self._pids = {role: tuple(pids) for role, pids in pids_by_role.items()}
        self._before: dict[str, float] = {}
        self.us: dict[str, float] = {}

    def _read(self) -> dict[str, float]:
        return {role: sum(map(cpu_us, pids)) for role, pids in self._pids.items()}

    def __enter__(self) -> Self:
        self._before = self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises ``ProcessGone`` when one of them has ended meanwhile: its cost is not known."""
        if kind is None:
            self.us = {role: after - self._before[role] for role, after in self._read().items()}

    def total_us(self, *, without: Iterable[str] = ()) -> float:
        """All roles together, but for these."""
        left_out = frozenset(without)
        return sum(us for role, us in self.us.items() if role not in left_out)
