"""What every server and process of the stack has in common: prepare, spawn, become ready, end."""

import asyncio
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from stack.errors import StartError
from stack.files import make_private_dir
from stack.ports import PortBook, PortClaim
from stack.process import Process

LOOPBACK = "127.0.0.1"
_PROBE_INTERVAL_S = 0.03
# One look at a server may take this long; a server that is busy recovering answers late, or not yet.
_PROBE_TIMEOUT_S = 2.0


class Server(ABC):
    """One long-running child on its data folder.

    ``role`` is its word in ``stampede ps``; ``name`` tells two of one role apart and names log and port.
    """

    role: str
    # Becoming ready includes recovery after a kill: the AOF is read, the write-ahead log replayed; and a
    # machine that starts two stacks and their tests on two cores is slow.
    start_timeout_s = 60.0
    stop_grace_s = 5.0

    def __init__(
        self, name: str, data_dir: Path, *, port: int | None = None, preferred_port: int | None = None
    ) -> None:
        """Live in ``data_dir``, on ``port`` or a free one (the same again after a restart)."""
        self.name = name
        self.data_dir = make_private_dir(data_dir.absolute())
        self._wanted_port = port
        self._preferred_port = preferred_port
        self._claim: PortClaim | None = None
        self._process: Process | None = None

    @property
    def port(self) -> int:
        """The loopback port, claimed at first use and kept until ``stop``."""
        if self._claim is None:
            self._claim = PortBook(self.data_dir).claim(
                self.name, wanted=self._wanted_port, preferred=self._preferred_port
            )
        return self._claim.port

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return self.data_dir / "logs" / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.running

    def log_tail(self) -> str:
        """The last lines of its output, for an error message."""
        return self._process.log_tail() if self._process else ""

    async def prepare(self) -> None:  # noqa: B027 - most servers need nothing
        """Make what must exist before the process can start. May run again before each start."""

    @abstractmethod
    def process(self) -> Process:
        """The command as it is now, not yet started."""

    @abstractmethod
    async def probe(self) -> bool:
        """One look: does it serve? May raise OSError for "not yet"."""

    async def start(self) -> None:
        """Prepare, spawn and wait until it serves. StartError, with nothing left running, if it does not."""
        if self.running:
            return
        self.kill()  # whatever a dead process has left of its group: nginx's workers hold the port
        await self.prepare()
        self._process = self.process()
        self._process.spawn()
        try:
            await self._wait_ready()
        except BaseException:
            self._process.kill()
            raise

    async def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self.start_timeout_s
        while True:
            if not self._process.running:
                self._process.reap()
                msg = (
                    f"{self.name} ended while it was starting (exit status {self._process.returncode}):\n"
                    f"{self.log_tail()}"
                )
                raise StartError(msg)
            if await self._serves():
                return
            if time.monotonic() >= deadline:
                msg = (
                    f"{self.name} was not ready after {self.start_timeout_s:.0f} s; see {self.log_path}\n"
                    f"{self.log_tail()}"
                )
                raise StartError(msg)
            await asyncio.sleep(_PROBE_INTERVAL_S)

    async def _serves(self) -> bool:
        try:
            return await asyncio.wait_for(self.probe(), _PROBE_TIMEOUT_S)
        except (OSError, TimeoutError):
            return False

    async def stop(self) -> None:
        """End it cleanly, by force after ``stop_grace_s``, and give its port back."""
        await self._end()
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    async def _end(self) -> None:
        if self._process is not None:
            await self._process.stop(self.stop_grace_s)

    def kill(self) -> None:
        """``kill -9``, as a fault would; ``start`` brings it back on its data."""
        if self._process is not None:
            self._process.kill()

    async def restart(self) -> None:
        """Stop and start on the same data and the same port."""
        await self._end()
        await self.start()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()


async def tcp_answers(port: int, host: str = LOOPBACK) -> bool:
    """Whether something accepts connections there."""
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    return True


async def http_status(port: int, path: str, host: str = LOOPBACK) -> int:
    """The status of one GET; OSError when nothing answers HTTP there."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        words = (await reader.readline()).split()
        return int(words[1]) if len(words) > 1 else 0
    finally:
        writer.close()
