"""Both loads against a real server: the bare reference, and one that answers nobody until a crowd waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.references.servers import WebReference
from stack.load import Address, closed_loop, open_loop, percentile, request_bytes

BUY = request_bytes("POST", "/buy", "127.0.0.1", body=b'{"quantity":7}')
COUNT = 300


@pytest.fixture
async def bare_post(tmp_path) -> AsyncIterator[Address]:
    async with WebReference("bare_asgi", tmp_path) as server:
        yield Address(server.port)


async def test_a_closed_loop_sends_each_request_once(bare_post):
    tally = await closed_loop([bare_post], [BUY] * COUNT, connections=8, keep=True)
    assert tally.answers == {(202, "RESERVED"): COUNT}
    assert tally.accepted == COUNT
    assert tally.unanswered == 0
    assert sorted(one.index for one in tally.kept) == list(range(COUNT))
    assert all(b'"position":7' in one.body for one in tally.kept)


async def test_an_open_loop_counts_latency_from_the_schedule(bare_post):
    rate_per_s = 2_000.0
    tally = await open_loop([bare_post], [BUY] * COUNT, rate_per_s=rate_per_s, connections=4)
    assert tally.answers == {(202, "RESERVED"): COUNT}
    assert sorted(tally.due_s) == pytest.approx([at / rate_per_s for at in range(COUNT)])
    assert min(tally.latency_s) > 0
    assert tally.elapsed_s >= max(tally.due_s)


async def test_an_open_loop_goes_on_asking_while_nobody_answers():
    """Coordinated omission: this server answers when ten wait at once. A closed loop of fewer never gets there."""
    waiting_for = 10

    async with _crowd_server(waiting_for) as address:
        tally = await open_loop([address], [BUY] * waiting_for, rate_per_s=1_000, connections=1)
    assert tally.answers == {(200, ""): waiting_for}

    async with _crowd_server(waiting_for) as address:
        tally = await closed_loop([address], [BUY] * waiting_for, connections=waiting_for - 1, within_s=0.5)
    assert tally.answered == 0
    assert tally.unanswered == waiting_for


async def test_a_request_that_is_cut_off_is_counted_and_not_sent_again():
    requests = 0

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while await reader.read(65_536):
            requests += 1
            if requests == 3:
                break
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server:
        tally = await closed_loop([_address(server)], [BUY] * 10, connections=1)
    assert tally.answers == {(200, ""): 9}
    assert tally.unanswered == 1
    assert requests == 10


async def test_nobody_there_is_an_error():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    address = _address(server)
    server.close()
    await server.wait_closed()
    with pytest.raises(OSError):
        await closed_loop([address], [BUY])


def test_percentiles_are_exact():
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([], 0.5) == 0


def _address(server: asyncio.Server) -> Address:
    return Address(server.sockets[0].getsockname()[1])


@asynccontextmanager
async def _crowd_server(waiting_for: int) -> AsyncIterator[Address]:
    waiting: list[asyncio.StreamWriter] = []

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            waiting.append(writer)
            if len(waiting) == waiting_for:
                for one in waiting:
                    one.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    async with server:
        yield _address(server)
