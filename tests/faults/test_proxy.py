"""The fault proxy does what the drills take it to do, on real connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.faults.proxy import Proxy, Weather

WAIT_S = 0.2
"""Long enough for loopback, and nothing is asserted about how long anything takes."""


class Echo:
    """A server that answers each line with itself, and remembers what it was asked."""

    def __init__(self) -> None:
        self.met = 0
        self.asked: list[bytes] = []
        self.port = 0

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        try:
            while line := await reader.readline():
                self.asked.append(line)
                writer.write(line)
        except (OSError, asyncio.CancelledError):
            pass  # reset, or the test is over
        finally:
            writer.transport.abort()


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.meet, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()


@pytest_asyncio.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    proxy = Proxy("client-echo", echo.port)
    await proxy.serve()
    yield proxy
    await proxy.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, line: bytes = b"hello\n") -> bytes:
        self.writer.write(line)
        async with asyncio.timeout(5):
            return await self.reader.readline()

    async def is_left_waiting(self) -> bool:
        try:
            async with asyncio.timeout(WAIT_S):
                await self.ask()
        except TimeoutError:
            return True
        return False


Dial = Callable[[Proxy], Awaitable[Client]]


@pytest_asyncio.fixture
async def dial() -> AsyncIterator[Dial]:
    """``await dial(proxy)`` opens a connection, closed after the test."""
    clients: list[Client] = []

    async def to(proxy: Proxy) -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return clients[-1]

    yield to
    for client in clients:
        client.writer.transport.abort()
    await asyncio.sleep(0)


async def test_in_fair_weather_requests_and_answers_pass(proxy: Proxy, echo: Echo, dial: Dial) -> None:
    client = await dial(proxy)
    assert await client.ask(b"one\n") == b"one\n"
    assert await client.ask(b"two\n") == b"two\n"
    assert echo.asked == [b"one\n", b"two\n"]


async def test_a_silent_partition_answers_nobody_old_or_new_and_no_request_arrives(
    proxy: Proxy, echo: Echo, dial: Dial
) -> None:
    old = await dial(proxy)
    await old.ask(b"before\n")
    proxy.change(Weather.SILENT)
    new = await dial(proxy)
    assert await old.is_left_waiting()
    assert await new.is_left_waiting()
    assert (echo.met, echo.asked) == (1, [b"before\n"])


async def test_when_a_partition_heals_its_connections_end_and_new_ones_work(proxy: Proxy, dial: Dial) -> None:
    proxy.change(Weather.SILENT)
    cut = await dial(proxy)
    assert await cut.is_left_waiting()
    proxy.change(Weather.FAIR)
    assert await cut.reader.read() == b""
    assert await (await dial(proxy)).ask() == b"hello\n"


async def test_down_ends_open_connections_and_every_new_one(proxy: Proxy, echo: Echo, dial: Dial) -> None:
    client = await dial(proxy)
    await client.ask()
    proxy.change(Weather.DOWN)
    assert await client.reader.read() == b""
    assert await (await dial(proxy)).reader.read() == b""
    assert echo.asked == [b"hello\n"]


async def test_reset_is_a_reset(proxy: Proxy, dial: Dial) -> None:
    client = await dial(proxy)
    await client.ask()
    proxy.change(Weather.RESET)
    with pytest.raises(ConnectionResetError):
        await client.reader.read()


async def test_a_lost_answer_is_lost_once_after_its_request_was_carried_out(
    proxy: Proxy, echo: Echo, dial: Dial
) -> None:
    client = await dial(proxy)
    proxy.drop_reply_once()
    with pytest.raises(ConnectionResetError):
        await client.ask(b"take one\n")
    assert (echo.asked, proxy.dropped_replies) == ([b"take one\n"], 1)
    assert await (await dial(proxy)).ask(b"again\n") == b"again\n"
    assert proxy.dropped_replies == 1


async def test_latency_holds_answers_back(proxy: Proxy, dial: Dial) -> None:
    client = await dial(proxy)
    proxy.latency_s = 10 * WAIT_S
    assert await client.is_left_waiting()


async def test_a_server_that_is_not_there_ends_the_connection(echo: Echo, dial: Dial) -> None:
    proxy = Proxy("client-nobody", 1)
    await proxy.serve()
    assert await (await dial(proxy)).reader.read() == b""
    await proxy.close()


async def test_close_ends_what_is_open(echo: Echo, dial: Dial) -> None:
    proxy = Proxy("client-echo", echo.port)
    await proxy.serve()
    client = await dial(proxy)
    await client.ask()
    await proxy.close()
    assert await client.reader.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await dial(proxy)
