"""An operator has a gate rebuilt: recorded, carried out once, and how the sale goes on is its own term."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from backend.api import AppState
from backend.gate import LaneId, LaneKeys
from backend.models import Role
from backend.orders import Recovery
from backend.settings import Settings

from .conftest import Operator

OpenNow = Callable[[Any], Awaitable[None]]
SignIn = Callable[..., Awaitable[Operator]]
WHY = {"reason": "the store was restored"}


async def _live(owner: Operator, open_now: OpenNow, slug: str, **fields: Any) -> tuple[str, LaneId]:
    sale = await owner.make_sale(slug, **fields)
    path = f"/sales/{sale['id']}"
    await owner.ok(f"{path}/schedule")
    await owner.ok(f"{path}/preload")
    await open_now(sale)
    return path, LaneId(UUID(sale["items"][0]["id"]))


async def _recover(state: AppState) -> None:
    await Recovery(state.database, state.gate, state.settings).tick()


async def test_a_rebuild_is_recorded_and_done(
    owner: Operator, state: AppState, open_now: OpenNow, drain: Callable[[LaneId], Awaitable[Any]], settings: Settings
) -> None:
    path, lane = await _live(owner, open_now, "rebuilt")
    await drain(lane)
    stopped = await owner.ok(f"{path}/rebuild", WHY)
    assert (stopped["status"], stopped["fault"], stopped["generation"]) == ("paused", "rebuild", 1)
    assert (await state.gate.read(lane)).paused
    broker = Redis.from_url(settings.broker_url)
    assert await broker.llen("dramatiq:control") >= 1
    await broker.aclose()
    again = await owner.post(f"{path}/rebuild", WHY, key=owner.last_key)
    assert again.json() == stopped
    await _recover(state)
    whole = (await owner.get(path)).json()
    assert whole["status"] == "live"
    assert "fault" not in whole
    reading = await state.gate.read(lane)
    assert (reading.generation, reading.fault, reading.paused, reading.available) == (2, "", False, 10)
    # The same key again asks for nothing more.
    await owner.post(f"{path}/rebuild", WHY, key=owner.last_key)
    await _recover(state)
    assert (await state.gate.read(lane)).generation == 2
    lines = (await owner.get(f"{path}/activity")).json()["activity"]
    assert {"sale.rebuild_requested", "sale.recovered"} <= {line["kind"] for line in lines}
    asked = next(line for line in lines if line["kind"] == "sale.rebuild")
    assert (asked["reason"], asked["before"]) == (WHY["reason"], {"status": "live", "fault": "none"})


async def test_a_sale_that_waits_after_its_rebuild_is_resumed_by_its_generation(
    owner: Operator, state: AppState, open_now: OpenNow
) -> None:
    path, lane = await _live(owner, open_now, "waits", recovery="manual")
    assert (await owner.get(path)).json()["recovery"] == "manual"
    await owner.ok(f"{path}/rebuild", WHY)
    await _recover(state)
    await _recover(state)
    stopped = (await owner.get(path)).json()
    assert (stopped["fault"], stopped["generation"]) == ("rebuild", 2)
    assert (await state.gate.read(lane)).fault == "rebuilt"
    stale = await owner.post(f"{path}/resume", {"reason": "looked", "generation": 1})
    assert stale.status_code == 409
    resumed = await owner.ok(f"{path}/resume", {"reason": "looked", "generation": 2})
    assert resumed["status"] == "live"
    assert (await state.gate.read(lane)).fault == ""


async def test_how_a_sale_recovers_may_change_while_it_runs(owner: Operator, open_now: OpenNow) -> None:
    path, _ = await _live(owner, open_now, "changes")
    sale = await owner.get(path)
    assert sale.json()["recovery"] == "automatic"
    tag = sale.headers["ETag"]
    changed = await owner.send("PATCH", path, {"recovery": "manual"}, if_match=tag)
    assert (changed.status_code, changed.json()["recovery"]) == (200, "manual")
    for wrong in ("never", None, 1):
        refused = await owner.send("PATCH", path, {"recovery": wrong}, if_match=changed.headers["ETag"])
        assert refused.status_code == 422


@pytest.mark.parametrize(("body", "status"), [({}, 422), ({"reason": ""}, 422), (None, 422), (WHY, 409)])
async def test_a_rebuild_needs_a_reason_and_stock_in_a_gate(owner: Operator, body: Any, status: int) -> None:
    sale = await owner.make_sale(f"refused-{status}-{len(str(body))}")
    path = f"/sales/{sale['id']}"
    await owner.ok(f"{path}/schedule")
    refused = await owner.post(f"{path}/rebuild", body)
    assert refused.status_code == status, refused.text
    if status == 409:
        assert refused.json()["code"] == "WRONG_STATE"
    assert "fault" not in (await owner.get(path)).json()


async def test_an_auditor_asks_for_no_rebuild(owner: Operator, sign_in: SignIn, open_now: OpenNow) -> None:
    path, _ = await _live(owner, open_now, "looked-at")
    auditor = await sign_in(Role.AUDITOR)
    assert (await auditor.post(f"{path}/rebuild", WHY)).status_code == 403


async def test_a_reduction_that_a_rebuild_lost_is_taken_again(
    owner: Operator, state: AppState, open_now: OpenNow, drain: Callable[[LaneId], Awaitable[Any]]
) -> None:
    path, lane = await _live(owner, open_now, "reduced")
    await drain(lane)
    body = {"sku": "TEE-M", "quantity": 4, "reason": "damaged"}
    # Told to the gate, and never drained.
    late = await owner.post(f"{path}/reduce", body, key="take-four")
    assert (late.status_code, late.json()["code"]) == (503, "DEGRADED")
    await state.gate.store.client.unlink(*LaneKeys(lane).all())
    await _recover(state)
    assert (await state.gate.read(lane)).available == 10
    late = await owner.post(f"{path}/reduce", body, key="take-four")
    assert late.status_code == 503
    await drain(lane)
    await drain(lane)
    done = await owner.post(f"{path}/reduce", body, key="take-four")
    assert done.status_code == 200, done.text
    assert done.json()["items"][0]["available"] == 6
    assert (await state.gate.read(lane)).available == 6
