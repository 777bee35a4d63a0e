"""Money against time: every captured payment ends as exactly one paid order or one refund due (I12), whoever is first.

The payments come in by the product's own door (``receive``, then ``Settlements``), against sweeps, relays, drains and
other shoppers who want the same units.
"""

import asyncio
import random
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from backend.core.errors import Refused
from backend.gate import Attempt, Gate, Outcome
from backend.models import Database
from backend.orders import Settlements, cancel_order, expire_due, settle_captured
from backend.payments import CAPTURED, Callback, Receipt, Sandbox, receive
from backend.settings import Settings
from tests.support.checker import findings
from tests.support.lane import now_ms
from tests.support.money import come_to_rest, money_findings, open_payments
from tests.support.shop import PRICE_MINOR, Shop

ORDERS = 2_000
ROUND = 40
AT_ONCE = 16
"""Callbacks under way: fewer than the pool has connections, so that sweeps and drains find theirs."""


def _callback(payment: UUID, **changes: Any) -> Callback:
    fields = {
        "event_id": f"event-{uuid4().hex}",
        "type": CAPTURED,
        "payment_id": payment,
        "amount_minor": PRICE_MINOR,
        "currency": "EUR",
    }
    return Callback(**(fields | changes))


class Till:
    """Takes callbacks as the route does, without HTTP."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._provider = Sandbox(settings)
        self._settlements = Settlements(database)
        self._limit = asyncio.Semaphore(AT_ONCE)

    async def take(self, callback: Callback) -> Receipt:
        async with self._limit:
            async with self._database.transaction() as session:
                receipt, order_id = await receive(session, self._provider, callback)
            if order_id is not None:
                await self._settlements.settle(order_id)
        return receipt

    async def captured(self, shop: Shop, payment: UUID) -> None:
        """The commit that races, without the notes around it: a third of the statements."""
        async with self._limit:
            (row,) = await shop.rows(
                "UPDATE payments SET status = 'captured', captured_at = clock_timestamp() WHERE id = :p "
                "RETURNING order_id",
                p=payment,
            )
            await self._settlements.settle(row[0])


async def _held(shop: Shop, count: int) -> tuple[list[Attempt], list[UUID]]:
    """Held orders and their open payments, in one order."""
    attempts = [shop.lane.attempt() for _ in range(count)]
    for start in range(0, count, 200):
        decided = await shop.lane.admit(*attempts[start : start + 200])
        assert {one.outcome for one in decided} == {Outcome.RESERVED}
    while (await shop.drain()).more:
        pass
    rows = dict(await shop.rows("SELECT reservation_id, id FROM orders WHERE item_id = :item"))
    return attempts, await open_payments(shop, [rows[one.reservation_id] for one in attempts])


async def _make_due(shop: Shop, attempts: list[Attempt]) -> None:
    await shop.rows(
        "UPDATE reservations SET expires_at = now() WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'reserved'",
        ids=[one.reservation_id for one in attempts],
    )


async def _ends(shop: Shop) -> Counter[str]:
    """What became of the payments: by the first order, by a second one, or back."""
    rows = await shop.rows("""
        SELECT CASE WHEN o.status = 'confirmed' THEN 'in time' WHEN again.status = 'confirmed' THEN 'bought again'
                    ELSE o.status END
        FROM payments p JOIN orders o ON o.id = p.order_id LEFT JOIN orders again ON again.reservation_id = p.id
        WHERE o.item_id = :item AND p.status = 'captured'
    """)
    return Counter(row[0] for row in rows)


async def _pay(shop: Shop, till: Till, payment: UUID, *, whole: bool) -> None:
    """By a callback that is delivered twice at once, or by what its transaction does to the payment."""
    if whole:
        callback = _callback(payment)
        await asyncio.gather(till.take(callback), till.take(callback))
    else:
        await till.captured(shop, payment)


async def test_two_thousand_payments_at_the_instant_of_their_expiry(
    database: Database, settings: Settings, gate: Gate, admin: Redis
) -> None:
    """Rounds of forty: each pays, and its time is up, at once; sweeps, relay and drain run beside it, and others buy
    what comes free. Every fourth comes by a whole callback, delivered twice."""
    chance = random.Random(20_261)
    shop = await Shop.open(database, gate, admin, units=ORDERS, hold_s=600)
    attempts, payments = await _held(shop, ORDERS)
    till = Till(database, settings)
    stopping = asyncio.Event()

    async def work() -> None:
        while not stopping.is_set():
            await settle_captured(database, gate)
            await shop.relay()
            if chance.random() < 0.5:
                await shop.lane.admit(*(shop.lane.attempt() for _ in range(5)))
            await shop.drain()
            await asyncio.sleep(0.05)

    async def expire_soon() -> None:
        await asyncio.sleep(chance.random() * 0.02)
        await expire_due(database)

    working = [asyncio.create_task(work()) for _ in range(2)]
    try:
        for start in range(0, ORDERS, ROUND):
            mine = attempts[start : start + ROUND]
            calls = [_pay(shop, till, one, whole=n % 4 == 0) for n, one in enumerate(payments[start : start + ROUND])]
            chance.shuffle(calls)
            await _make_due(shop, mine)
            if start % (5 * ROUND) == 0:  # some rounds are no race, so that each side is known to win
                await (expire_due(database) if start % (10 * ROUND) else calls.pop())
            await asyncio.gather(expire_soon(), *calls, expire_soon())
    finally:
        stopping.set()
        await asyncio.gather(*working)
    await come_to_rest(shop)

    assert await money_findings(shop) == []
    assert await findings(shop, at_rest=True) == []
    assert await shop.fault() is None
    ends = await _ends(shop)
    assert sum(ends.values()) == ORDERS
    assert {"in time", "bought again"} <= set(ends) <= {"in time", "bought again", "refund_due"}, ends
    assert await shop.rows("SELECT result FROM payment_events WHERE result = 'captured'") == []
    counters = await shop.counters()
    assert counters.allotment == ORDERS
    assert counters.sold == ends["in time"] + ends["bought again"]


AFTER = {
    "in time": "confirmed",
    "expired, units left": "bought again",
    "expired, none left": "refund_due",
    "expired, over": "refund_due",
    "cancelled": "refund_due",
    "sale cancelled": "refund_due",
}


async def _bring_to(shop: Shop, state: str, attempt: Attempt) -> None:
    """The order has come to this before the money does."""
    if state == "cancelled":
        order = await shop.one("SELECT id FROM orders WHERE reservation_id = :r", r=attempt.reservation_id)
        async with shop.database.transaction() as session:
            await cancel_order(session, order, attempt.shopper_id)
    elif state == "sale cancelled":
        await shop.cancel()
    elif state != "in time":
        await _make_due(shop, [attempt])
        await expire_due(shop.database)
    if state == "expired, none left":
        await shop.settle()
        assert (await shop.lane.buy()).outcome is Outcome.RESERVED
    elif state == "expired, over":
        await shop.lane.reconfigure(closes_at_ms=now_ms() - 1)


@pytest.mark.parametrize("state", AFTER)
@pytest.mark.parametrize("together", [False, True])
async def test_callbacks_wrong_twice_and_out_of_order_end_once(
    database: Database, settings: Settings, gate: Gate, admin: Redis, state: str, together: bool
) -> None:
    """Of one payment: a decline, wrong amounts, a wrong currency, the capture three times under two ids; in eight
    orders one after the other, or all at once."""
    chance = random.Random(f"{state} {together}")
    till = Till(database, settings)
    for _ in range(8):
        shop = await Shop.open(database, gate, admin, units=1, hold_s=600)
        (attempt,), (payment,) = await _held(shop, 1)
        await _bring_to(shop, state, attempt)
        right = _callback(payment)
        callbacks = [
            right,
            right,
            _callback(payment),
            _callback(payment, type="payment.declined"),
            _callback(payment, amount_minor=PRICE_MINOR - 1),
            _callback(payment, amount_minor=PRICE_MINOR * 2),
            _callback(payment, currency="USD"),
        ]
        chance.shuffle(callbacks)
        if together:
            receipts = await asyncio.gather(*map(till.take, callbacks), settle_captured(database, gate))
        else:
            receipts = [await till.take(one) for one in callbacks]
            # One transaction of the seven captured it; what has ended before it is settled at once.
        told = Counter(str(one) for one in receipts[: len(callbacks)])
        assert told == {"captured": 1, "already": 1, "duplicate": 1, "ignored": 1, "mismatch": 3}
        await come_to_rest(shop)

        assert await money_findings(shop) == []
        assert await findings(shop, at_rest=True) == []
        (end,) = (await _ends(shop)).elements()
        assert {"in time": "confirmed"}.get(end, end) == AFTER[state]
        assert (await shop.alarms()).count("payment_mismatch") == 3


@pytest.mark.parametrize("state", AFTER)
async def test_wrong_callbacks_alone_move_nothing(
    database: Database, settings: Settings, gate: Gate, admin: Redis, state: str
) -> None:
    shop = await Shop.open(database, gate, admin, units=1, hold_s=600)
    (attempt,), (payment,) = await _held(shop, 1)
    await _bring_to(shop, state, attempt)
    before = await shop.rows("SELECT id, status, paid_at FROM orders ORDER BY id")
    till = Till(database, settings)
    for wrong in ({"amount_minor": 0}, {"currency": "USD"}, {"type": "payment.declined"}):
        await till.take(_callback(payment, **wrong))
    await settle_captured(database, gate)
    assert await shop.rows("SELECT id, status, paid_at FROM orders ORDER BY id") == before
    assert await shop.rows("SELECT status, settled_at FROM payments") == [("open", None)]
    assert await money_findings(shop) == []


async def test_pay_expire_and_cancel_at_once(database: Database, settings: Settings, gate: Gate, admin: Redis) -> None:
    """Three hundred orders, three parties each."""
    chance = random.Random(5)
    shop = await Shop.open(database, gate, admin, units=300, hold_s=600)
    attempts, payments = await _held(shop, 300)
    orders = dict(await shop.rows("SELECT reservation_id, id FROM orders WHERE item_id = :item"))
    till = Till(database, settings)
    limit = asyncio.Semaphore(AT_ONCE)

    async def cancel(one: Attempt) -> None:
        async with limit:
            try:
                async with database.transaction() as session:
                    await cancel_order(session, orders[one.reservation_id], one.shopper_id)
            except Refused:
                pass

    for start in range(0, 300, 30):
        mine = range(start, start + 30)
        await _make_due(shop, [attempts[n] for n in mine])
        calls = [till.take(_callback(payments[n])) for n in mine] + [cancel(attempts[n]) for n in mine]
        chance.shuffle(calls)
        await asyncio.gather(*calls[:40], expire_due(database), *calls[40:])
        await settle_captured(database, gate)
    await come_to_rest(shop)
    assert await money_findings(shop) == []
    assert await findings(shop, at_rest=True) == []
    assert sum((await _ends(shop)).values()) == 300


# -- negative controls ------------------------------------------------------------------------------


class CarelessSettlement:
    """Reads the order, thinks, then sells: no condition on the state that it read."""

    def __init__(self, shop: Shop, meet: asyncio.Barrier) -> None:
        self._shop = shop
        self._meet = meet

    async def settle(self, order_id: UUID, payment: UUID) -> None:
        shop = self._shop
        ((status, reservation),) = await shop.rows(
            "SELECT status, reservation_id FROM orders WHERE id = :o", o=order_id
        )
        await self._meet.wait()  # the sweep has its turn between reading and writing: what chance does, every time
        await self._meet.wait()
        assert status == "reserved"
        await shop.rows("UPDATE orders SET status = 'confirmed', paid_at = now() WHERE id = :o", o=order_id)
        await shop.rows(
            "UPDATE reservations SET status = 'confirmed', ended_at = now() WHERE id = :r AND status <> 'confirmed'",
            r=reservation,
        )
        await shop.rows("UPDATE sale_items SET available = available - 1, sold = sold + 1 WHERE id = :item")
        await shop.rows("UPDATE payments SET status = 'captured', captured_at = now(), settled_at = now() "
                        "WHERE id = :p", p=payment)  # fmt: skip


async def test_control_a_settlement_that_ignores_the_state_is_seen(
    database: Database, gate: Gate, admin: Redis
) -> None:
    shop = await Shop.open(database, gate, admin, units=3, hold_s=600)
    (attempt, *_), (payment, *_) = await _held(shop, 3)
    order = await shop.one("SELECT id FROM orders WHERE reservation_id = :r", r=attempt.reservation_id)
    await _make_due(shop, [attempt])
    meet = asyncio.Barrier(2)

    async def sweep() -> None:
        await meet.wait()
        assert await expire_due(database) == 1
        await meet.wait()

    await asyncio.gather(CarelessSettlement(shop, meet).settle(order, payment), sweep())
    await shop.settle()
    found = await findings(shop, at_rest=True)
    # The shopper has her unit, and the gate offers it to somebody else.
    assert [one for one in found if one.startswith("I3")], found
    assert [one for one in found if one.startswith("I17")], found


async def test_control_money_that_is_forgotten_is_seen(
    database: Database, settings: Settings, gate: Gate, admin: Redis
) -> None:
    """Marked as settled before anything was done for it."""
    shop = await Shop.open(database, gate, admin, units=2, hold_s=600)
    attempts, payments = await _held(shop, 2)
    await _make_due(shop, attempts)
    await expire_due(database)
    await Till(database, settings).take(_callback(payments[0]))
    await shop.rows("UPDATE payments SET settled_at = now() WHERE status = 'captured'")
    await come_to_rest(shop)
    assert [one for one in await money_findings(shop) if f"{payments[0]} ends as nothing" in one]


async def test_control_a_payment_that_counts_twice_is_seen(
    database: Database, settings: Settings, gate: Gate, admin: Redis
) -> None:
    """Refunded by one process, sold by another: neither looked at the other's mark."""
    shop = await Shop.open(database, gate, admin, units=2, hold_s=600)
    attempts, payments = await _held(shop, 1)
    await _make_due(shop, attempts)
    await expire_due(database)
    await Till(database, settings).take(_callback(payments[0]))
    await settle_captured(database, gate)
    await shop.rows("UPDATE orders SET status = 'refund_due', paid_at = now() WHERE status = 'expired'")
    await shop.settle()
    assert [one for one in await money_findings(shop) if str(payments[0]) in one]
