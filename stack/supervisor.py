"""Start servers in order, keep them alive, stop them all: for as long as one process lives.

Stages start one after the other, the servers of a stage together. Until all is ready a death is a failed
start; from then on a server that dies is started again on its data, at once the first time, then with
growing pauses. Stopping goes through the stages backwards.
If this process is killed, the kernel ends the children (``stack.launch``); the lock on the data folder
falls with it.
"""

import asyncio
import contextlib
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from stack.errors import StartError
from stack.servers.base import Server
from stack.state import ProcessRow, forget, own_data_dir, save_processes

_T = TypeVar("_T")
_WATCH_INTERVAL_S = 0.1
# Pauses before the first, second … start in a row; a process that has lived this long starts the row anew.
_BACK_OFF_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
_STABLE_AFTER_S = 20.0


@dataclass(frozen=True)
class Stage:
    """Servers that start together; ``after`` runs when all of them serve."""

    servers: Sequence[Server]
    after: Callable[[], Awaitable[None]] | None = None


class Supervisor:
    """Runs stages of servers in one data folder."""

    def __init__(self, data_dir: Path, build: Callable[[], Sequence[Stage]]) -> None:
        """``build`` describes the stages; it is called when the folder is ours, for it claims ports there."""
        self.data_dir = data_dir
        self._build = build
        self._stages: Sequence[Stage] = ()
        self._stopping = asyncio.Event()
        self._ready = False
        self._watched: dict[str, Server] = {}
        self._started_at: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._revivals: dict[str, asyncio.Task[None]] = {}

    async def run(
        self, body: Callable[[], Awaitable[_T]], *, ready: Callable[[], Awaitable[None]] | None = None
    ) -> _T | None:
        """Start everything, wait for ``ready``, run ``body``, stop everything.

        Returns the body's result, or None when SIGINT, SIGTERM or SIGHUP ended the run first. A start that
        fails, or a server that dies before all is ready, raises StackError after everything that had
        started is stopped. A second signal kills.
        """
        with own_data_dir(self.data_dir), _events(self.data_dir) as log:
            self._log = log
            _raise_descriptor_limit()
            forget(self.data_dir)
            self._stages = self._build()
            with self._signals():
                try:
                    return await self._run_until_stopped(body, ready)
                finally:
                    await self._stop_all()
                    forget(self.data_dir)

    async def _run_until_stopped(
        self, body: Callable[[], Awaitable[_T]], ready: Callable[[], Awaitable[None]] | None
    ) -> _T | None:
        stopped = asyncio.create_task(self._stopping.wait())
        work = asyncio.create_task(self._start_and_run(body, ready))
        watch = asyncio.create_task(self._watch())
        tasks: set[asyncio.Task[Any]] = {stopped, work, watch}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
            return work.result() if work.done() else None
        finally:
            await _cancel(tasks)

    async def _start_and_run(
        self, body: Callable[[], Awaitable[_T]], ready: Callable[[], Awaitable[None]] | None
    ) -> _T:
        for stage in self._stages:
            await self._start_stage(stage)
        if ready is not None:
            await ready()
        self._ready = True
        return await body()

    async def _start_stage(self, stage: Stage) -> None:
        starts = [asyncio.create_task(self._start(server)) for server in stage.servers]
        try:
            await asyncio.gather(*starts)
        finally:
            await _cancel(starts)
        if stage.after is not None:
            await stage.after()

    async def _start(self, server: Server) -> None:
        await server.start()
        self._log.info("server.started", server=server.name, pid=server.pid)
        self._watched[server.name] = server
        self._started_at[server.name] = time.monotonic()
        self._publish()

    async def _watch(self) -> None:
        while True:
            for server in list(self._watched.values()):
                if server.running:
                    continue
                if not self._ready:
                    raise StartError(f"{server.name} ended while the stack was starting:\n{server.log_tail()}")
                revival = self._revivals.get(server.name)
                if revival is None or revival.done():
                    self._revivals[server.name] = asyncio.create_task(self._revive(server))
            await asyncio.sleep(_WATCH_INTERVAL_S)

    async def _revive(self, server: Server) -> None:
        """Start a dead server until it stays, with growing pauses."""
        if time.monotonic() - self._started_at[server.name] >= _STABLE_AFTER_S:
            self._failures[server.name] = 0
        self._publish()
        while True:
            failures = self._failures.get(server.name, 0)
            self._failures[server.name] = failures + 1
            pause_s = _BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)]
            self._log.warning("server.died", server=server.name, failures=failures + 1, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            try:
                await self._start(server)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next attempt may succeed
                self._log.warning("server.start_failed", server=server.name, error=str(error))
            else:
                return

    async def _stop_all(self) -> None:
        await _cancel(self._revivals.values())
        for stage in reversed(self._stages):
            await asyncio.gather(*(server.stop() for server in stage.servers))
        self._log.info("stack.stopped")

    @contextlib.contextmanager
    def _signals(self) -> Any:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            for stage in reversed(self._stages):
                for server in stage.servers:
                    server.kill()
        self._stopping.set()

    def _publish(self) -> None:
        rows = [
            ProcessRow(role=server.role, name=server.name, pid=pid)
            for server in self._watched.values()
            if (pid := server.pid) is not None
        ]
        save_processes(self.data_dir, rows)


async def _cancel(tasks: Any) -> None:
    """Cancel and wait until each has really ended: a start that is cancelled kills its process on the way."""
    for task in (tasks := list(tasks)):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _events(data_dir: Path) -> Any:
    """The supervisor's own log: one JSON line per event."""
    path = data_dir / "logs" / "supervisor.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        yield structlog.wrap_logger(
            structlog.WriteLogger(file),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
        )


def _raise_descriptor_limit() -> None:
    """A crowd is many sockets: children inherit as many descriptors as the machine allows us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
