"""Points in a process's work at which a drill may end it, by ``kill -9`` from within.

A drill arms a point by n files in a folder that it shares with the processes. Whoever comes by takes one of them away
(an ``unlink`` has one winner), and the process that takes the last kills itself: the n-th pass of all processes
together. An unarmed point costs three failed ``unlink``.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

POINTS = {
    "drain.before-reading": "worker: holds the cursor's lock, has read nothing of the journal",
    "drain.before-commit": "worker: after the SQL of a batch, before its commit",
    "drain.after-commit": "worker: after a batch's commit, before `applied` is published",
    "expiry.before-commit": "worker: holds ended, not committed",
    "relay.before-telling": "worker: rows of the outbox read, the gate not told",
    "relay.after-telling": "worker: the gate told, the rows not marked",
    "settle.before-commit": "API or worker: a captured payment settled, not committed",
    "notify.before-sending": "worker: a message claimed, not sent",
    "notify.after-sending": "worker: a message sent, not written down",
    "admit.before-script": "API: attempts gathered, the script not called",
    "admit.after-script": "API: the script has answered, the shoppers have not been",
    "clock.after-slots": "clock: slots taken, nothing enqueued",
}
"""Every point, and where the process stands when it dies there."""

PASSES_MAX = 3
_POLL_S = 0.02


class Seams:
    """A process's side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pass_by(self, point: str) -> None:
        """The process is at ``point``; it may not return."""
        assert point in POINTS, point
        for left in range(PASSES_MAX, 0, -1):
            try:
                (self._folder / f"{point}.{left}").unlink()
            except FileNotFoundError:
                continue
            if left == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return


class Arms:
    """The drill's side."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def arm(self, point: str, nth: int) -> None:
        """End the process that makes the ``nth`` pass of all from now on, 1 to ``PASSES_MAX``."""
        assert point in POINTS, point
        assert 1 <= nth <= PASSES_MAX, nth
        for left in range(nth, 0, -1):  # the deadly one last: who comes by meanwhile takes those that are there
            (self._folder / f"{point}.{left}").touch()

    def disarm(self, point: str) -> bool:
        """Take the arm back; whether a process had ended itself before."""
        gone = not self._deadly(point).exists()
        for left in range(1, PASSES_MAX + 1):
            (self._folder / f"{point}.{left}").unlink(missing_ok=True)
        return gone

    async def taken(self, point: str, *, within_s: float) -> bool:
        """Wait until a process has ended itself there; False, and disarmed, when none has in time."""
        deadline = time.monotonic() + within_s
        while self._deadly(point).exists():
            if time.monotonic() >= deadline:
                return self.disarm(point)
            await asyncio.sleep(_POLL_S)
        return True

    def _deadly(self, point: str) -> Path:
        return self._folder / f"{point}.1"
