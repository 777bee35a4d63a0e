"""A uvicorn server with ``HotProtocol`` before a small FastAPI application, and with timers that a test moves."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from backend.core.errors import Refused
from backend.core.hot import Head, HotEndpoint, HotRequest, Reply, serve
from backend.core.hot_protocol import hot_protocol
from backend.core.http import on_refused
from tests.support.loops import turns

OK = Head(200, [(b"content-type", b"application/json")])
BIG_BYTES = 1 << 20


class Held(NamedTuple):
    """A request that waits for its test to answer it."""

    request: HotRequest
    reply: Callable[[Reply], None]

    def answer(self, text: str = "late") -> None:
        self.reply(Reply(OK, orjson.dumps({"answer": text})))


class Timers:
    """The loop as one connection sees it: its clock and timers stand still until they are moved."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._now_s = 0.0
        self._timers: list[tuple[float, Callable[[], None], Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self._now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        handle = self._loop.call_later(1_000_000, callback)  # only to be cancelled
        self._timers.append((self._now_s + delay_s, callback, handle))
        return handle

    @property
    def waiting(self) -> int:
        self._timers = [timer for timer in self._timers if not timer[2].cancelled()]
        return len(self._timers)

    def advance(self, seconds: float) -> None:
        """Move the clock, running what falls due at its time."""
        end_s = self._now_s + seconds
        while due := sorted((timer for timer in self._timers if timer[0] <= end_s), key=lambda timer: timer[0]):
            self._timers.remove(due[0])
            at_s, callback, handle = due[0]
            self._now_s = max(self._now_s, at_s)
            if not handle.cancelled():
                handle.cancel()
                callback()
        self._now_s = end_s


class Door:
    """What came in, and by which way."""

    def __init__(self) -> None:
        self.port = 0
        self.ways: list[str] = []
        self.asked = 0
        """Requests that reached the endpoint, by whichever way."""
        self.held: asyncio.Queue[Held] = asyncio.Queue()
        self.timers = Timers(asyncio.get_running_loop())
        self.server: _Server = None  # type: ignore[assignment]
        self._heard_bytes = 0
        self._lost = 0
        self._changed = asyncio.Condition()
        self._notes: set[asyncio.Task[None]] = set()
        self.app = FastAPI(openapi_url=None)
        self.app.add_exception_handler(Refused, on_refused)
        self.app.add_api_route("/{path:path}", self._route, methods=["GET", "POST", "PUT", "HEAD"])

    def find(self, method: str, path: str) -> HotEndpoint | None:
        return self._came_hot if path.startswith("/hot/") else None

    def protocol(self) -> type[HttpToolsProtocol]:
        """The protocol class under test, which also tells what it hears and when it has lost its connection."""
        door = self

        class Told(hot_protocol(door.find)):  # type: ignore[misc]
            def connection_made(self, transport: asyncio.Transport) -> None:
                super().connection_made(transport)
                self.loop = door.timers

            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                door._heard_bytes += len(data)
                door._tell()

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                door._lost += 1
                door._tell()

        return Told

    async def heard(self, count: int) -> None:
        """Wait until the server has read so many bytes, of all connections."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._heard_bytes >= count)

    async def lost(self, count: int) -> None:
        """Wait until the server has seen so many connections end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._lost >= count)

    @property
    def connections(self) -> set[Any]:
        return self.server.server_state.connections

    @property
    def tasks(self) -> set[Any]:
        return self.server.server_state.tasks

    def _tell(self) -> None:
        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.get_running_loop().create_task(tell())
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    def _came_hot(self, request: HotRequest, reply: Callable[[Reply], None]) -> None:
        self.ways.append("hot")
        self._endpoint(request, reply)

    async def _route(self, request: Request) -> Response:
        self.ways.append("usual")
        return await serve(self._endpoint, request)

    def _endpoint(self, request: HotRequest, reply: Callable[[Reply], None]) -> None:
        self.asked += 1
        kind = request.path.split("/")[2]
        if kind == "held":
            self.held.put_nowait(Held(request, reply))
        elif kind == "big":
            reply(Reply(OK, b"x" * BIG_BYTES))
        else:
            echo = {
                "method": request.method,
                "path": request.path,
                "body": request.body.decode("latin-1"),
                "number": request.field(b"x-number"),
            }
            reply(Reply(OK, orjson.dumps(echo)))
            if kind == "twice":
                reply(Reply(OK, b"a second answer"))


class _Server(uvicorn.Server):
    """Leaves signals to the test runner, says when it is up, and stops without uvicorn's pauses of 0.1 s."""

    gracefully = False
    """Stop as uvicorn does, pauses included."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self.leave = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        await self.leave.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.gracefully:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await turns()
        # After a failed test there may be requests that nobody answers any more.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in self.server_state.tasks:
            task.cancel()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(0)


@asynccontextmanager
async def serving_door(*, hot: bool = True, **options: Any) -> AsyncIterator[Door]:
    """A door on a free port; ``hot=False`` is uvicorn as it comes. Whoever is still held at the end gets an answer."""
    door = Door()
    options = {"timeout_keep_alive": 60, "server_header": False, "date_header": False, "access_log": False, **options}
    protocol = door.protocol() if hot else HttpToolsProtocol
    config = uvicorn.Config(door.app, log_config=None, lifespan="off", http=protocol, ws="none", **options)
    door.server = _Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        door.port = listening.getsockname()[1]
        serving = asyncio.create_task(door.server.serve([listening]))
        await door.server.up.wait()
        try:
            yield door
        finally:
            with contextlib.suppress(asyncio.QueueEmpty):
                while True:
                    door.held.get_nowait().answer()
            door.server.leave.set()
            await serving
