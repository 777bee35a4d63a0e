"""The journal into the ledger: everything once, whoever crashes where, and the equation at every commit."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from backend.gate import EntryId, Gate, GateUnavailable
from backend.models import Database
from backend.orders import Drain, Drained
from backend.orders import drain as drain_module
from tests.support.checker import findings
from tests.support.shop import Counters, Shop


class Crash(Exception):
    """The process dies here."""


class DiesBeforeCommit(Drain):
    """Everything of the batch is written; the transaction is never committed."""

    async def _apply(self, *args: Any) -> Any:
        await super()._apply(*args)
        raise Crash


class DeafGate(Gate):
    """Dies (or cannot reach the store) after the commit, before the cursor is published."""

    async def publish_applied(self, *args: Any) -> Any:
        raise GateUnavailable("cut")


async def _buy(shop: Shop, count: int) -> None:
    await shop.lane.admit(*(shop.lane.attempt() for _ in range(count)))


async def test_a_sale_without_payment_is_confirmed(shop: Shop) -> None:
    attempt = shop.lane.attempt()
    (won,) = await shop.lane.admit(attempt)
    drained = await shop.drain()
    assert drained == Drained(EntryId(1, 1), applied=2)
    assert await shop.counters() == Counters(allotment=10, available=9, reserved=0, sold=1)
    (row,) = await shop.rows("""
        SELECT r.id, r.shopper_id, r.status, r.generation, r.seq, r.expires_at, o.status, o.price_minor, o.currency,
               o.quantity, o.pay_by, (extract(epoch FROM r.admitted_at) * 1000)::bigint
        FROM reservations r JOIN orders o ON o.reservation_id = r.id
    """)
    assert row == (attempt.reservation_id, attempt.shopper_id, "confirmed", 1, 1, None, "confirmed", 1_900, "EUR", 1,
                   None, won.at_ms)  # fmt: skip
    entries = await shop.rows(
        "SELECT kind, available_delta, reserved_delta, sold_delta FROM ledger_entries ORDER BY id"
    )
    assert entries == [("allot", 10, 0, 0), ("reserve", -1, 1, 0), ("sell", 0, -1, 1)]
    assert await shop.rows("SELECT kind, status FROM notifications") == [("order_confirmed", "pending")]
    assert await shop.gate.applied(shop.lane.lane_id) == EntryId(1, 1)
    assert await findings(shop, at_rest=True) == []


async def test_a_sale_with_payment_is_held_by_the_databases_clock(database: Database, gate: Gate, admin: Redis) -> None:
    shop = await Shop.open(database, gate, admin, hold_s=120)
    await _buy(shop, 1)
    await shop.drain()
    assert await shop.counters() == Counters(allotment=10, available=9, reserved=1, sold=0)
    (row,) = await shop.rows("""
        SELECT r.status, o.status, o.pay_by = r.expires_at,
               r.expires_at BETWEEN now() + interval '60 seconds' AND now() + interval '120 seconds'
        FROM reservations r JOIN orders o ON o.reservation_id = r.id
    """)
    assert row == ("reserved", "reserved", True, True)
    assert await shop.rows("SELECT kind FROM notifications") == [("order_reserved",)]
    assert await findings(shop, at_rest=True) == []


async def test_draining_again_changes_nothing(shop: Shop) -> None:
    await _buy(shop, 3)
    await shop.drain()
    before = await shop.rows("SELECT * FROM ledger_entries ORDER BY id")
    for _ in range(3):
        assert await shop.drain() == Drained(EntryId(1, 3))
    assert await shop.rows("SELECT * FROM ledger_entries ORDER BY id") == before
    assert await shop.reservations() == {"confirmed": 3}


async def test_an_empty_gate_waits_for_its_load(database: Database, gate: Gate, admin: Redis) -> None:
    shop = await Shop.open(database, gate, admin, load=False)
    assert await shop.drain() == Drained()
    assert await shop.fault() is None
    await shop.lane.load(10)
    assert await shop.drain() == Drained(EntryId(1, 0), applied=1)
    assert await shop.cursor() == (0, 10)


async def test_a_crash_before_the_commit_leaves_nothing(shop: Shop) -> None:
    await _buy(shop, 3)
    with pytest.raises(Crash):
        await shop.drain(DiesBeforeCommit(shop.database, shop.gate))
    assert await shop.cursor() == (None, None)
    assert await shop.reservations() == {}
    assert await shop.rows("SELECT 1 FROM notifications") == []
    assert await shop.gate.applied(shop.lane.lane_id) is None
    assert (await shop.drain()).applied == 4
    assert await findings(shop, at_rest=True) == []
    assert await shop.reservations() == {"confirmed": 3}


async def test_a_crash_after_the_commit_publishes_next_time(shop: Shop) -> None:
    await _buy(shop, 3)
    with pytest.raises(GateUnavailable):
        await shop.drain(Drain(shop.database, DeafGate(shop.gate.store)))
    assert await shop.cursor() == (3, 7)
    assert await shop.gate.applied(shop.lane.lane_id) is None
    assert (await shop.drain()).applied == 0
    assert await shop.gate.applied(shop.lane.lane_id) == EntryId(1, 3)
    assert await shop.reservations() == {"confirmed": 3}
    assert await findings(shop, at_rest=True) == []


@pytest.mark.parametrize("drains", [2, 20])
async def test_many_drains_at_once_apply_everything_once(
    shop: Shop, drains: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "BATCH_MAX", 2)
    await _buy(shop, 9)

    async def drain() -> int:
        applied = 0
        for _ in range(12):
            applied += (await shop.drain()).applied
        return applied

    applied = await asyncio.gather(*(drain() for _ in range(drains)))
    while (more := (await shop.drain()).applied) > 0:
        applied.append(more)
    assert sum(applied) == 10
    assert await shop.reservations() == {"confirmed": 9}
    assert await shop.one("SELECT count(*) FROM ledger_entries") == 1 + 2 * 9
    assert await findings(shop, at_rest=True) == []


async def test_batches_are_bounded_and_say_that_there_is_more(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "BATCH_MAX", 4)
    await _buy(shop, 9)
    turns = []
    while not turns or turns[-1].more:
        turns.append(await shop.drain())
        assert await findings(shop) == []
    assert [(one.applied, one.cursor) for one in turns] == [(4, EntryId(1, 3)), (4, EntryId(1, 7)), (2, EntryId(1, 9))]


async def test_run_drains_every_lane_and_stops_when_told(database: Database, gate: Gate, admin: Redis) -> None:
    shops = [await Shop.open(database, gate, admin) for _ in range(3)]
    for shop in shops:
        await _buy(shop, 2)
    stopping = asyncio.Event()
    running = asyncio.create_task(Drain(database, gate).run(stopping, for_s=60))
    async with asyncio.timeout(30):
        while [await shop.cursor() for shop in shops] != [(2, 8)] * 3:
            await asyncio.sleep(0.02)
        await _buy(shops[1], 2)  # found by waiting, not by a new turn
        while (await shops[1].cursor()) != (4, 6):
            await asyncio.sleep(0.02)
        stopping.set()
        assert await running == 3 * 3 + 2
    for shop in shops:
        assert await findings(shop, at_rest=True) == []


async def test_run_goes_on_past_a_lane_that_cannot_be_drained(database: Database, gate: Gate, admin: Redis) -> None:
    """One item's row is locked for long, another's journal is of the wrong type: the third goes through."""
    shops = sorted([await Shop.open(database, gate, admin) for _ in range(3)], key=lambda shop: shop.item_id)
    for shop in shops:
        await _buy(shop, 2)
    locked, broken, healthy = shops
    await admin.delete(broken.lane.keys.journal)
    await admin.rpush(broken.lane.keys.journal, "a list")

    class ShortPatience(Drain):
        async def _apply(self, session: Any, lane_id: Any) -> Any:
            await session.execute(drain_module.repository.text("SET LOCAL lock_timeout = '50ms'"))
            return await super()._apply(session, lane_id)

    stopping = asyncio.Event()
    async with database.transaction() as session:
        await drain_module.repository.lock_item(session, locked.item_id)
        running = asyncio.create_task(ShortPatience(database, gate).run(stopping, for_s=60))
        async with asyncio.timeout(30):
            while (await healthy.cursor()) != (2, 8) and not running.done():
                await asyncio.sleep(0.02)
        assert not running.done()
    async with asyncio.timeout(30):
        while (await locked.cursor()) != (2, 8) and not running.done():
            await asyncio.sleep(0.02)
    stopping.set()
    assert await running == 6
    assert await locked.fault() is None


async def test_a_reservation_taken_twice_by_the_gate_is_given_back_once(shop: Shop) -> None:
    """A claim was trimmed: the same reservation id gets a second entry, and a second unit is gone."""
    attempt = shop.lane.attempt()
    await shop.lane.admit(attempt)
    await shop.drain()
    await shop.lane.admin.delete(shop.lane.keys.claims, shop.lane.keys.shoppers)
    (second,) = await shop.lane.admit(attempt)
    assert second.entry_id == EntryId(1, 2)
    await shop.drain()
    assert await shop.reservations() == {"confirmed": 1}
    assert await shop.counters() == Counters(allotment=10, available=9, reserved=0, sold=1)
    assert await shop.outbox() == {"pending": 1}
    await shop.settle()
    assert await shop.outbox() == {"done": 1}
    assert await shop.lane.lane_field("available") == "9"
    assert await shop.fault() is None


async def test_a_top_up_and_a_reduction_reach_both_sides(shop: Shop) -> None:
    await _buy(shop, 2)
    await shop.settle()
    command = uuid4()
    await shop.gate.adjust(shop.lane.lane_id, cause=command, units=-3, generation=1)
    await shop.settle()
    assert await shop.counters() == Counters(allotment=7, available=5, reserved=0, sold=2)
    assert await shop.rows(
        "SELECT allotment_delta, available_delta, command_id FROM ledger_entries WHERE kind = 'adjust'"
    ) == [(-3, -3, command)]
    assert await findings(shop, at_rest=True) == []
