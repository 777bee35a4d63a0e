"""Every rule holds over a sale with all kinds of orders, and every rule can fail: each has its negative control."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from backend.core.ids import new_id
from backend.gate import LaneKeys
from backend.models import Payment, PaymentStatus, ReconciliationRun, Verdict
from backend.orders import cancel_order, cancel_sale, settle_captured
from backend.orders.settlement import confirm_paid
from backend.reconciliation import BALANCE_RULES, FINDINGS_MAX, LEDGER_RULES, run
from tests.backend.shop import Bought, Shop, Stall


async def examine(shop: Shop, stall: Stall) -> ReconciliationRun:
    return await run(shop.database, shop.gate, stall.sale_id, trigger="operator")


def rules(found: ReconciliationRun) -> set[str]:
    return {finding["rule"] for finding in found.findings}


async def pay(shop: Shop, bought: Bought) -> None:
    """A captured payment, as the provider's callback leaves it."""
    order = await shop.order_of(bought)
    async with shop.database.transaction() as session:
        session.add(
            Payment(
                order_id=order.id, provider="sandbox", status=PaymentStatus.CAPTURED, amount_minor=1_900, currency="EUR"
            )
        )
        await confirm_paid(session, order.id)


async def busy(shop: Shop) -> tuple[Stall, dict[str, Bought]]:
    """One order in each state that this issue knows, everything arrived."""
    stall = await shop.sale(payment_required=True, limit=2)
    names = ("reserved", "paid", "expired", "cancelled", "cancelled and paid", "paid late")
    bought = {name: await shop.buy(stall) for name in names}
    await shop.drain(stall)
    await pay(shop, bought["paid"])
    for name in ("expired", "paid late"):
        await shop.sql(
            "UPDATE reservations SET expires_at = now() - interval '1 second' WHERE id = :id",
            id=bought[name].reservation_id,
        )
    await shop.expire()
    await pay(shop, bought["paid late"])
    assert await settle_captured(shop.database, shop.gate) == 1  # it has bought again, by the gate
    for name in ("cancelled", "cancelled and paid"):
        order = await shop.order_of(bought[name])
        async with shop.database.transaction() as session:
            await cancel_order(session, order.id, bought[name].shopper_id)
    await pay(shop, bought["cancelled and paid"])
    await shop.settle(stall)
    bought["queued"] = await shop.buy(stall)
    return stall, bought


async def test_a_sale_with_every_kind_of_order_is_clean(shop: Shop) -> None:
    stall, _ = await busy(shop)

    found = await examine(shop, stall)

    assert found.findings == []
    assert found.verdict is Verdict.CLEAN
    assert (found.oversold, found.stranded, found.drift, found.duplicates) == (0, 0, 0, 0)
    (item,) = found.balance["items"]
    assert (item["ledger"]["reserved"], item["ledger"]["sold"], item["in_flight"]) == (1, 2, 1)
    assert found.finished_at >= found.started_at
    (stored,) = await shop.sql("SELECT verdict, trigger FROM reconciliation_runs")
    assert (stored.verdict, stored.trigger) == ("clean", "operator")


async def test_a_cancelled_sale_is_clean_too(shop: Shop) -> None:
    """Unpaid orders cancelled, paid ones to be refunded, an entry drained afterwards rejected and given back."""
    stall = await shop.sale(payment_required=True, items={"TEE-M": 5})
    unpaid, paid = await shop.buy(stall), await shop.buy(stall)
    await shop.drain(stall)
    await pay(shop, paid)
    late = await shop.buy(stall)
    async with shop.database.transaction() as session:
        await cancel_sale(session, stall.sale_id, uuid4())
    for _ in range(2):
        await shop.settle(stall)

    assert (await examine(shop, stall)).findings == []
    statuses = [(await shop.order_of(one)).status.value for one in (unpaid, paid, late)]
    assert statuses == ["cancelled", "refund_due", "rejected"]


async def test_a_sale_without_payment_and_units_cancelled_after_confirmation(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.buy(stall)
    await shop.drain(stall)
    async with shop.database.transaction() as session:
        await cancel_sale(session, stall.sale_id, uuid4())
    await shop.settle(stall)
    assert (await examine(shop, stall)).findings == []


def test_each_rule_says_what_it_promises() -> None:
    for rule in (*LEDGER_RULES, *BALANCE_RULES):
        assert rule.code.startswith("I")
        assert len(rule.promise) > 20


# -- negative controls ------------------------------------------------------------------------------

BREAKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "counters do not add up": (
        "I1",
        (
            "ALTER TABLE sale_items DROP CONSTRAINT ck_sale_items_units_conserved",
            "UPDATE sale_items SET sold = sold + 1",
        ),
    ),
    "counters are negative": (
        "I1",
        (
            "ALTER TABLE sale_items DROP CONSTRAINT ck_sale_items_available_not_negative",
            "UPDATE sale_items SET available = -1, reserved = reserved + available + 1",
        ),
    ),
    "one journal entry, two reservations": (
        "I4",
        (
            "DROP INDEX uq_reservations_entry",
            """
            INSERT INTO reservations
            SELECT gen_random_uuid(), sale_id, item_id, lane, generation, seq, shopper_id, quantity, status, reason,
                   admitted_at, decided_at, expires_at, ended_at
            FROM reservations LIMIT 1
            """,
        ),
    ),
    "one reservation, two orders": (
        "I4",
        (
            "ALTER TABLE orders DROP CONSTRAINT uq_orders_reservation_id",
            """
            INSERT INTO orders
            SELECT gen_random_uuid(), reservation_id, sale_id, item_id, shopper_id, sku, quantity, status,
                   price_minor, currency, pay_by, paid_at, created_at
            FROM orders LIMIT 1
            """,
        ),
    ),
    "one reservation, sold twice": (
        "I4",
        (
            "ALTER TABLE ledger_entries DROP CONSTRAINT uq_ledger_entries_reservation_id_kind",
            """
            INSERT INTO ledger_entries (sale_id, item_id, kind, quantity, allotment_delta, available_delta,
                                        reserved_delta, sold_delta, reservation_id)
            SELECT sale_id, item_id, kind, quantity, allotment_delta, available_delta, reserved_delta, sold_delta,
                   reservation_id
            FROM ledger_entries WHERE kind = 'sell'
            """,
        ),
    ),
    "a shopper above the limit": (
        "I8",
        (
            "UPDATE sale_items SET per_shopper_limit = 1",
            "UPDATE reservations SET quantity = 2 WHERE status = 'confirmed'",
        ),
    ),
    "units given back while they are held": (
        "I10",
        (
            """
            INSERT INTO gate_outbox (id, sale_id, item_id, lane, kind, status, quantity, reservation_id, generation,
                                     seq)
            SELECT gen_random_uuid(), sale_id, item_id, lane, 'release', 'done', quantity, id, generation, seq
            FROM reservations WHERE status = 'confirmed'
            """,
        ),
    ),
    "an order apart from its reservation": (
        "I11",
        ("UPDATE orders SET status = 'expired' WHERE status = 'confirmed'",),
    ),
    "an ended reservation that lives again": (
        "I11",
        ("UPDATE reservations SET status = 'reserved' WHERE status = 'expired'",),
    ),
    "a payment that bought nothing": (
        "I12",
        ("UPDATE orders SET paid_at = NULL WHERE status = 'confirmed'",),
    ),
    "a sale that nobody paid": ("I12", ("DELETE FROM payments",)),
    "a payment that bought again and is owed back too": (
        "I12",
        (
            """
            UPDATE orders o SET status = 'refund_due', paid_at = now() FROM payments p
            WHERE p.order_id = o.id AND o.status = 'expired'
            """,
        ),
    ),
    "a late payment that was settled and bought nothing": (
        "I12",
        ("UPDATE orders SET paid_at = NULL WHERE reservation_id IN (SELECT id FROM payments)",),
    ),
    "a reservation before the opening": (
        "I13",
        ("UPDATE reservations SET admitted_at = (SELECT opens_at - interval '3 milliseconds' FROM sales)",),
    ),
    "entries that do not add up": (
        "I17",
        (
            "ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_append_only",
            "DELETE FROM ledger_entries WHERE kind = 'sell'",
        ),
    ),
    "counters apart from the reservations": (
        "I17",
        ("UPDATE sale_items SET reserved = reserved - 1, sold = sold + 1",),
    ),
    "units that wait to go back": (
        "I20",
        ("UPDATE gate_outbox SET status = 'pending', created_at = now() - interval '3 minutes'",),
    ),
    "units that the gate refused": ("I20", ("UPDATE gate_outbox SET status = 'refused'",)),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_a_broken_rule_is_found(shop: Shop, name: str) -> None:
    rule, statements = BREAKS[name]
    stall, _ = await busy(shop)

    await shop.as_owner(*statements)
    found = await examine(shop, stall)

    assert rule in rules(found), found.findings
    assert found.verdict is Verdict.FINDINGS
    broken = [finding for finding in found.findings if finding["rule"] == rule]
    assert all(finding["message"] and (finding["ids"] or finding["numbers"]) for finding in broken)
    assert (found.duplicates > 0) == ("I4" in rules(found))


@pytest.mark.parametrize(("age", "expected"), [("0 seconds", set()), ("2 minutes", {"I12"})])
async def test_a_captured_payment_has_a_moment_to_be_settled(shop: Shop, age: str, expected: set[str]) -> None:
    """Capture commits before settlement does: a run between the two must not raise an alarm."""
    stall, _ = await busy(shop)
    await shop.as_owner(
        "UPDATE orders SET paid_at = NULL WHERE status = 'confirmed'",
        f"UPDATE payments SET settled_at = NULL, captured_at = now() - interval '{age}'",
    )
    assert rules(await examine(shop, stall)) == expected


async def test_live_units_above_the_allotment_are_oversold_whatever_the_counters_say(shop: Shop) -> None:
    stall, _ = await busy(shop)
    await shop.as_owner("UPDATE reservations SET quantity = 6 WHERE status = 'confirmed'")

    found = await examine(shop, stall)

    assert found.oversold == 3
    assert found.verdict is Verdict.FINDINGS


@pytest.mark.parametrize(("field", "units", "expected"), [("available", 1, {"I2", "I3", "I10"}), ("held", 1, {"I2"})])
async def test_a_gate_that_does_not_add_up_is_found(shop: Shop, field: str, units: int, expected: set[str]) -> None:
    stall, _ = await busy(shop)
    await shop.gate.store.client.hincrby(LaneKeys(stall.lane()).lane, field, units)
    assert rules(await examine(shop, stall)) == expected


async def test_a_history_that_is_not_the_one_applied_is_found(shop: Shop) -> None:
    stall, _ = await busy(shop)
    await shop.sql("UPDATE journal_cursors SET digest = :other", other="f" * 40)
    found = await examine(shop, stall)
    (finding,) = found.findings
    assert finding["rule"] == "I9"
    assert finding["ids"]["state"] == "forked"


async def test_a_cursor_that_disagrees_with_its_own_ledger_is_found(shop: Shop) -> None:
    stall, _ = await busy(shop)
    await shop.sql("UPDATE journal_cursors SET left_units = left_units + 1")
    assert rules(await examine(shop, stall)) == {"I3"}


async def test_findings_are_bounded_and_say_how_many_there_are(shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 2_000})
    await shop.drain(stall)
    await shop.sql(
        """
        INSERT INTO gate_outbox (id, sale_id, item_id, lane, kind, status, quantity, generation)
        SELECT gen_random_uuid(), :sale, :item, 0, 'adjust', 'refused', 1, 1 FROM generate_series(1, 1234)
        """,
        sale=stall.sale_id,
        item=stall.items["TEE-M"],
    )

    found = await examine(shop, stall)

    waiting = [finding for finding in found.findings if finding["rule"] == "I20"]
    assert len(waiting) == FINDINGS_MAX + 1
    assert waiting[-1]["numbers"] == {"more": 234}


async def test_rules_are_quiet_while_everything_moves(shop: Shop) -> None:
    """The ledger's rules see one snapshot: a batch that commits between two questions is in both or in neither."""
    stall = await shop.sale(items={"TEE-M": 300}, payment_required=True)
    over = asyncio.Event()
    found: list[Any] = []

    async def move() -> None:
        for number in range(12):
            shoppers: list[UUID] = [new_id() for _ in range(12)]
            for shopper in shoppers:
                await shop.attempt(stall, shopper, key=str(number))
            await shop.drain(stall)
            await shop.sql(
                "UPDATE reservations SET expires_at = now() WHERE id IN "
                "(SELECT id FROM reservations WHERE status = 'reserved' LIMIT 5)"
            )
            await shop.expire()
            await shop.relay()
        over.set()

    async def audit() -> None:
        while not over.is_set():
            found.append(await examine(shop, stall))

    await asyncio.gather(move(), audit())

    assert len(found) >= 5
    assert [one.findings for one in found if one.findings] == []
