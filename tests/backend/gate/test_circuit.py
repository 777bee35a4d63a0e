"""A store that says nothing is dialled by one caller at a time; the others are refused at once."""

import asyncio
from uuid import uuid4

import pytest

from backend.core.breaker import Breaker, CircuitState
from backend.gate import Gate, GateUnavailable, LaneId
from backend.gate.cluster import slot_of
from backend.gate.keys import keys_of
from backend.gate.store import Store
from stack.servers import ClusterGate, GateServer

TIMEOUT_S = 0.3
AWAY = "did not answer lately"


async def call(gate: Gate, lane_id: LaneId) -> str:
    """One script on a lane that does not exist: its answer, or why there was none."""
    try:
        return await gate.latch(lane_id, "none", generation=1)
    except GateUnavailable as error:
        return str(error)


async def goes_on(gate: Gate, lane_id: LaneId) -> None:
    async with asyncio.timeout(10):
        while await call(gate, lane_id) != "NOT_LOADED":
            await asyncio.sleep(0.05)
    assert gate.circuit is CircuitState.CLOSED


async def test_a_frozen_store_is_not_waited_for_by_everybody(gate_server: GateServer, gate_url: str) -> None:
    gate, lane_id = Gate.connect(gate_url, timeout_s=TIMEOUT_S, name="tests"), LaneId(uuid4())
    try:
        assert (await call(gate, lane_id), gate.circuit) == ("NOT_LOADED", CircuitState.CLOSED)
        gate_server.freeze()
        try:
            waited = [await call(gate, lane_id) for _ in range(3)]
            assert not any(AWAY in one for one in waited), "the call on the way and two that dialled have waited"
            refused = [await call(gate, lane_id) for _ in range(40)]
            assert sum(AWAY not in one for one in refused) <= 1, "who may have been the next to try"
            assert gate.circuit is CircuitState.OPEN
        finally:
            gate_server.thaw()
        await goes_on(gate, lane_id)
    finally:
        await gate.close()


async def test_control_without_a_breaker_every_caller_waits(
    gate_server: GateServer, gate_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "_new_breaker", lambda _: Breaker("none", failures_max=1_000))
    gate, lane_id = Gate.connect(gate_url, timeout_s=TIMEOUT_S, name="tests"), LaneId(uuid4())
    try:
        await call(gate, lane_id)
        gate_server.freeze()
        try:
            assert not any([AWAY in await call(gate, lane_id) for _ in range(5)])
        finally:
            gate_server.thaw()
    finally:
        await gate.close()


async def test_a_silent_node_keeps_nobody_from_the_others(cluster_gate: ClusterGate) -> None:
    await cluster_gate.flush()
    gate = Gate.connect(cluster_gate.url, timeout_s=TIMEOUT_S, name="tests")
    frozen = await cluster_gate.primary_of(9_000)
    lanes = [LaneId(uuid4()) for _ in range(40)]
    owners = {lane: await cluster_gate.primary_of(slot_of(keys_of(lane).lane)) for lane in lanes}
    hers = next(lane for lane, owner in owners.items() if owner is frozen)
    others = next(lane for lane, owner in owners.items() if owner is not frozen)
    try:
        assert {await call(gate, lane) for lane in (hers, others)} == {"NOT_LOADED"}
        frozen.freeze()
        try:
            async with asyncio.timeout(10):
                while AWAY not in await call(gate, hers):
                    pass
            assert gate.circuit is not CircuitState.CLOSED
            assert [await call(gate, others) for _ in range(20)] == ["NOT_LOADED"] * 20
        finally:
            frozen.thaw()
        await goes_on(gate, hers)
    finally:
        await gate.close()
