"""The client: one exception for every failure, and no command sent twice by itself."""

import asyncio
from uuid import uuid4

import pytest

from backend.gate import EntryId, Gate, GateUnavailable, LaneId
from tests.support.lane import Lane


async def test_a_silent_server_is_unavailable_and_was_asked_once(lane: Lane) -> None:
    """It takes the command and never answers. A client that re-sends would be a second try nobody asked for."""
    received: list[bytes] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            received.append(data)
            if b"EVALSHA" not in data:
                writer.write(b"+OK\r\n" * data.count(b"*"))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gate = Gate.connect(f"redis://127.0.0.1:{port}/0", timeout_s=0.3, name="tests")
    with pytest.raises(GateUnavailable):
        await gate.admit(lane.lane_id, [lane.attempt()], generation=1, seen_seq=-1)
    await gate.close()
    server.close()
    await server.wait_closed()
    assert b"".join(received).count(b"EVALSHA") == 1


@pytest.mark.parametrize("password", ["wrong", "x" * 300])
async def test_a_refused_sign_in_is_unavailable(lane: Lane, gate_url: str, password: str) -> None:
    user, _, rest = gate_url.removeprefix("redis://").partition(":")
    gate = Gate.connect(f"redis://{user}:{password}@{rest.partition('@')[2]}", timeout_s=2.0, name="tests")
    with pytest.raises(GateUnavailable):
        await gate.read(LaneId(uuid4()))
    await gate.close()


async def test_more_callers_than_connections_wait_for_one(lane: Lane) -> None:
    await lane.load(5)
    readings = await asyncio.gather(*(lane.gate.read(lane.lane_id) for _ in range(300)))
    assert {reading.available for reading in readings} == {5}


async def test_a_read_that_blocks_keeps_its_connection_for_the_next_unless_it_was_given_up(lane: Lane) -> None:
    """The answer to one that was given up would be taken for the next one's."""
    await lane.load(5)
    idle = lane.gate.store._reads._idle
    for _ in range(2):
        assert await lane.gate.wait_for_entries({lane.lane_id: EntryId(1, -1)}, block_ms=10) == {lane.lane_id}
        assert len(idle) == 1
    waiting = asyncio.create_task(lane.gate.wait_for_entries({lane.lane_id: EntryId(1, 0)}, block_ms=5_000))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert idle == []


async def test_a_failed_command_of_a_pipeline_fails_it(lane: Lane) -> None:
    """Alone and in a transaction; told in its place when that is asked for."""
    client = lane.gate.store.client
    await lane.admin.set("text", "1")
    for transaction in (False, True):
        async with client.pipeline(transaction=transaction) as pipe:
            pipe.set("other", "2").hget("text", "field").get("other")
            with pytest.raises(GateUnavailable, match="WRONGTYPE"):
                await pipe.execute()
            pipe.set("other", "2").hget("text", "field").get("other")
            done, failed, value = await pipe.execute(raise_on_error=False)
            assert (done, type(failed), value) == (True, GateUnavailable, "2")
            assert await pipe.execute() == []
    async with client.pipeline(transaction=True) as pipe:
        pipe.set("other", "3").execute_command("HGET", "text")
        with pytest.raises(GateUnavailable, match=r"wrong number of arguments|EXECABORT"):
            await pipe.execute()
    assert await client.get("other") == "2"
