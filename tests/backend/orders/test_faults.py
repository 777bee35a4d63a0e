"""What the drain must find, stop and say: history lost, replaced or altered, drift, phantom units, poison (I3, I9)."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from backend.gate import EntryId, Gate, Outcome
from backend.models import Database
from backend.orders import Drained, expire_due
from tests.support import forge
from tests.support.checker import findings
from tests.support.shop import Counters, Shop


async def _buy(shop: Shop, count: int) -> None:
    await shop.lane.admit(*(shop.lane.attempt() for _ in range(count)))


async def _stopped(shop: Shop, fault: str) -> None:
    """The sale stands in the ledger and in the gate, with one alarm, and nobody can buy."""
    assert await shop.fault() == fault
    assert await shop.alarms() == [f"fault.{fault}"]
    assert await shop.lane.lane_field("fault") == fault
    units = await shop.lane.lane_field("available")
    assert (await shop.lane.buy()).outcome is Outcome.PAUSED
    assert await shop.lane.lane_field("available") == units


@pytest.mark.parametrize("lie", ["nonce", "units", "generation"])
async def test_a_genesis_that_is_not_the_preloads_is_not_adopted(
    database: Database, gate: Gate, admin: Redis, lie: str
) -> None:
    shop = await Shop.open(database, gate, admin, load=False)
    units = 10
    match lie:
        case "nonce":
            shop.lane.nonce = "f" * 32
        case "units":
            units = 11
        case "generation":
            shop.lane.generation = 2
    await shop.lane.load(units)
    await _buy(shop, 2)
    drained = await shop.drain()
    assert drained.fault == "forked"
    assert drained.applied == 0
    assert await shop.cursor() == (None, None)
    assert await shop.reservations() == {}
    assert await shop.fault() == "forked"
    assert await shop.alarms() == ["fault.forked"]
    # A lane of another generation is not ours to latch; the sale's own pause reaches it by the config tick.
    assert await shop.lane.lane_field("fault") == ("" if lie == "generation" else "forked")


@pytest.mark.parametrize("after", ["nothing", "fewer", "as many", "more"])
async def test_a_lost_tail_is_found_whatever_was_written_since(shop: Shop, after: str) -> None:
    await _buy(shop, 1)
    await shop.settle()
    old = await shop.lane.snapshot()
    await _buy(shop, 4)
    await shop.settle()
    before = await shop.reservations()
    await shop.lane.fail_over_to(old)
    new = {"nothing": 0, "fewer": 2, "as many": 4, "more": 6}[after]
    await _buy(shop, new)
    drained = await shop.drain()
    fault = "forked" if new >= 4 else "regressed"
    assert (drained.fault, drained.applied) == (fault, 0)
    assert await shop.reservations() == before
    assert await shop.cursor() == (5, 5)
    await _stopped(shop, fault)
    assert await shop.drain() == Drained()  # nothing more is applied until a person has dealt with it
    assert await shop.reservations() == before


async def test_an_emptied_store_is_a_regression(shop: Shop) -> None:
    await _buy(shop, 2)
    await shop.settle()
    await shop.lane.admin.delete(*shop.lane.keys.all())
    assert (await shop.drain()).fault == "regressed"
    assert (await shop.lane.buy()).outcome is Outcome.NOT_LOADED
    assert await shop.fault() == "regressed"


async def test_a_lost_release_is_found_below_the_cursor_and_told_again_above(
    database: Database, gate: Gate, admin: Redis
) -> None:
    shop = await Shop.open(database, gate, admin, hold_s=60)
    await _buy(shop, 1)
    await shop.settle()
    await shop.make_due()
    await expire_due(database)
    old = await shop.lane.snapshot()
    await shop.relay()
    await shop.lane.fail_over_to(old)  # applied and acknowledged, but the drain has not read it
    assert (await shop.drain()).fault is None
    assert await shop.outbox() == {"pending": 1}
    await shop.forget_telling()
    await shop.settle()
    assert await findings(shop, at_rest=True) == []
    await shop.lane.fail_over_to(old)  # read and done: now it is history that was applied
    assert (await shop.drain()).fault == "regressed"


@pytest.mark.parametrize("change", [{"quantity": "2"}, {"digest": "0" * 40}, {"left": "3"}, {"kind": "sell"}])
async def test_an_altered_entry_is_a_fork(shop: Shop, change: dict[str, str]) -> None:
    await _buy(shop, 3)
    rows = await shop.lane.admin.xrange(shop.lane.keys.journal)
    await shop.lane.admin.delete(shop.lane.keys.journal)
    for entry_id, fields in rows:
        if entry_id == b"1-2":
            fields |= {name.encode(): value.encode() for name, value in change.items()}
        await shop.lane.admin.xadd(shop.lane.keys.journal, fields, id=entry_id)
    assert (await shop.drain()).fault == "forked"
    assert await shop.reservations() == {}
    await _stopped(shop, "forked")


async def test_an_altered_cursor_entry_is_a_fork_also_when_nothing_is_new(shop: Shop) -> None:
    await _buy(shop, 3)
    await shop.settle()
    assert await shop.drain() == Drained(EntryId(1, 3))
    rows = await shop.lane.admin.xrange(shop.lane.keys.journal)
    await shop.lane.admin.delete(shop.lane.keys.journal)
    for entry_id, fields in rows:
        if entry_id == b"1-3":
            fields[b"digest"] = b"0" * 40
        await shop.lane.admin.xadd(shop.lane.keys.journal, fields, id=entry_id)
    assert (await shop.drain()).fault == "forked"
    await _stopped(shop, "forked")


@pytest.mark.parametrize("units", [1, -1])
async def test_drift_stops_the_sale_and_applies_what_was_promised(shop: Shop, units: int) -> None:
    """The ledger's units are changed by hand; the gate never hears of it."""
    await _buy(shop, 2)
    await shop.rows(
        "UPDATE sale_items SET available = available + :n, allotment = allotment + :n WHERE id = :item", n=units
    )
    drained = await shop.drain()
    assert (drained.fault, drained.applied) == ("drift", 3)
    assert await shop.reservations() == {"confirmed": 2}
    await _stopped(shop, "drift")
    assert [one.partition(" ")[0] for one in await findings(shop)] == ["I17", "I3"]


async def test_a_release_that_the_ledger_never_gave_is_drift(shop: Shop) -> None:
    await _buy(shop, 1)
    await forge.phantom(shop.lane)
    assert (await shop.drain()).fault == "drift"
    await _stopped(shop, "drift")


async def test_a_phantom_unit_is_rejected_forfeited_and_stops_the_sale(shop: Shop) -> None:
    await _buy(shop, 8)
    await shop.settle()
    await forge.phantom(shop.lane)
    await _buy(shop, 3)
    drained = await shop.drain()
    assert drained.fault == "no_stock"
    assert await shop.reservations() == {"confirmed": 10, "rejected": 1}
    assert await shop.counters() == Counters(allotment=10, available=0, reserved=0, sold=10)
    assert await shop.rows("SELECT kind, quantity, status FROM gate_outbox") == [("forfeit", 0, "pending")]
    assert await shop.one("SELECT reason FROM reservations WHERE status = 'rejected'") == "no_stock"
    assert await shop.one("SELECT count(*) FROM notifications WHERE kind = 'order_rejected'") == 1
    await _stopped(shop, "no_stock")
    await shop.settle()  # still draining: the shopper's count falls, no unit returns
    assert await shop.outbox() == {"done": 1}
    reading = await shop.gate.read(shop.lane.lane_id)
    assert (reading.available, reading.held, reading.allotment) == (0, 10, 10)
    assert await findings(shop, at_rest=True) == []
    assert await shop.alarms() == ["fault.no_stock"]


POISON: list[dict[str, Any]] = [  # what stops a sale; single entries are put aside, see test_poison.py
    {"quantity": -2, "left": 12},
    {"kind": "adjust", "quantity": -(2**40), "left": 10 - 2**40},
]


@pytest.mark.parametrize("entry", POISON, ids=str)
async def test_poison_stops_its_sale_and_no_other(
    database: Database, gate: Gate, admin: Redis, entry: dict[str, Any]
) -> None:
    sick, healthy = [await Shop.open(database, gate, admin) for _ in range(2)]
    await sick.drain()
    await forge.append(sick.lane, **entry)
    await _buy(healthy, 1)
    assert (await sick.drain()).fault == "poison"
    assert await sick.cursor() == (0, 10)
    assert await sick.reservations() == {}
    assert await sick.counters() == Counters(allotment=10, available=10, reserved=0, sold=0)
    assert await sick.fault() == "poison"
    assert await sick.alarms() == ["fault.poison"]
    assert await sick.lane.lane_field("fault") == "poison"
    assert await sick.drain() == Drained()
    assert (await healthy.drain()).applied == 2
    assert await healthy.fault() is None


async def test_more_than_the_ledger_ever_had_is_a_phantom_not_poison(shop: Shop) -> None:
    await forge.append(shop.lane, quantity=2**40, left=10 - 2**40)
    drained = await shop.drain()
    assert drained.fault in ("no_stock", "poison")
    assert await shop.counters() == Counters(allotment=10, available=10, reserved=0, sold=0)
    assert await shop.fault() == drained.fault


async def test_a_first_fault_stays_and_alarms_once(shop: Shop) -> None:
    await _buy(shop, 1)
    await forge.phantom(shop.lane)
    await shop.drain()
    await _buy(shop, 0)
    await asyncio.gather(*(shop.drain() for _ in range(5)))
    await forge.append(shop.lane, kind="release", cause="nobody", left=11)
    await shop.drain()
    assert await shop.fault() == "drift"
    assert await shop.alarms() == ["fault.drift"]
