"""One child process: its command, its log, its end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stack.errors import StartError

_LAUNCH = Path(__file__).with_name("launch.py")
# A child is looked at this often while somebody waits for its end.
_POLL_INTERVAL_S = 0.02
_GROUP_END_LIMIT_S = 0.5
_GROUP_END_POLL_S = 0.002
# A log that has grown beyond this is set aside at the next start; one old log is kept.
_LOG_LIMIT_BYTES = 16 * 1024 * 1024
_LOG_TAIL_LINES = 20


class Process:
    """A child in a session of its own, so that Ctrl-C at the terminal reaches the supervisor alone.

    It dies with the thread that spawned it (see ``stack.launch``), hence ``spawn`` insists on the main
    thread. Its whole process group is killed before it is reaped: until then the group's number cannot be
    taken by a stranger.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        wrapper: Sequence[str] = (),
        stop_signal: signal.Signals = signal.SIGTERM,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Describe the child; nothing runs yet.

        ``wrapper`` runs before the command and replaces itself by it (``unshare``, ``setpriv``).
        ``orphan_signal`` is what the kernel sends when the parent is gone: a signal on which a server ends
        its own children too.
        """
        self.argv = list(argv)
        self.log_path = log_path
        self.env = env
        self.cwd = cwd
        self.wrapper = list(wrapper)
        self.stop_signal = stop_signal
        self.orphan_signal = orphan_signal
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        return self._popen.pid if self.running and self._popen else None

    @property
    def running(self) -> bool:
        """Whether the child was spawned and has not ended. Does not reap it."""
        if self._popen is None or self._popen.returncode is not None:
            return False
        ended = os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return ended is None

    @property
    def returncode(self) -> int | None:
        """The exit status after ``reap``; negative for a signal."""
        return self._popen.returncode if self._popen else None

    def spawn(self) -> None:
        """Start the child, output appended to its log.

        Raises RuntimeError outside the main thread: the child would die with that thread.
        """
        if threading.current_thread() is not threading.main_thread():
            msg = "a child must be spawned from the main thread: it dies with the thread that spawned it"
            raise RuntimeError(msg)
        if self.running:
            return
        self.reap()
        launcher = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), str(int(self.orphan_signal))]
        with _open_log(self.log_path) as log:
            self._popen = subprocess.Popen(  # noqa: S603 - the stack's own commands, never a shell
                [*self.wrapper, *launcher, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.env) if self.env is not None else None,
                cwd=self.cwd,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        """Signal the child itself, if it still runs."""
        if self._popen is not None and self.running:
            os.kill(self._popen.pid, number)

    def reap(self) -> None:
        """Collect an ended child, and end whatever is left of its process group."""
        if self._popen is None or self._popen.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        _await_group_end(self._popen.pid)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the child's own end; False when it still runs after the time-out."""
        deadline = time.monotonic() + timeout_s
        while self.running:
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(_POLL_INTERVAL_S)
        return True

    async def stop(self, grace_s: float) -> None:
        """Ask the child to end, then make it."""
        self.send(self.stop_signal)
        try:
            await self.wait(grace_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """``kill -9`` of the whole group, and reap it."""
        self.reap()

    def log_tail(self) -> str:
        """The last lines of the log, for an error message."""
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-_LOG_TAIL_LINES:])


async def run_to_end(process: Process, *, timeout_s: float, what: str) -> None:
    """Run a command once; StartError with the end of its log unless it exits with 0 in time."""
    process.spawn()
    try:
        ended = await process.wait(timeout_s)
    finally:
        process.kill()
    if not ended:
        msg = f"{what} took longer than {timeout_s:.0f} s; see {process.log_path}"
        raise StartError(msg)
    if process.returncode != 0:
        msg = f"{what} failed with exit status {process.returncode}:\n{process.log_tail()}"
        raise StartError(msg)


def _await_group_end(group: int) -> None:
    """Wait for the killed members: until the last is gone the group may hold the port of its successor.

    Some milliseconds; bounded, because a container's first process may never collect its orphans.
    """
    deadline = time.monotonic() + _GROUP_END_LIMIT_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(_GROUP_END_POLL_S)


def _open_log(path: Path) -> contextlib.AbstractContextManager[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_LIMIT_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    return _open_fd(path)


@contextlib.contextmanager
def _open_fd(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
