"""Freezing a server with all its processes, in a way that ends with whoever froze it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from stack.servers import Server

_THAW_S = 10.0
# A frozen PostgreSQL cannot obey the signal by which an orphan ends: should the harness be killed, its end of the
# pipe closes, and this continues what was stopped.
_WATCH = """
import os, signal, sys
for pid in [int(line) for line in sys.stdin]:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass
"""


@contextlib.contextmanager
def frozen(*servers: Server) -> Iterator[list[int]]:
    """SIGSTOP to the servers and all their descendants; SIGCONT when the block ends. Gives the process ids."""
    watch = subprocess.Popen([sys.executable, "-I", "-S", "-c", _WATCH], stdin=subprocess.PIPE, start_new_session=True)
    assert watch.stdin is not None
    stopped: list[int] = []
    try:
        for server in servers:
            # Parents first, and once more: a child may have been made meanwhile.
            while more := [pid for pid in family(server) if pid not in stopped]:
                watch.stdin.write("".join(f"{pid}\n" for pid in more).encode())
                watch.stdin.flush()
                send(more, signal.SIGSTOP)
                stopped += more
        yield stopped
    finally:
        send(stopped, signal.SIGCONT)  # the watch would do it, too, some milliseconds later
        watch.stdin.close()
        watch.wait(_THAW_S)


def send(pids: list[int], number: signal.Signals) -> None:
    """A signal to those that still are."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def family(server: Server) -> list[int]:
    """A server and all its descendants: PostgreSQL's back ends each lead a group of their own."""
    found = [] if server.pid is None else [server.pid]
    parents = _parents()
    for pid in found:  # grows while it is walked
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _parents() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # The name in brackets may hold spaces and brackets of its own.
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return parents
