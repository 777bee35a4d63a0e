"""A TCP proxy that can do to a connection what networks do: lag, refuse, reset, swallow, lose one answer.

Toxiproxy's server and ``tc netem`` are not to be had on a plain machine; this is what of them the drills need. Bytes
are passed on unread. One instance stands between one kind of client and one server, so a drill can part the API from
the gate and leave the workers theirs.
"""

import asyncio
import contextlib
import socket
import struct
from enum import StrEnum

from stack.servers.base import LOOPBACK

CHUNK_BYTES = 65_536
CONNECT_TIMEOUT_S = 5.0


class Weather(StrEnum):
    """What happens to connections, old and new."""

    FAIR = "fair"
    DOWN = "down"
    """Open connections are closed, new ones are accepted and closed at once."""
    RESET = "reset"
    """The same, by a reset."""
    SILENT = "silent"
    """Nothing gets through in either direction and nobody is told: a partition that drops packets."""


class Proxy:
    """Listens on a loopback port of its own and passes on to ``to_port``.

    The port is taken at once, so that addresses can be handed out before ``serve``. What was swallowed under
    ``SILENT`` stays lost, as a sender's retransmissions are lost once its peer has given the connection up; the
    connection itself ends with ``change``.
    """

    def __init__(self, name: str, to_port: int) -> None:
        self.name = name
        self.weather = Weather.FAIR
        self.latency_s = 0.0
        """Added to each piece of an answer."""
        self.dropped_replies = 0
        """How many answers ``drop_reply_once`` has lost."""
        self._to_port = to_port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._drop_next_reply = False

    async def serve(self) -> None:
        """Begin to accept."""
        self._server = await asyncio.start_server(self._meet, sock=self._listener)

    async def close(self) -> None:
        """End every connection, and the listening."""
        if self._server is not None:
            self._server.close()
        self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def change(self, weather: Weather) -> None:
        """From now on. A change from ``SILENT`` ends the connections that were cut in two."""
        before, self.weather = self.weather, weather
        if weather in (Weather.DOWN, Weather.RESET) or before is Weather.SILENT:
            self._end_all(reset=weather is Weather.RESET)

    def drop_reply_once(self) -> None:
        """Lose the next answer: the request gets through, then its connection is reset."""
        self._drop_next_reply = True

    def _end_all(self, *, reset: bool) -> None:
        for writer in list(self._open):
            _end(writer, reset=reset)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        # Cancelled by ``close``: asyncio would report a handler that ends by that.
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await self._carry(reader, writer)
            finally:
                self._open.discard(writer)
                _end(writer, reset=False)
        self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.weather in (Weather.DOWN, Weather.RESET):
            _end(writer, reset=self.weather is Weather.RESET)
            return
        while self.weather is Weather.SILENT:
            # The kernel has answered the handshake, as a host behind a dropping firewall would not; the client's
            # first request goes unanswered all the same.
            if not await _swallow(reader):
                return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._to_port)
        except (OSError, TimeoutError):
            return
        self._open.add(far_writer)
        try:
            ways = [
                asyncio.create_task(self._pass(reader, far_writer, answers=False)),
                asyncio.create_task(self._pass(far_reader, writer, answers=True)),
            ]
            try:
                # Either end's close closes both: neither Redis nor PostgreSQL speaks over half a connection.
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._open.discard(far_writer)
            _end(far_writer, reset=False)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                if self.weather is not Weather.FAIR:
                    continue
                if answers and self._drop_next_reply:
                    self._drop_next_reply = False
                    self.dropped_replies += 1
                    _end(sink, reset=True)
                    return
                if answers and self.latency_s:
                    await asyncio.sleep(self.latency_s)
                sink.write(data)
                await sink.drain()


async def _swallow(reader: asyncio.StreamReader) -> bool:
    """Read and forget; False when the connection has ended."""
    try:
        return bool(await reader.read(CHUNK_BYTES))
    except OSError:
        return False


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        connection = writer.get_extra_info("socket")
        if connection is not None and not writer.transport.is_closing():
            # Without a time to linger the kernel sends a reset instead of a good-bye.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()
