"""What a 202 promises is a term of the sale, changed while it runs, and the gate hears of it."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from backend.api import AppState
from backend.gate import Attempt, Gate, LaneId

from .conftest import Operator

OpenNow = Callable[[Any], Awaitable[None]]


async def _must_acknowledge(gate: Gate, lane_id: LaneId) -> bool:
    attempt = Attempt(uuid4().bytes, uuid4().bytes, 1, 1)
    return (await gate.admit(lane_id, [attempt], generation=1, seen_seq=-1)).acknowledge


async def test_everysec_is_the_default_and_a_running_sale_may_change_it(
    owner: Operator, state: AppState, open_now: OpenNow
) -> None:
    sale = await owner.make_sale("promises")
    assert sale["durability"] == "everysec"
    path, lane_id = f"/sales/{sale['id']}", LaneId(UUID(sale["items"][0]["id"]))
    await owner.ok(f"{path}/schedule")
    await owner.ok(f"{path}/preload")
    await open_now(sale)
    assert not await _must_acknowledge(state.gate, lane_id)
    for durability in ("acknowledged", "everysec"):
        tag = (await owner.get(path)).headers["ETag"]
        changed = await owner.send("PATCH", path, {"durability": durability}, if_match=tag)
        assert (changed.status_code, changed.json()["durability"]) == (200, durability)
        assert (await owner.get(path)).json()["durability"] == durability
        assert await _must_acknowledge(state.gate, lane_id) == (durability == "acknowledged")


async def test_a_sale_may_be_made_acknowledged(owner: Operator, state: AppState, open_now: OpenNow) -> None:
    sale = await owner.make_sale("promised", durability="acknowledged")
    assert sale["durability"] == "acknowledged"
    path = f"/sales/{sale['id']}"
    await owner.ok(f"{path}/schedule")
    await owner.ok(f"{path}/preload")
    await open_now(sale)
    assert await _must_acknowledge(state.gate, LaneId(UUID(sale["items"][0]["id"])))


@pytest.mark.parametrize("wrong", ["always", "", None, 1, True])
async def test_other_promises_are_refused(owner: Operator, wrong: Any) -> None:
    sale = await owner.make_sale(f"no-{str(wrong).lower() or 'empty'}")
    tag = (await owner.get(f"/sales/{sale['id']}")).headers["ETag"]
    refused = await owner.send("PATCH", f"/sales/{sale['id']}", {"durability": wrong}, if_match=tag)
    assert refused.status_code == 422
