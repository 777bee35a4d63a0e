"""HTTP/1.1 by hand: any bytes out, and answers that a strict parser (h11) has to accept."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import h11
import orjson

Headers = Sequence[tuple[str, str]]


def request(
    method: str = "GET", path: str = "/hot/echo", *, body: bytes = b"", headers: Headers = (), version: str = "1.1"
) -> bytes:
    """A request with its Content-Length when it has a body."""
    lines = [f"{method} {path} HTTP/{version}", "Host: shop.example", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(method: str, path: str, *parts: bytes, headers: Headers = ()) -> bytes:
    """The same with a body in chunks."""
    head = request(method, path, headers=[*headers, ("Transfer-Encoding", "chunked")])
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def in_pieces(data: bytes, seed: int) -> list[bytes]:
    """The bytes cut at a few random places; the same ones for the same seed."""
    cuts = sorted(random.Random(seed).sample(range(1, len(data)), 7))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


class Answer(NamedTuple):
    """One answer, as a strict parser read it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    informational: list[int]

    def header(self, name: bytes) -> bytes | None:
        values = [value for one, value in self.headers if one == name]
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    def json(self) -> dict[str, object]:
        document: dict[str, object] = orjson.loads(self.body)
        return document


class Peer:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._left = b""

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
        await self._writer.drain()

    async def ask(self, data: bytes, method: str = "GET") -> Answer:
        await self.send(data)
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer; what comes after it stays for the next call."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "shop.example")]))
        parser.send(h11.EndOfMessage())
        if self._left:  # nothing means the end to h11
            parser.receive_data(self._left)
        response, body, informational = None, b"", []
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = await self._reader.read(65_536)
                assert data or response is not None, "closed without an answer"
                parser.receive_data(data)
            elif isinstance(event, h11.InformationalResponse):
                informational.append(event.status_code)
                if event.status_code == 100:
                    self._left = parser.trailing_data[0]
                    return Answer(100, list(event.headers), b"", informational)
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                assert isinstance(event, h11.EndOfMessage), event
                break
        assert response is not None
        self._left = parser.trailing_data[0]
        return Answer(response.status_code, list(response.headers), body, informational)

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        data, self._left = self._left, b""
        with contextlib.suppress(ConnectionResetError):
            data += await self._reader.read()
        return data

    def leave(self) -> None:
        """Go away at once, with a reset."""
        self._writer.transport.abort()

    def hang_up(self) -> None:
        """Go away politely."""
        self._writer.close()


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Peer]:
    """A connection to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
