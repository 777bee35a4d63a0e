"""Sales through the API: made, read, edited, steered, with the states and versions that DESIGN 5 and 7 fix."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from backend.api import AppState
from backend.app import Platform
from backend.core.clock import rfc3339
from backend.gate import EntryId, GateAnswer, LaneId
from backend.jobs import Enqueuer, make_broker
from backend.models import Role
from backend.orders import relay_lane
from backend.sales import apply_configs, run_due_transitions
from backend.settings import Settings
from stack.servers import GateServer

from .conftest import Operator, sale_body

SignIn = Callable[..., Awaitable[Operator]]
OpenNow = Callable[[Any], Awaitable[None]]


def lane_of(sale: Any, at: int = 0) -> LaneId:
    return LaneId(UUID(sale["items"][at]["id"]))


async def test_a_sale_is_made_listed_and_read(owner: Operator) -> None:
    made = await owner.make_sale("friday-tee")
    assert made["status"] == "draft"
    assert made["phase"] == "upcoming"
    assert made["throttle"] == {
        "rate_per_s": 500.0,
        "burst": 1000,
        "wait_budget_ms": 0,
        "repeat_window_ms": 10000,
    }
    assert made["link"] == {"ttl_s": 300, "overlap_s": 0, "epoch": 0}
    assert made["payment"] == {"required": False, "hold_s": 900}
    assert made["lead_s"] == 600
    item = made["items"][0]
    assert (item["name"], item["allotment"], item["available"], item["per_shopper_limit"]) == (
        "Tee, size M",
        10,
        10,
        1,
    )
    read = await owner.get(f"/sales/{made['id']}")
    assert read.json() == made
    assert read.headers["ETag"] == '"1"'
    assert None not in read.json().values()
    listed = (await owner.get("/sales", params={"q": "FRIDAY", "status": "draft"})).json()["sales"]
    assert [one["id"] for one in listed] == [made["id"]]
    assert (await owner.get("/sales", params={"status": "live"})).json() == {"sales": []}


WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"closes_at": "2026-01-01T00:00:00Z"}, "closes_at"),
    ({"time_zone": "Europe/Atlantis"}, "time_zone"),
    ({"time_zone": "../../etc/passwd"}, "time_zone"),
    ({"items": []}, "items"),
    ({"slug": "Not a slug"}, "slug"),
    ({"status": "live"}, "status"),
    ({"title": None}, "title"),
    ({"throttle": None}, "throttle"),
    ({"throttle": {"rate_per_s": 0}}, "throttle.rate_per_s"),
    ({"payment": {"required": 1}}, "payment.required"),
    ({"opens_at": "2026-12-04 18:00:00"}, "opens_at"),
    ({"opens_at": 1764871200}, "opens_at"),
]


async def test_a_wrong_field_is_named(owner: Operator) -> None:
    await owner.post("/skus", {"sku": "TEE-M", "name": "Tee"})
    for change, field in WRONG_FIELDS:
        response = await owner.post("/sales", {**sale_body("wrong"), **change})
        assert (response.status_code, response.json()["code"]) == (422, "INVALID_FIELD"), change
        assert response.json()["errors"][0]["field"] == field
    assert (await owner.get("/sales")).json() == {"sales": []}


async def test_a_loose_quantity_is_refused(owner: Operator) -> None:
    await owner.post("/skus", {"sku": "TEE-M", "name": "Tee"})
    allotments: list[Any] = [0, -1, 1.5, 1.0, True, "3", 2**63, 1_000_001, None, []]
    for allotment in allotments:
        body = sale_body("loose")
        body["items"][0]["allotment"] = allotment
        response = await owner.post("/sales", body)
        assert response.status_code == 422, response.text
        assert response.json()["errors"][0]["field"] == "items.0.allotment"


async def test_items_are_known_distinct_and_of_one_currency(owner: Operator) -> None:
    for sku in ("A", "B"):
        await owner.ok("/skus", {"sku": sku, "name": sku})
    item = {"sku": "A", "price": {"amount_minor": 1, "currency": "EUR"}, "allotment": 1}
    for items in (
        [item, item],
        [item, {**item, "sku": "B", "price": {"amount_minor": 1, "currency": "USD"}}],
        [{**item, "sku": "UNKNOWN"}],
        [{**item, "price": {"amount_minor": 1, "currency": "XXX"}}],
    ):
        assert (await owner.post("/sales", sale_body("items", items=items))).status_code == 422


async def test_slugs_are_one_namespace_and_sales_are_private(owner: Operator, sign_in: SignIn) -> None:
    sale = await owner.make_sale("mine")
    rival = await sign_in(Role.OWNER, "Rival")
    await rival.ok("/skus", {"sku": "TEE-M", "name": "Tee"})
    taken = await rival.post("/sales", sale_body("mine"))
    assert (taken.status_code, taken.json()["code"]) == (409, "CONFLICT")
    assert (await rival.get("/sales")).json() == {"sales": []}
    for path in ("", "/preflight", "/live", "/throughput", "/orders", "/notifications", "/activity"):
        response = await rival.get(f"/sales/{sale['id']}{path}")
        assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND"), path
    for action in ("schedule", "preload", "publish", "rotate-links", "pause", "resume", "end", "cancel"):
        assert (await rival.post(f"/sales/{sale['id']}/{action}")).status_code == 404, action
    for action in ("top-up", "reduce"):
        body = {"sku": "TEE-M", "quantity": 1, "reason": "mine now"}
        assert (await rival.post(f"/sales/{sale['id']}/{action}", body)).status_code == 404
    assert (await rival.post(f"/sales/{sale['id']}/throttle", {"burst": 1})).status_code == 404
    assert (await rival.send("DELETE", f"/sales/{sale['id']}")).status_code == 404
    assert (await rival.send("PATCH", f"/sales/{sale['id']}", {"title": "x"}, If_Match='"1"')).status_code == 404
    assert (await owner.get(f"/sales/{sale['id']}")).json() == sale


async def test_a_patch_needs_the_version_and_merges(owner: Operator) -> None:
    sale = await owner.make_sale("patched")
    path = f"/sales/{sale['id']}"
    missing = await owner.send("PATCH", path, {"title": "New"})
    assert (missing.status_code, missing.json()["code"]) == (400, "INVALID")
    done = await owner.send(
        "PATCH", path, {"title": "New", "throttle": {"burst": 5}, "link": {"overlap_s": 9}}, If_Match='"1"'
    )
    assert done.status_code == 200, done.text
    assert done.headers["ETag"] == '"2"'
    assert done.json()["title"] == "New"
    assert done.json()["throttle"] == {**sale["throttle"], "burst": 5}
    assert done.json()["link"] == {"ttl_s": 300, "overlap_s": 9, "epoch": 0}
    stale = await owner.send("PATCH", path, {"title": "Newer"}, If_Match='"1"')
    assert (stale.status_code, stale.json()["code"]) == (412, "STALE")
    assert (await owner.get(path)).json()["title"] == "New"


async def test_what_may_change_shrinks_with_the_state(owner: Operator) -> None:
    sale = await owner.make_sale("shrinking")
    path = f"/sales/{sale['id']}"
    await owner.ok(f"{path}/schedule")

    async def patch(body: Any) -> Any:
        version = (await owner.get(path)).headers["ETag"]
        return await owner.send("PATCH", path, body, If_Match=version)

    assert (await patch({"slug": "other"})).json()["code"] == "WRONG_STATE"
    past = rfc3339(datetime.now(UTC) - timedelta(seconds=1))
    assert (await patch({"opens_at": past})).json()["code"] == "INVALID_FIELD"
    item = {"sku": "TEE-M", "price": {"amount_minor": 5, "currency": "EUR"}, "allotment": 20}
    assert (await patch({"items": [item]})).json()["items"][0]["available"] == 20
    await owner.ok(f"{path}/preload")
    refused = await patch({"items": [item | {"allotment": 30}], "lead_s": 1})
    assert refused.status_code == 409
    assert refused.json()["state"] == "scheduled"
    assert refused.json()["fields"] == ["items", "lead_s"]
    later = rfc3339(datetime.fromisoformat(sale["closes_at"]) + timedelta(hours=1))
    assert (await patch({"title": "Longer", "closes_at": later})).status_code == 200
    assert (await patch({"closes_at": sale["closes_at"]})).json()["code"] == "WRONG_STATE"


async def test_a_draft_can_be_deleted_and_a_sale_cannot(owner: Operator) -> None:
    draft, sale = await owner.make_sale("gone"), await owner.make_sale("stays")
    await owner.ok(f"/sales/{sale['id']}/schedule")
    deleted = await owner.send("DELETE", f"/sales/{draft['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    again = await owner.send("DELETE", f"/sales/{draft['id']}", key=owner.last_key)
    assert (again.status_code, again.content) == (204, b"")
    assert (await owner.get(f"/sales/{draft['id']}")).status_code == 404
    refused = await owner.send("DELETE", f"/sales/{sale['id']}")
    assert (refused.status_code, refused.json()["state"]) == (409, "scheduled")


async def test_a_sale_whose_opening_is_over_is_not_scheduled(owner: Operator) -> None:
    sale = await owner.make_sale("late", opens_in_s=-1)
    refused = await owner.post(f"/sales/{sale['id']}/schedule")
    assert (refused.status_code, refused.json()["code"]) == (409, "PREFLIGHT_FAILED")
    assert refused.json()["checks"][0]["name"] == "window"


async def test_commands_in_the_wrong_state_name_it(owner: Operator) -> None:
    sale = await owner.make_sale("draft")
    quantity = {"sku": "TEE-M", "quantity": 1, "reason": "why not"}
    for action, body in (
        ("preload", None), ("publish", None), ("rotate-links", None), ("pause", None), ("resume", None),
        ("end", None), ("cancel", None), ("top-up", quantity), ("reduce", quantity),
    ):  # fmt: skip
        refused = await owner.post(f"/sales/{sale['id']}/{action}", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "WRONG_STATE"), (action, refused.text)
        assert refused.json()["state"] == "draft", action


async def test_preload_loads_each_lane_once(owner: Operator, state: AppState) -> None:
    sale = await owner.make_sale("preloaded")
    await owner.ok(f"/sales/{sale['id']}/schedule")
    loaded = await owner.ok(f"/sales/{sale['id']}/preload")
    assert loaded["preloaded_at"]
    assert loaded["link"]["epoch"] == 1
    first = await state.gate.read(lane_of(sale))
    assert (first.loaded, first.available, first.seq) == (True, 10, 0)
    assert len((await state.gate.secrets(lane_of(sale)))[1]) == 32
    await asyncio.gather(*(owner.ok(f"/sales/{sale['id']}/preload") for _ in range(5)))
    assert (await state.gate.read(lane_of(sale))).last == EntryId(1, 0)
    assert (await state.gate.directory())[lane_of(sale).item_id].slug == "preloaded"
    # Neither the clock's tick nor another preload brings back what the gate has lost after a drain.
    await run_due_transitions(state.database, state.gate, state.settings)
    assert (await state.gate.read(lane_of(sale))).last == EntryId(1, 0)


async def test_lost_stock_is_never_refilled(
    owner: Operator, state: AppState, drain: Callable[[LaneId], Awaitable[Any]], gate_server: GateServer
) -> None:
    sale = await owner.make_sale("lost")
    await owner.ok(f"/sales/{sale['id']}/schedule")
    await owner.ok(f"/sales/{sale['id']}/preload")
    await drain(lane_of(sale))
    await gate_server.flush()
    await owner.ok(f"/sales/{sale['id']}/preload")
    await run_due_transitions(state.database, state.gate, state.settings)
    assert not (await state.gate.read(lane_of(sale))).loaded


async def test_the_clock_preloads_what_is_due_and_notes_the_opening(
    owner: Operator, state: AppState, open_now: OpenNow
) -> None:
    due = await owner.make_sale("due", opens_in_s=3600, lead_s=3700)
    later = await owner.make_sale("later", opens_in_s=3600, lead_s=30)
    for sale in (due, later):
        await owner.ok(f"/sales/{sale['id']}/schedule")
    ticks = [run_due_transitions(state.database, state.gate, state.settings) for _ in range(2)]
    done = await asyncio.gather(*ticks)
    assert {sale_id for tick in done for sale_id in tick.preloaded} == {UUID(due["id"])}
    assert (await state.gate.read(lane_of(due))).available == 10
    assert not (await state.gate.read(lane_of(later))).loaded
    assert [tick.opened for tick in done] == [(), ()]
    await open_now(due)
    done = await asyncio.gather(*(run_due_transitions(state.database, state.gate, state.settings) for _ in range(2)))
    assert [sale_id for tick in done for sale_id in tick.opened] == [UUID(due["id"])]
    assert (await owner.get(f"/sales/{due['id']}")).json()["status"] == "live"
    events = (await owner.get(f"/sales/{due['id']}/live")).json()["events"]
    assert [event["kind"] for event in events] == ["sale.opened", "sale.preloaded", "sale.schedule", "sale.create"]


async def test_steering_reaches_the_gate(owner: Operator, state: AppState, open_now: OpenNow) -> None:
    sale = await owner.make_sale("steered")
    path, lane = f"/sales/{sale['id']}", lane_of(sale)
    await owner.ok(f"{path}/schedule")
    await owner.ok(f"{path}/preload")
    await open_now(sale)
    assert (await owner.ok(f"{path}/pause", {"reason": "look"}))["status"] == "paused"
    assert (await state.gate.read(lane)).paused
    assert (await owner.ok(f"{path}/resume"))["status"] == "live"
    assert not (await state.gate.read(lane)).paused
    rotated = await owner.ok(f"{path}/rotate-links", {"reason": "leaked"})
    assert rotated["link"]["epoch"] == 2
    assert (await state.gate.read(lane)).link_epoch == 2
    secrets = await state.gate.secrets(lane)
    assert secrets[1] != secrets[2]
    changed = await owner.ok(f"{path}/throttle", {"rate_per_s": 50})
    assert changed["throttle"] == {**sale["throttle"], "rate_per_s": 50}
    own = await owner.ok(f"{path}/throttle", {"sku": "TEE-M", "burst": 3})
    assert own["items"][0]["throttle"] == {**sale["throttle"], "rate_per_s": 50, "burst": 3}
    assert own["throttle"]["burst"] == 1000
    ended = await owner.ok(f"{path}/end")
    assert (ended["status"], ended["phase"]) == ("ended", "ended")
    reading = await state.gate.read(lane)
    assert reading.closes_at_ms <= reading.read_at_ms
    refused = await owner.post(f"{path}/resume")
    assert refused.json()["state"] == "ended"


async def test_a_lost_configuration_returns_with_the_tick(owner: Operator, state: AppState) -> None:
    sale = await owner.make_sale("ticked")
    await owner.ok(f"/sales/{sale['id']}/schedule")
    await owner.ok(f"/sales/{sale['id']}/preload")
    await owner.ok(f"/sales/{sale['id']}/pause")
    key = f"{{{lane_of(sale)}}}:config"
    await state.gate.store.client.hset(key, mapping={"paused": 0, "config_version": 0})
    assert not (await state.gate.read(lane_of(sale))).paused
    await apply_configs(state.database, state.gate, state.settings)
    assert (await state.gate.read(lane_of(sale))).paused


async def test_a_fault_needs_a_reason_and_the_generation(owner: Operator, state: AppState, open_now: OpenNow) -> None:
    sale = await owner.make_sale("faulty")
    path, lane = f"/sales/{sale['id']}", lane_of(sale)
    await owner.ok(f"{path}/schedule")
    await owner.ok(f"{path}/preload")
    await open_now(sale)
    await apply_configs(state.database, state.gate, state.settings)
    assert await state.gate.latch(lane, "regressed", generation=1) is GateAnswer.DONE
    await apply_configs(state.database, state.gate, state.settings)
    stopped = (await owner.get(path)).json()
    assert (stopped["status"], stopped["fault"], stopped["generation"]) == ("paused", "regressed", 1)
    assert (await owner.post(f"{path}/resume")).json()["code"] == "INVALID_FIELD"
    unnamed = (await owner.post(f"{path}/resume", {"reason": "checked"})).json()
    assert (unnamed["code"], unnamed["generation"], unnamed["fault"]) == ("WRONG_STATE", 1, "regressed")
    wrong = await owner.post(f"{path}/resume", {"reason": "checked", "generation": 2})
    assert wrong.status_code == 409
    assert (await state.gate.read(lane)).fault == "regressed"
    resumed = await owner.ok(f"{path}/resume", {"reason": "checked", "generation": 1})
    assert resumed["status"] == "live"
    assert "fault" not in resumed
    assert not (await state.gate.read(lane)).fault
    await apply_configs(state.database, state.gate, state.settings)
    assert (await owner.get(path)).json()["status"] == "live"


async def test_cancelling_closes_the_lanes(owner: Operator, state: AppState) -> None:
    sale = await owner.make_sale("cancelled")
    await owner.ok(f"/sales/{sale['id']}/schedule")
    await owner.ok(f"/sales/{sale['id']}/preload")
    cancelled = await owner.ok(f"/sales/{sale['id']}/cancel", {"reason": "wrong price"})
    assert (cancelled["status"], cancelled["phase"]) == ("cancelled", "cancelled")
    assert (await state.gate.read(lane_of(sale))).paused
    assert (await owner.post(f"/sales/{sale['id']}/cancel")).json()["state"] == "cancelled"


async def test_stock_moves_in_the_ledger_before_the_preload(owner: Operator) -> None:
    sale = await owner.make_sale("early-stock")
    path = f"/sales/{sale['id']}"
    await owner.ok(f"{path}/schedule")
    body = {"sku": "TEE-M", "quantity": 5, "reason": "found a box"}
    assert (await owner.ok(f"{path}/top-up", body))["items"][0]["allotment"] == 15
    assert (await owner.ok(f"{path}/reduce", body))["items"][0]["available"] == 10
    assert (await owner.post(f"{path}/reduce", {**body, "quantity": 11})).json()["code"] == "BELOW_COMMITTED"
    assert (await owner.post(f"{path}/reduce", {**body, "quantity": 10})).json()["code"] == "INVALID_FIELD"
    assert (await owner.post(f"{path}/top-up", {**body, "reason": None})).status_code == 422
    assert (await owner.post(f"{path}/top-up", {**body, "sku": "OTHER"})).json()["code"] == "INVALID_FIELD"


async def test_a_top_up_goes_ledger_first_and_once(
    owner: Operator, state: AppState, drain: Callable[[LaneId], Awaitable[Any]]
) -> None:
    sale = await owner.make_sale("topped")
    path, lane = f"/sales/{sale['id']}", lane_of(sale)
    await owner.ok(f"{path}/schedule")
    await owner.ok(f"{path}/preload")
    await drain(lane)
    body = {"sku": "TEE-M", "quantity": 5, "reason": "found a box"}
    answers = await asyncio.gather(*(owner.post(f"{path}/top-up", body, key="once") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert answers[0].json()["items"][0]["allotment"] == 15
    assert (await state.gate.read(lane)).available == 10
    assert (await owner.get(f"{path}/live")).json()["drift"] == 0
    await relay_lane(state.database, state.gate, lane)
    await drain(lane)
    assert (await state.gate.read(lane)).available == 15
    reused = await owner.post(f"{path}/top-up", {**body, "quantity": 6}, key="once")
    assert (reused.status_code, reused.json()["code"]) == (422, "KEY_REUSED")
    assert (await owner.get(path)).json()["items"][0]["available"] == 15


async def test_a_reduction_goes_gate_first_and_once(
    owner: Operator, state: AppState, drain: Callable[[LaneId], Awaitable[Any]]
) -> None:
    sale = await owner.make_sale("reduced")
    path, lane = f"/sales/{sale['id']}", lane_of(sale)
    await owner.ok(f"{path}/schedule")
    await owner.ok(f"{path}/preload")
    await drain(lane)
    body = {"sku": "TEE-M", "quantity": 4, "reason": "damaged"}
    # Nothing drains meanwhile: the gate has taken the units, the answer is open, and nothing is said to have failed.
    late = await owner.post(f"{path}/reduce", body, key="less")
    assert (late.status_code, late.json()["code"]) == (503, "DEGRADED")
    assert (await state.gate.read(lane)).available == 6
    await drain(lane)
    done = await owner.post(f"{path}/reduce", body, key="less")
    assert done.status_code == 200, done.text
    assert (done.json()["items"][0]["allotment"], done.json()["items"][0]["available"]) == (6, 6)
    assert (await owner.post(f"{path}/reduce", body, key="less")).json() == done.json()
    assert (await state.gate.read(lane)).available == 6
    lines = (await owner.get(f"{path}/activity")).json()["activity"]
    line = next(one for one in lines if one["kind"] == "sale.reduce")
    assert (line["before"]["allotment"], line["after"]["allotment"], line["reason"]) == (10, 6, "damaged")
    assert line["outcome"] == "done"


async def test_a_reduction_below_what_the_gate_promised_is_refused_for_good(
    owner: Operator, state: AppState, drain: Callable[[LaneId], Awaitable[Any]]
) -> None:
    sale = await owner.make_sale("promised")
    path, lane = f"/sales/{sale['id']}", lane_of(sale)
    await owner.ok(f"{path}/schedule")
    await owner.ok(f"{path}/preload")
    await drain(lane)
    # The gate has fewer than the ledger knows of yet.
    await state.gate.adjust(lane, cause=UUID(int=7), units=-8, generation=1)
    body = {"sku": "TEE-M", "quantity": 3, "reason": "damaged"}
    refused = await owner.post(f"{path}/reduce", body, key="too-much")
    assert (refused.status_code, refused.json()["code"]) == (409, "BELOW_COMMITTED")
    assert refused.headers["Content-Type"] == "application/problem+json"
    again = await owner.post(f"{path}/reduce", body, key="too-much")
    assert (again.status_code, again.json()) == (409, refused.json())
    assert (await state.gate.read(lane)).available == 2


async def test_the_preflight_lists_what_is_missing(owner: Operator) -> None:
    sale = await owner.make_sale("checked")
    path = f"/sales/{sale['id']}"
    await owner.ok(f"{path}/schedule")
    before = {check["name"]: check for check in (await owner.get(f"{path}/preflight")).json()["checks"]}
    assert set(before) == {
        "window", "allotment", "link_secret", "page", "notifications", "gate", "clocks", "stock"
    }  # fmt: skip
    assert not before["stock"]["ok"]
    assert before["stock"]["action"]
    await owner.ok(f"{path}/preload")
    after = (await owner.get(f"{path}/preflight")).json()
    good = {check["name"] for check in after["checks"] if check["ok"]}
    assert good >= {"window", "allotment", "link_secret", "gate", "clocks", "stock"}
    assert after["ready"] is False


async def test_publish_asks_a_worker_and_says_when_it_could_not(
    owner: Operator, settings: Settings, state: AppState, platform: Platform
) -> None:
    sale = await owner.make_sale("published")
    path = f"/sales/{sale['id']}"
    await owner.ok(f"{path}/schedule")
    answer = await owner.ok(f"{path}/publish", {"reason": "new picture"})
    assert "published_version" not in answer  # no worker runs here
    broker = Redis.from_url(settings.broker_url)
    assert await broker.llen("dramatiq:pages") == 1
    await broker.aclose()
    # A broker that is down leaves the command open, so that the same key can ask again.
    down = Enqueuer(make_broker("redis://127.0.0.1:1/1"))
    working = state.enqueue
    swap = {"now": down}

    async def enqueue(*args: Any) -> bool:
        return await swap["now"](*args)

    platform.api.state.stampede = replace(state, enqueue=enqueue)
    refused = await owner.post(f"{path}/publish", key="again")
    assert (refused.status_code, refused.json()["code"]) == (503, "DEGRADED")
    swap["now"] = working  # type: ignore[assignment]
    assert (await owner.post(f"{path}/publish", key="again")).status_code == 200
