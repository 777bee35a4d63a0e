"""Money that comes after its hold has expired: units through the gate if there are any, else a refund, and never both
or neither, whatever is lost, late or repeated."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from backend.gate import Applied, Attempt, Gate, GateAnswer, GateUnavailable, LaneId, Outcome, Retake, Ticket
from backend.models import Database
from backend.orders import Drain, cancel_order, expire_due, settle_captured, ticket_rows
from backend.orders.settlement import settle_late, settle_late_payment
from tests.support.checker import findings
from tests.support.lane import now_ms
from tests.support.money import capture as capture_payments
from tests.support.money import come_to_rest, money_findings, open_payments, order_of, pay
from tests.support.shop import Counters, Shop


async def _expired(
    database: Database, gate: Gate, admin: Redis, *, units: int = 1, **how: Any
) -> tuple[Shop, Attempt, UUID]:
    """A shop whose units one shopper held and did not pay in time; her order."""
    shop = await Shop.open(database, gate, admin, units=units, hold_s=600, **how)
    attempt = shop.lane.attempt()
    await shop.lane.admit(attempt)
    await shop.drain()
    await shop.make_due()
    assert await expire_due(database) == 1
    return shop, attempt, await order_of(shop, attempt)


async def _sound(shop: Shop, *, limit: int = 1) -> None:
    assert await money_findings(shop) == []
    assert await findings(shop, limit=limit, at_rest=True) == []
    assert await shop.fault() is None


STAGES = ("pending", "told", "drained")


async def _bring_release_to(shop: Shop, stage: str) -> None:
    if stage != "pending":
        await shop.relay()
    if stage == "drained":
        await shop.drain()


@pytest.mark.parametrize("stage", STAGES)
async def test_a_late_payment_buys_again_at_every_stage_of_the_release(
    database: Database, gate: Gate, admin: Redis, stage: str
) -> None:
    """The last unit of all: it is neither sold twice nor missing because a relay is late."""
    shop, attempt, order_id = await _expired(database, gate, admin)
    await _bring_release_to(shop, stage)
    (payment,) = await pay(shop, order_id)
    await shop.rows(
        "INSERT INTO payment_events (provider, event_id, payment_id, kind, result) "
        "VALUES ('sandbox', 'e', :p, 'payment.captured', 'captured')",
        p=payment,
    )

    assert await settle_captured(database, gate) == 1
    assert await findings(shop) == []
    assert (await shop.lane.buy()).outcome is Outcome.SOLD_OUT
    await shop.drain()

    assert await findings(shop) == []
    rows = await shop.rows("""
        SELECT o.id = :order, o.status, o.paid_at IS NOT NULL, o.price_minor, o.quantity, o.shopper_id, r.status,
               r.id = :payment
        FROM orders o JOIN reservations r ON r.id = o.reservation_id ORDER BY o.created_at, o.id
    """, order=order_id, payment=payment)  # fmt: skip
    assert rows == [
        (True, "expired", False, 1_900, 1, attempt.shopper_id, "expired", False),
        (False, "confirmed", True, 1_900, 1, attempt.shopper_id, "confirmed", True),
    ]
    entries = await shop.rows(
        "SELECT kind, quantity, generation IS NOT NULL AND seq IS NOT NULL FROM ledger_entries "
        "WHERE reservation_id = :p ORDER BY id",
        p=payment,
    )
    assert entries == [("reserve", 1, True), ("sell", 1, True)]
    told = await shop.rows(
        "SELECT n.kind FROM notifications n JOIN orders o ON o.id = n.order_id WHERE o.reservation_id = :p", p=payment
    )
    assert told == [("order_confirmed",)]
    assert await shop.one("SELECT settled_at IS NOT NULL FROM payments") is True
    assert await shop.one("SELECT result FROM payment_events") == "confirmed"
    assert await shop.counters() == Counters(allotment=1, available=0, reserved=0, sold=1)

    await shop.forget_telling()
    await shop.settle()
    assert await shop.outbox() == {"done": 1}
    assert await settle_captured(database, gate) == 0
    await _sound(shop)


@pytest.mark.parametrize("stage", STAGES)
async def test_without_units_the_money_goes_back(database: Database, gate: Gate, admin: Redis, stage: str) -> None:
    """Somebody has bought the unit since; on its way back it is hers again."""
    shop, _, order_id = await _expired(database, gate, admin)
    await _bring_release_to(shop, stage)
    other = (await shop.lane.buy()).outcome
    await pay(shop, order_id)

    assert await settle_captured(database, gate) == 1

    if stage == "pending":
        assert other is Outcome.SOLD_OUT
        await come_to_rest(shop)
        assert await shop.reservations() == {"expired": 1, "confirmed": 1}
        return
    assert other is Outcome.RESERVED
    assert await shop.one("SELECT status FROM orders WHERE id = :o", o=order_id) == "refund_due"
    kinds = await shop.rows("SELECT kind FROM notifications WHERE order_id = :o ORDER BY kind", o=order_id)
    assert kinds == [("order_expired",), ("order_reserved",), ("refund_due",)]
    await come_to_rest(shop)
    assert await shop.reservations() == {"expired": 1, "reserved": 1}
    await _sound(shop)


async def test_with_plenty_left_everybody_who_pays_late_is_served(database: Database, gate: Gate, admin: Redis) -> None:
    shop = await Shop.open(database, gate, admin, units=30, hold_s=600)
    attempts = [shop.lane.attempt() for _ in range(20)]
    await shop.lane.admit(*attempts)
    await shop.drain()
    await shop.make_due()
    await expire_due(database)
    await pay(shop, *[await order_of(shop, one) for one in attempts])
    swept = await asyncio.gather(*(settle_captured(database, gate) for _ in range(4)), shop.relay(), shop.drain())
    assert sum(swept[:4]) == 20, "each was decided by one of the four"
    await come_to_rest(shop)
    assert await shop.counters() == Counters(allotment=30, available=10, reserved=0, sold=20)
    assert await shop.reservations() == {"expired": 20, "confirmed": 20}
    await _sound(shop)


async def test_the_end_of_the_sale_is_by_the_gates_clock(database: Database, gate: Gate, admin: Redis) -> None:
    shop, _, order_id = await _expired(database, gate, admin)
    await shop.lane.reconfigure(closes_at_ms=now_ms() - 1)
    await pay(shop, order_id)
    assert await settle_captured(database, gate) == 1
    assert await shop.one("SELECT status FROM orders") == "refund_due"
    await come_to_rest(shop)
    assert await shop.counters() == Counters(allotment=1, available=1, reserved=0, sold=0)
    await _sound(shop)


async def test_the_limit_counts_what_she_bought_since(database: Database, gate: Gate, admin: Redis) -> None:
    shop, attempt, order_id = await _expired(database, gate, admin, units=5)
    await shop.settle()
    assert (await shop.lane.buy(attempt.shopper_id, "again")).outcome is Outcome.RESERVED
    await pay(shop, order_id)
    assert await settle_captured(database, gate) == 1
    assert await shop.one("SELECT status FROM orders WHERE id = :o", o=order_id) == "refund_due"
    await come_to_rest(shop)
    await _sound(shop)


@pytest.mark.parametrize("when", ["before the sweep", "before the drain", "and the drain is first"])
async def test_a_sale_cancelled_meanwhile_refunds(database: Database, gate: Gate, admin: Redis, when: str) -> None:
    shop, _, order_id = await _expired(database, gate, admin)
    await pay(shop, order_id)
    if when != "before the sweep":
        assert await settle_captured(database, gate) == 1
    await shop.cancel()
    if when == "and the drain is first":
        await shop.drain()
    elif when == "before the sweep":
        assert await settle_captured(database, gate) == 1
    await come_to_rest(shop)
    statuses = [status for (status,) in await shop.rows("SELECT status FROM orders ORDER BY created_at")]
    assert statuses == ["refund_due"] + ["rejected"] * (when != "before the sweep")
    assert await shop.counters() == Counters(allotment=1, available=1, reserved=0, sold=0)
    await _sound(shop)


async def test_what_she_cancelled_herself_is_refunded_and_not_bought_again(
    database: Database, gate: Gate, admin: Redis
) -> None:
    shop = await Shop.open(database, gate, admin, hold_s=600)
    attempt = shop.lane.attempt()
    await shop.lane.admit(attempt)
    await shop.drain()
    order_id = await order_of(shop, attempt)
    payments = await open_payments(shop, [order_id])
    async with database.transaction() as session:
        await cancel_order(session, order_id, attempt.shopper_id)
    await capture_payments(shop, payments)
    await come_to_rest(shop)
    assert await shop.rows("SELECT status FROM orders") == [("refund_due",)]
    await _sound(shop)


@pytest.mark.parametrize("over", [True, False])
async def test_a_stopped_sale_leaves_it_open_until_it_goes_on_or_is_over(
    database: Database, gate: Gate, admin: Redis, over: bool
) -> None:
    shop, _, order_id = await _expired(database, gate, admin)
    await shop.rows("UPDATE sales SET fault = 'drift' WHERE id = :sale")
    await shop.gate.latch(shop.lane.lane_id, "drift", generation=1)
    (payment,) = await pay(shop, order_id)
    assert await settle_captured(database, gate) == 0
    assert await settle_late_payment(database, gate, payment) is None, "stopped between the page and the question"
    assert await shop.one("SELECT settled_at FROM payments") is None
    if over:
        await shop.rows("UPDATE sales SET ended_at = now() WHERE id = :sale")
        assert await settle_captured(database, gate) == 1
        assert await shop.one("SELECT status FROM orders") == "refund_due"
        assert await money_findings(shop) == []
        return
    await shop.rows("UPDATE sales SET fault = NULL WHERE id = :sale")
    assert await settle_captured(database, gate) == 0  # the ledger goes on before the latch is cleared
    await shop.lane.reconfigure(clear_fault=True)
    await come_to_rest(shop)
    assert await shop.counters() == Counters(allotment=1, available=0, reserved=0, sold=1)
    await _sound(shop)


class LostAnswer(Gate):
    """Carries it out; the answer never arrives."""

    async def retake(self, *args: Any, **more: Any) -> Applied:
        await super().retake(*args, **more)
        raise GateUnavailable("the answer was lost")


class LostQuestion(Gate):
    """The question never arrives."""

    async def retake(self, *args: Any, **more: Any) -> Applied:
        raise GateUnavailable("cut")


@pytest.mark.parametrize("broken", [LostAnswer, LostQuestion])
@pytest.mark.parametrize("drained", [True, False])
async def test_nobody_knows_what_a_silent_gate_did_so_the_sweep_repeats(
    database: Database, gate: Gate, admin: Redis, broken: type[Gate], drained: bool
) -> None:
    shop, _, order_id = await _expired(database, gate, admin)
    await pay(shop, order_id)
    for _ in range(3):
        assert await settle_captured(database, broken(gate.store)) == 0
    assert await shop.rows("SELECT status, paid_at FROM orders") == [("expired", None)]
    if drained:
        await shop.drain()
    await come_to_rest(shop)
    assert await shop.counters() == Counters(allotment=1, available=0, reserved=0, sold=1)
    assert len([one for one in await shop.lane.journal() if one.kind == "retake"]) == 1
    await _sound(shop)


class Delayed(Gate):
    """The command is held up on its way; whoever sent it has given up."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate.store)
        self.held: list[tuple[LaneId, Retake, int]] = []

    async def retake(self, lane_id: LaneId, retake: Retake, *, generation: int) -> Applied:
        self.held.append((lane_id, retake, generation))
        raise GateUnavailable("timed out")


async def test_a_command_that_arrives_after_another_process_was_refused_is_undone(
    database: Database, gate: Gate, admin: Redis
) -> None:
    """The refund is due, then the unit comes back, then the first process's command lands: the unit is given back."""
    shop, _, order_id = await _expired(database, gate, admin, units=1)
    await shop.settle()
    other = shop.lane.attempt()
    assert (await shop.lane.admit(other))[0].outcome is Outcome.RESERVED
    await shop.drain()
    await pay(shop, order_id)
    delayed = Delayed(gate)
    assert await settle_captured(database, delayed) == 0
    assert await settle_captured(database, gate) == 1  # the second process: NOT_ENOUGH
    assert await shop.one("SELECT status FROM orders WHERE id = :o", o=order_id) == "refund_due"
    await shop.make_due()
    await expire_due(database)
    await shop.settle()
    (late,) = delayed.held
    assert (await gate.retake(late[0], late[1], generation=late[2])).answer is GateAnswer.DONE

    await shop.settle()

    assert await shop.counters() == Counters(allotment=1, available=1, reserved=0, sold=0)
    assert await shop.reservations() == {"expired": 2, "rejected": 1}
    (payment,) = [one for one in await shop.lane.journal() if one.kind == "retake"]
    ticket = Ticket(shop.lane.lane_id, UUID(payment.cause), payment.entry_id, payment.at_ms)
    row = (await ticket_rows(database, [ticket]))[ticket.reservation_id]
    assert (row.status, row.reason) == ("rejected", "payment_settled")
    assert await shop.rows("SELECT 1 FROM notifications WHERE kind = 'order_rejected'") == [], "she knows of the refund"
    await _sound(shop)
    assert (await shop.lane.buy()).outcome is Outcome.RESERVED, "and it can be bought"


async def test_units_for_no_payment_of_ours_are_given_back(database: Database, gate: Gate, admin: Redis) -> None:
    shop, attempt, _ = await _expired(database, gate, admin, units=3)
    await shop.settle()
    old_entry = (await shop.lane.journal())[1].entry_id
    for shopper, quantity in ((attempt.shopper_id, 1), (uuid4(), 1)):
        stray = Retake(uuid4(), shopper, quantity, attempt.reservation_id, old_entry, None)
        assert (await gate.retake(shop.lane.lane_id, stray, generation=1)).answer is GateAnswer.DONE
    await shop.settle()
    assert await shop.counters() == Counters(allotment=3, available=3, reserved=0, sold=0)
    assert await findings(shop, at_rest=True) == []


@pytest.mark.parametrize("wrong", ["shopper", "quantity"])
async def test_units_that_are_not_what_was_paid_for_are_given_back(
    database: Database, gate: Gate, admin: Redis, wrong: str
) -> None:
    shop, attempt, order_id = await _expired(database, gate, admin, units=3, limit=3)
    await shop.settle()
    (payment,) = await pay(shop, order_id)
    shopper = uuid4() if wrong == "shopper" else attempt.shopper_id
    stray = Retake(
        payment,
        shopper,
        2 if wrong == "quantity" else 1,
        attempt.reservation_id,
        (await shop.lane.journal())[1].entry_id,
        None,
    )
    await gate.retake(shop.lane.lane_id, stray, generation=1)
    await shop.settle()
    assert await shop.counters() == Counters(allotment=3, available=3, reserved=0, sold=0)
    assert await findings(shop, limit=3, at_rest=True) == []


async def test_a_retake_that_was_lost_with_its_gate_is_simply_asked_again(
    database: Database, gate: Gate, admin: Redis
) -> None:
    shop, _, order_id = await _expired(database, gate, admin)
    await shop.settle()
    before = await shop.lane.snapshot()
    await pay(shop, order_id)
    assert await settle_captured(database, gate) == 1
    await shop.lane.fail_over_to(before)  # nobody has read it: no fault
    assert (await shop.drain()).fault is None
    await come_to_rest(shop)
    assert await shop.counters() == Counters(allotment=1, available=0, reserved=0, sold=1)
    await _sound(shop)


async def test_a_phantom_unit_bought_by_a_late_payment_is_refunded(
    database: Database, gate: Gate, admin: Redis
) -> None:
    """The gate had a unit that the ledger never had: nothing is oversold, the money goes back, the sale stops."""
    shop, _, order_id = await _expired(database, gate, admin)
    await shop.settle()
    other = shop.lane.attempt()
    await shop.lane.admit(other)
    await shop.drain()
    await gate.adjust(shop.lane.lane_id, cause=uuid4(), units=1, generation=1)
    await pay(shop, order_id)
    assert await settle_captured(database, gate) == 1
    drained = await shop.drain()
    assert drained.fault == "no_stock"
    assert await shop.counters() == Counters(allotment=1, available=0, reserved=1, sold=0)
    assert await shop.one("SELECT status FROM orders WHERE id = :o", o=order_id) == "refund_due"
    assert await money_findings(shop) == []


async def test_while_one_process_asks_no_other_does(database: Database, gate: Gate, admin: Redis) -> None:
    shop, _, order_id = await _expired(database, gate, admin)
    (payment,) = await pay(shop, order_id)
    asked, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Gate):
        async def retake(self, *args: Any, **more: Any) -> Applied:
            asked.set()
            await go_on.wait()
            return await super().retake(*args, **more)

    asking = asyncio.create_task(settle_late_payment(database, Slow(gate.store), payment))
    async with asyncio.timeout(30):
        await asked.wait()
        assert await settle_late_payment(database, gate, payment) is None
        assert await settle_late(database, gate) == 0
        go_on.set()
        assert await asking is GateAnswer.DONE
    await come_to_rest(shop)
    await _sound(shop)


async def test_the_sweep_reaches_those_behind_a_page_that_nobody_can_decide(
    database: Database, gate: Gate, admin: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten of a stopped sale and ten that are taken and not drained stand before the one that can be settled."""
    monkeypatch.setattr("backend.orders.settlement.BATCH_MAX", 3)
    monkeypatch.setattr("backend.orders.settlement.LATE_PAGE", 3)
    shops = [await Shop.open(database, gate, admin, units=20, hold_s=600) for _ in range(3)]
    stopped, queued, last = shops
    for shop in shops:
        attempts = [shop.lane.attempt() for _ in range(10)]
        await shop.lane.admit(*attempts)
        await shop.drain()
        await shop.make_due()
        await expire_due(database)
        await pay(shop, *[await order_of(shop, one) for one in attempts])
        if shop is stopped:
            await shop.rows("UPDATE sales SET fault = 'drift' WHERE id = :sale")
        if shop is queued:
            assert await settle_captured(database, gate) == 10
    assert await settle_captured(database, gate) == 10
    await last.drain()
    assert await last.one("SELECT count(*) FROM orders WHERE item_id = :item AND status = 'confirmed'") == 10


# -- negative controls ------------------------------------------------------------------------------


class WaitsForTheRelay(Gate):
    """A retake that does not first apply the old entry's release."""

    async def retake(self, lane_id: LaneId, retake: Retake, *, generation: int) -> Applied:
        alone = Retake(
            retake.reservation_id,
            retake.shopper_id,
            retake.quantity,
            retake.old_reservation_id,
            retake.old_entry_id,
            None,
        )
        return await super().retake(lane_id, alone, generation=generation)


async def test_control_without_the_release_the_last_unit_is_missing(
    database: Database, gate: Gate, admin: Redis
) -> None:
    shop, _, order_id = await _expired(database, gate, admin)
    await pay(shop, order_id)
    await settle_captured(database, WaitsForTheRelay(gate.store))
    assert await shop.one("SELECT status FROM orders") == "refund_due", "a unit lay there, and the money went back"


async def test_control_units_taken_in_the_ledger_alone_are_seen(database: Database, gate: Gate, admin: Redis) -> None:
    """What many shops do: pay late, look at the database, sell. The gate still offers the unit."""
    shop, _, order_id = await _expired(database, gate, admin)
    await shop.settle()
    await pay(shop, order_id)
    await shop.rows("UPDATE sale_items SET available = available - 1, sold = sold + 1 WHERE id = :item")
    await shop.rows("UPDATE orders SET status = 'confirmed', paid_at = now() WHERE id = :o", o=order_id)
    found = await findings(shop, at_rest=True)
    assert [one for one in found if one.startswith("I3")], found
    assert [one for one in await money_findings(shop) if one.startswith("I11")]


class SellsWhatWasRefunded(Drain):
    """Does not look whether the payment is settled already."""

    async def drain_lane(self, lane_id: LaneId) -> Any:
        async with self._database.transaction() as session:
            await session.execute(text("UPDATE payments SET settled_at = NULL WHERE settled_at IS NOT NULL"))
        return await super().drain_lane(lane_id)


async def test_control_a_drain_that_ignores_a_settled_refund_is_seen(
    database: Database, gate: Gate, admin: Redis
) -> None:
    shop, _, order_id = await _expired(database, gate, admin)
    (payment,) = await pay(shop, order_id)
    delayed = Delayed(gate)
    await settle_captured(database, delayed)
    await shop.lane.reconfigure(closes_at_ms=now_ms() - 1)
    assert await settle_captured(database, gate) == 1  # ENDED
    await shop.lane.reconfigure(closes_at_ms=now_ms() + 60_000)
    (late,) = delayed.held
    await gate.retake(late[0], late[1], generation=late[2])
    await shop.drain(SellsWhatWasRefunded(database, gate))
    found = await money_findings(shop)
    assert [one for one in found if str(payment) in one], found
