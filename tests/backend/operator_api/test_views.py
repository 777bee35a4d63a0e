"""What operators watch: live view, throughput, orders, activity; also while the gate is down."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from backend.accounts import create_shoppers
from backend.api import AppState
from backend.gate import Attempt, LaneId, Outcome, reservation_id

from .conftest import Operator

Drain = Callable[[LaneId], Awaitable[Any]]
OpenSale = Callable[..., Awaitable[tuple[Any, LaneId]]]


@pytest.fixture
def open_sale(owner: Operator, open_now: Callable[[Any], Awaitable[None]]) -> OpenSale:
    """``await open_sale(slug)``: a sale that is live, and its lane."""

    async def make(slug: str, **fields: Any) -> tuple[Any, LaneId]:
        sale = await owner.make_sale(slug, **fields)
        await owner.ok(f"/sales/{sale['id']}/schedule")
        await owner.ok(f"/sales/{sale['id']}/preload")
        await open_now(sale)
        return sale, LaneId(UUID(sale["items"][0]["id"]))

    return make


async def buy(state: AppState, lane: LaneId, shoppers: list[UUID]) -> list[Outcome]:
    attempts = [
        Attempt(reservation_id(shopper, lane.item_id, "key").bytes, shopper.bytes, 1, 1) for shopper in shoppers
    ]
    batch = await state.gate.admit(lane, attempts, generation=1, seen_seq=0)
    return [one.outcome for one in batch.decisions]


async def test_the_live_view_follows_gate_and_ledger(
    owner: Operator, state: AppState, drain: Drain, open_sale: OpenSale
) -> None:
    sale, lane = await open_sale("live")
    path = f"/sales/{sale['id']}/live"
    await drain(lane)
    outcomes = await buy(state, lane, [uuid4() for _ in range(12)])
    assert outcomes.count(Outcome.RESERVED) == 10
    await asyncio.sleep(0.2)
    before = (await owner.get(path)).json()
    assert before["status"] == "live"
    assert before["items"][0]["gate"]["available"] == 0
    assert before["items"][0]["available"] == 10
    assert before["backlog"] == 10
    assert before["order_lag_ms"] >= 150
    assert before["drift"] == 0
    assert before["outcomes"] == {"RESERVED": 10, "SOLD_OUT": 2}
    assert before["dependencies"].keys() == {"database", "gate", "broker", "workers", "clock"}
    assert before["dependencies"]["clock"] == "down", "none runs in this test"
    assert before["throttle"]["rate_per_s"] == 500
    await drain(lane)
    # Viewers share one computation for a second, whatever happens meanwhile.
    shared = (await owner.get(path)).json()
    assert shared["backlog"] == 10
    assert shared["view_age_ms"] > before["view_age_ms"]
    await asyncio.sleep(1.1)
    after = (await owner.get(path)).json()
    assert (after["backlog"], after["order_lag_ms"], after["drift"]) == (0, 0, 0)
    assert (after["items"][0]["available"], after["items"][0]["sold"]) == (0, 10)
    assert after["phase"] == "sold_out"


async def test_a_drift_is_seen(owner: Operator, state: AppState, drain: Drain, open_sale: OpenSale) -> None:
    sale, lane = await open_sale("drifting")
    await drain(lane)
    # The negative control: somebody changes the ledger behind the equation's back.
    async with state.database.transaction() as session:
        from sqlalchemy import text

        await session.execute(
            text("UPDATE sale_items SET available = available - 3, sold = sold + 3 WHERE id = :id"),
            {"id": lane.item_id},
        )
    assert (await owner.get(f"/sales/{sale['id']}/live")).json()["drift"] == 3


async def test_the_live_view_answers_while_the_gate_is_down(
    owner: Operator, state: AppState, drain: Drain, open_sale: OpenSale, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale, lane = await open_sale("gateless")
    await drain(lane)
    from backend.gate import Gate

    lost = Gate.connect("redis://127.0.0.1:1/0", timeout_s=0.5, name="lost")
    monkeypatch.setattr(state.gate, "store", lost.store)
    live = (await owner.get(f"/sales/{sale['id']}/live")).json()
    assert live["dependencies"] | {"database": "up"} == {
        "database": "up",
        "gate": "down",
        **dict.fromkeys(("broker", "workers", "clock"), "unknown"),
    }
    assert live["items"][0]["available"] == 10
    for unknown in ("drift", "backlog", "order_lag_ms"):
        assert unknown not in live
    assert "gate" not in live["items"][0]
    throughput = await owner.get(f"/sales/{sale['id']}/throughput")
    assert (throughput.status_code, throughput.json()["code"]) == (503, "DEGRADED")
    paused = await owner.ok(f"/sales/{sale['id']}/pause")
    assert paused["status"] == "paused"
    preflight = (await owner.get(f"/sales/{sale['id']}/preflight")).json()
    assert next(check for check in preflight["checks"] if check["name"] == "gate")["ok"] is False
    await lost.close()


async def test_throughput_has_every_second(owner: Operator, state: AppState, open_sale: OpenSale) -> None:
    sale, lane = await open_sale("series")
    await buy(state, lane, [uuid4() for _ in range(11)])
    series = (await owner.get(f"/sales/{sale['id']}/throughput", params={"seconds": 10})).json()["series"]
    assert len(series) == 10
    stamps = [datetime.fromisoformat(point["at"]).timestamp() for point in series]
    assert [b - a for a, b in itertools.pairwise(stamps)] == [1.0] * 9
    assert sum(point["RESERVED"] for point in series) == 10
    assert sum(point["SOLD_OUT"] for point in series) == 1
    for seconds in ("0", "3601", "x"):
        assert (await owner.get(f"/sales/{sale['id']}/throughput", params={"seconds": seconds})).status_code == 422


async def test_orders_are_listed_searched_and_masked(
    owner: Operator, state: AppState, drain: Drain, open_sale: OpenSale
) -> None:
    items = [{"sku": "TEE-M", "price": {"amount_minor": 1900, "currency": "EUR"}, "allotment": 60}]
    sale, lane = await open_sale("orders", items=items, payment={"required": True, "hold_s": 5})
    async with state.database.transaction() as session:
        shoppers = await create_shoppers(session, 55)
    await buy(state, lane, shoppers)
    await drain(lane)
    path = f"/sales/{sale['id']}/orders"
    first = (await owner.get(path)).json()
    second = (await owner.get(path, params={"cursor": first["next_cursor"]})).json()
    assert (len(first["orders"]), len(second["orders"])) == (50, 5)
    assert "next_cursor" not in second
    assert len({order["id"] for order in first["orders"] + second["orders"]}) == 55
    order = first["orders"][0]
    assert (order["status"], order["quantity"], order["sku"]) == ("reserved", 1, "TEE-M")
    assert order["price"] == {"amount_minor": 1900, "currency": "EUR"}
    assert order["contact_masked"] == "s•••@shoppers.example"
    assert order["pay_by"] > order["created_at"]
    for query in (
        order["id"],
        order["reservation_id"],
        order["shopper_id"],
        f"shopper-{order['shopper_id']}@shoppers.example",
    ):
        found = (await owner.get(path, params={"q": query})).json()["orders"]
        assert [one["id"] for one in found] == [order["id"]], query
    assert (await owner.get(path, params={"q": "shopper-@"})).json() == {"orders": []}
    assert (await owner.get(path, params={"status": "expired"})).json() == {"orders": []}
    assert len((await owner.get(path, params={"q": "tee"})).json()["orders"]) == 50
    messages = (await owner.get(f"/sales/{sale['id']}/notifications")).json()["notifications"]
    assert {message["contact_masked"] for message in messages} <= {"s•••@shoppers.example"}


async def test_activity_tells_who_did_what_and_why(owner: Operator, state: AppState) -> None:
    sale = await owner.make_sale("told")
    path = f"/sales/{sale['id']}"
    await owner.ok(f"{path}/schedule")
    await owner.ok(f"{path}/preload")
    await owner.ok(f"{path}/pause", {"reason": "  checking stock  "})
    await owner.ok(f"{path}/top-up", {"sku": "TEE-M", "quantity": 2, "reason": "found two"})
    lines = (await owner.get(f"{path}/activity")).json()["activity"]
    assert [line["kind"] for line in lines] == [
        "sale.top-up", "sale.pause", "sale.preloaded", "sale.preload", "sale.schedule", "sale.create",
    ]  # fmt: skip
    assert {line["outcome"] for line in lines} == {"done"}
    top_up, pause, by_itself = lines[0], lines[1], lines[2]
    assert (top_up["actor"], top_up["reason"]) == (owner.email, "found two")
    assert (top_up["before"]["available"], top_up["after"]["available"]) == (10, 12)
    assert (pause["reason"], pause["before"], pause["after"]) == (
        "checking stock",
        {"status": "scheduled"},
        {"status": "paused"},
    )
    assert by_itself["actor"] == "platform"
