"""Who is whose child, from /proc: to see that nothing is left behind."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.05


@dataclass(frozen=True)
class Seen:
    """A process as it was seen; the start time tells it from a later one with the same number."""

    pid: int
    parent: int
    started: int
    name: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        now = look(self.pid)
        return now is not None and now.started == self.started


def look(pid: int) -> Seen | None:
    """The process of that number; None when there is none or only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name, fields = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] == "Z" else Seen(pid, int(fields[1]), int(fields[19]), name)


def descendants(pid: int) -> list[Seen]:
    """All children, their children, and so on."""
    everybody = [seen for entry in Path("/proc").iterdir() if entry.name.isdigit() and (seen := look(int(entry.name)))]
    found: list[Seen] = []
    parents = {pid}
    while parents:
        children = [seen for seen in everybody if seen.parent in parents]
        found += children
        parents = {seen.pid for seen in children}
    return found


async def gone(family: list[Seen], within_s: float) -> list[Seen]:
    """Wait until none of them lives; the survivors."""
    deadline = time.monotonic() + within_s
    while (alive := [seen for seen in family if seen.alive]) and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_S)
    return alive
