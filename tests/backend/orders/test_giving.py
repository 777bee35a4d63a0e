"""Units that go back: expiry, cancellation, top-up, and the relay that tells the gate; once each, dead or alive."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from backend.core.errors import Code, Refused
from backend.gate import Applied, Attempt, Gate, GateUnavailable, Outcome, Ticket
from backend.models import Database
from backend.orders import cancel_order, expire_due, relay_all, relay_lane, repository, ticket_rows
from backend.orders.settlement import Settlement, confirm_paid
from backend.settings import Settings
from tests.support.checker import findings
from tests.support.recovery import recover
from tests.support.shop import Counters, Shop


async def _held(database: Database, gate: Gate, admin: Redis, count: int, **more: Any) -> tuple[Shop, list[Attempt]]:
    shop = await Shop.open(database, gate, admin, hold_s=600, **more)
    attempts = [shop.lane.attempt() for _ in range(count)]
    await shop.lane.admit(*attempts)
    await shop.drain()
    return shop, attempts


async def _order_of(shop: Shop, attempt: Attempt) -> UUID:
    return await shop.one("SELECT id FROM orders WHERE reservation_id = :r", r=attempt.reservation_id)


async def _cancel(shop: Shop, order_id: UUID, shopper_id: UUID) -> None:
    async with shop.database.transaction() as session:
        await cancel_order(session, order_id, shopper_id)


async def _pay(shop: Shop, order_id: UUID) -> Settlement:
    async with shop.database.transaction() as session:
        return await confirm_paid(session, order_id)


async def test_a_hold_whose_time_is_up_ends_and_its_unit_is_bought_by_another(
    database: Database, gate: Gate, admin: Redis
) -> None:
    shop, (due, kept) = await _held(database, gate, admin, 2, units=2)
    await shop.rows("UPDATE reservations SET expires_at = now() WHERE id = :r", r=due.reservation_id)
    assert (await shop.lane.buy()).outcome is Outcome.SOLD_OUT
    assert await expire_due(database) == 1
    assert await shop.reservations() == {"expired": 1, "reserved": 1}
    assert await shop.counters() == Counters(allotment=2, available=1, reserved=1, sold=0)
    assert await findings(shop) == []
    assert await shop.relay() == 1
    assert (await shop.lane.buy()).outcome is Outcome.RESERVED
    assert (await shop.lane.buy()).outcome is Outcome.SOLD_OUT
    await shop.settle()
    assert await findings(shop, at_rest=True) == []
    kinds = await shop.rows("SELECT n.kind FROM notifications n JOIN orders o ON o.id = n.order_id "
                            "WHERE o.reservation_id = :r ORDER BY n.kind", r=due.reservation_id)  # fmt: skip
    assert kinds == [("order_expired",), ("order_reserved",)]
    assert await shop.one("SELECT status FROM reservations WHERE id = :r", r=kept.reservation_id) == "reserved"


async def test_twenty_sweeps_at_once_give_back_once(database: Database, gate: Gate, admin: Redis) -> None:
    shop, _ = await _held(database, gate, admin, 10)
    await shop.make_due()
    given = await asyncio.gather(*(expire_due(database) for _ in range(20)))
    assert sum(given) == 10
    assert await shop.outbox() == {"pending": 10}
    assert await findings(shop) == []
    await asyncio.gather(*(shop.relay() for _ in range(5)))
    await shop.settle()
    assert await shop.counters() == Counters(allotment=10, available=10, reserved=0, sold=0)
    assert await findings(shop, at_rest=True) == []


async def test_a_sweep_passes_over_what_another_has(database: Database, gate: Gate, admin: Redis) -> None:
    shop, (one, _) = await _held(database, gate, admin, 2)
    await shop.make_due()
    other = await Shop.open(database, gate, admin, hold_s=600)
    await other.lane.admit(other.lane.attempt())
    await other.drain()
    await other.make_due()
    async with database.transaction() as session:
        await session.execute(
            repository.text("SELECT 1 FROM reservations WHERE id = :r FOR UPDATE"), {"r": one.reservation_id}
        )
        async with asyncio.timeout(30):
            assert await expire_due(database) == 2
    assert await expire_due(database) == 1


async def test_expiry_cancellation_and_payment_race_and_one_wins(database: Database, gate: Gate, admin: Redis) -> None:
    shop, attempts = await _held(database, gate, admin, 10)
    orders = [await _order_of(shop, attempt) for attempt in attempts]
    await shop.make_due()
    calls = [expire_due(database), expire_due(database)]
    for attempt, order_id in zip(attempts, orders, strict=True):
        calls += [_pay(shop, order_id), _cancel(shop, order_id, attempt.shopper_id)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [one for one in answers if isinstance(one, Exception) and not isinstance(one, Refused)] == []
    ended = await shop.reservations()
    assert sum(ended.values()) == 10
    assert "reserved" not in ended
    paid = [one for one in answers if isinstance(one, Settlement)]
    assert len(paid) == 10
    assert paid.count(Settlement.CONFIRMED) == ended.get("confirmed", 0)
    assert paid.count(Settlement.REFUND_DUE) == ended.get("cancelled", 0)
    assert paid.count(Settlement.LATE) == ended.get("expired", 0)  # the gate will be asked
    # I12: a captured payment is one paid order or one refund due.
    assert await shop.rows("SELECT status, count(*) FROM orders WHERE paid_at IS NOT NULL GROUP BY 1 ORDER BY 1") == [
        (status, count)
        for status, count in (("confirmed", ended.get("confirmed", 0)), ("refund_due", paid.count("refund_due")))
        if count
    ]
    await shop.settle()
    assert await findings(shop, at_rest=True) == []
    assert (await shop.counters()).available == 10 - ended.get("confirmed", 0)


async def test_only_ones_own_unended_order_can_be_cancelled(database: Database, gate: Gate, admin: Redis) -> None:
    shop, (attempt, paid) = await _held(database, gate, admin, 2)
    order_id = await _order_of(shop, attempt)
    with pytest.raises(Refused) as refused:
        await _cancel(shop, order_id, uuid4())
    assert refused.value.code is Code.NOT_FOUND
    await _cancel(shop, order_id, attempt.shopper_id)
    with pytest.raises(Refused) as refused:
        await _cancel(shop, order_id, attempt.shopper_id)
    assert refused.value.code is Code.WRONG_STATE
    paid_order = await _order_of(shop, paid)
    assert await _pay(shop, paid_order) is Settlement.CONFIRMED
    assert await _pay(shop, paid_order) is Settlement.ALREADY
    with pytest.raises(Refused):
        await _cancel(shop, paid_order, paid.shopper_id)
    await shop.settle()
    assert await shop.reservations() == {"cancelled": 1, "confirmed": 1}
    assert await findings(shop, at_rest=True) == []


async def test_a_cancelled_sale_takes_back_all_that_is_not_paid(database: Database, gate: Gate, admin: Redis) -> None:
    shop, (paid, held) = await _held(database, gate, admin, 2)
    paid_order = await _order_of(shop, paid)
    await _pay(shop, paid_order)
    queued = [shop.lane.attempt() for _ in range(3)]
    won = await shop.lane.admit(*queued)
    assert await shop.cancel() == 1
    assert await findings(shop) == []
    await shop.settle()
    assert await shop.reservations() == {"confirmed": 1, "cancelled": 1, "rejected": 3}
    assert await shop.rows("SELECT DISTINCT reason FROM reservations WHERE status = 'rejected'") == [
        ("sale_cancelled",)
    ]
    assert await shop.one("SELECT status FROM orders WHERE id = :o", o=paid_order) == "refund_due"
    assert await shop.counters() == Counters(allotment=10, available=9, reserved=0, sold=1)
    assert await shop.lane.lane_field("available") == "9"
    assert await shop.fault() is None
    assert await findings(shop, at_rest=True) == []
    ticket = Ticket(shop.lane.lane_id, queued[0].reservation_id, won[0].entry_id, won[0].at_ms)
    row = (await ticket_rows(database, [ticket]))[ticket.reservation_id]
    assert (row.status, row.reason) == ("rejected", "sale_cancelled")
    assert held.reservation_id


async def test_a_cancelled_sale_without_payment_sells_nothing(shop: Shop) -> None:
    await shop.lane.admit(*(shop.lane.attempt() for _ in range(4)))
    await shop.drain()
    assert await shop.cancel() == 4
    assert await shop.cancel() == 0
    await shop.settle()
    assert await shop.reservations() == {"cancelled": 4}
    assert await shop.counters() == Counters(allotment=10, available=10, reserved=0, sold=0)
    assert await findings(shop, at_rest=True) == []


async def test_a_cancellation_waits_for_the_drain_and_both_agree(shop: Shop) -> None:
    for _ in range(5):
        await shop.lane.admit(shop.lane.attempt())
        await asyncio.gather(shop.drain(), shop.cancel(), shop.drain())
    await shop.settle()
    assert set(await shop.reservations()) <= {"cancelled", "rejected"}
    assert (await shop.counters()).available == 10
    assert await findings(shop, at_rest=True) == []


async def test_a_top_up_can_be_bought_only_after_the_gate_was_told(shop: Shop) -> None:
    await shop.lane.admit(*(shop.lane.attempt() for _ in range(10)))
    await shop.drain()
    await shop.top_up(3)
    assert await findings(shop) == []
    assert (await shop.lane.buy()).outcome is Outcome.SOLD_OUT
    await asyncio.gather(*(shop.relay() for _ in range(5)))
    assert await findings(shop) == []
    outcomes = [one.outcome for one in await shop.lane.admit(*(shop.lane.attempt() for _ in range(4)))]
    assert outcomes == ["RESERVED"] * 3 + ["SOLD_OUT"]
    await shop.settle()
    assert await shop.counters() == Counters(allotment=13, available=0, reserved=0, sold=13)
    assert await findings(shop, at_rest=True) == []


class DyingGate(Gate):
    """Carries the call out, and the answer is lost: the relay dies, or the line is cut."""

    async def release(self, *args: Any, **more: Any) -> list[Applied]:
        await super().release(*args, **more)
        raise GateUnavailable("the answer was lost")

    async def adjust(self, *args: Any, **more: Any) -> Applied:
        await super().adjust(*args, **more)
        raise GateUnavailable("the answer was lost")


async def test_a_relay_that_dies_after_telling_is_repeated_without_effect(
    database: Database, gate: Gate, admin: Redis
) -> None:
    shop, _ = await _held(database, gate, admin, 4)
    await shop.make_due()
    await expire_due(database)
    await shop.top_up(2)
    for _ in range(3):
        with pytest.raises(GateUnavailable):
            await relay_lane(database, DyingGate(gate.store), shop.lane.lane_id)
    assert await shop.lane.lane_field("available") == "10"  # the releases; the adjustment comes behind them
    assert await findings(shop) == []
    assert await shop.relay() == 5
    assert await shop.lane.lane_field("available") == "12"
    assert await shop.relay() == 0
    assert await shop.outbox() == {"pending": 5}  # until the drain has read them
    assert await findings(shop) == []
    await shop.settle()
    assert await shop.outbox() == {"done": 5}
    assert await findings(shop, at_rest=True) == []


async def test_the_drain_may_read_a_release_before_its_relay_has_said_so(
    database: Database, gate: Gate, admin: Redis
) -> None:
    shop, _ = await _held(database, gate, admin, 1)
    await shop.make_due()
    await expire_due(database)
    with pytest.raises(GateUnavailable):
        await relay_lane(database, DyingGate(gate.store), shop.lane.lane_id)
    await shop.drain()
    assert await shop.outbox() == {"done": 1}
    assert await shop.relay() == 0
    assert await findings(shop, at_rest=True) == []


async def test_what_the_gate_refuses_stays_counted_and_alarms(database: Database, gate: Gate, admin: Redis) -> None:
    shop, (attempt, _) = await _held(database, gate, admin, 2)
    await admin.hdel(shop.lane.keys.claims, attempt.reservation_id.hex)
    await shop.make_due()
    await expire_due(database)
    assert await shop.relay() == 1
    assert await shop.outbox() == {"pending": 1, "refused": 1}
    assert await shop.alarms() == ["release.refused"]
    assert await shop.relay() == 0
    await shop.forget_telling()
    assert await shop.relay() == 1  # the pending one alone is told again
    drained = await shop.drain()
    assert drained.fault is None
    assert await shop.outbox() == {"done": 1, "refused": 1}
    assert await shop.alarms() == ["release.refused"]
    assert await shop.counters() == Counters(allotment=10, available=10, reserved=0, sold=0)
    assert await shop.cursor() == (3, 9)


async def test_a_lane_that_is_not_there_is_told_later(database: Database, gate: Gate, admin: Redis) -> None:
    shop, _ = await _held(database, gate, admin, 1)
    await shop.make_due()
    await expire_due(database)
    snapshot = await shop.lane.snapshot()
    await admin.delete(*shop.lane.keys.all())
    assert await shop.relay() == 0
    assert await shop.rows("SELECT status, applied_at FROM gate_outbox") == [("pending", None)]
    await shop.lane.fail_over_to(snapshot)
    await shop.settle()
    assert await findings(shop, at_rest=True) == []


async def test_relay_all_tells_every_lane_and_clears_the_marker_first(
    database: Database, gate: Gate, admin: Redis
) -> None:
    one, _ = await _held(database, gate, admin, 2)
    other, _ = await _held(database, gate, admin, 1)
    idle = await Shop.open(database, gate, admin)
    for shop in (one, other):
        await shop.make_due()
    await expire_due(database)
    seen: list[tuple[str, str, str]] = []

    async def before_giving(slug: str, sku: str) -> None:
        shop = {one.slug: one, other.slug: other}[slug]
        seen.append((slug, sku, await shop.lane.lane_field("available")))

    assert await relay_all(database, gate, before_giving) == 3
    assert sorted(seen) == sorted([(one.slug, "TEE-M", "8"), (other.slug, "TEE-M", "9")])
    assert idle.slug not in {slug for slug, _, _ in seen}
    assert await relay_all(database, gate, before_giving) == 0


async def test_a_lost_reservation_has_an_honest_end(shop: Shop, settings: Settings) -> None:
    attempt = shop.lane.attempt()
    old = await shop.lane.snapshot()
    (won,) = await shop.lane.admit(attempt)
    ticket = Ticket(shop.lane.lane_id, attempt.reservation_id, won.entry_id, won.at_ms)
    assert await ticket_rows(shop.database, [ticket]) == {}  # queued
    await shop.lane.fail_over_to(old)
    await shop.lane.admit(shop.lane.attempt())
    await shop.drain()
    # The ledger has applied that entry with somebody else in it: the gate has two histories, and may have kept hers.
    assert await ticket_rows(shop.database, [ticket]) == {}
    assert await shop.fault() == "forked"
    await recover(shop, settings)
    row = (await ticket_rows(shop.database, [ticket]))[ticket.reservation_id]
    assert (row.status, row.reason) == ("rejected", "lost_in_failover")
    assert await shop.fault() is None
    await shop.settle()
    assert await findings(shop, at_rest=True) == []
