"""The client: one exception for every failure, and no command sent twice by itself."""

import asyncio
from uuid import uuid4

import pytest

from backend.gate import Gate, GateUnavailable, LaneId
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
