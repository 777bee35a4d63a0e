"""Payments by hand, and the money's invariant as code that shares no query with the product."""

from collections.abc import Sequence
from uuid import UUID

from backend.core.ids import new_id
from backend.gate import Attempt
from backend.orders import settle_captured
from tests.support.shop import PRICE_MINOR, Shop


async def order_of(shop: Shop, attempt: Attempt) -> UUID:
    """The order that the drain made of an attempt."""
    return await shop.one("SELECT id FROM orders WHERE reservation_id = :r", r=attempt.reservation_id)


async def open_payments(shop: Shop, orders: Sequence[UUID]) -> list[UUID]:
    """A payment for each order, opened and not paid."""
    ids = [new_id() for _ in orders]
    await shop.rows(
        """
        INSERT INTO payments (id, order_id, provider, status, amount_minor, currency)
        SELECT p.id, p.order_id, 'sandbox', 'open', :price * o.quantity, 'EUR'
        FROM unnest(CAST(:ids AS uuid[]), CAST(:orders AS uuid[])) AS p (id, order_id)
        JOIN orders o ON o.id = p.order_id
        """,
        ids=ids,
        orders=list(orders),
        price=PRICE_MINOR,
    )
    return ids


async def capture(shop: Shop, payments: Sequence[UUID]) -> None:
    """What the callback's own transaction leaves behind."""
    await shop.rows(
        "UPDATE payments SET status = 'captured', captured_at = clock_timestamp() WHERE id = ANY(CAST(:ids AS uuid[]))",
        ids=list(payments),
    )


async def pay(shop: Shop, *orders: UUID) -> list[UUID]:
    """Open and capture; nobody has settled anything yet. Returns the payments."""
    payments = await open_payments(shop, orders)
    await capture(shop, payments)
    return payments


async def come_to_rest(shop: Shop) -> None:
    """Sweep, drain and relay until no money waits."""
    for _ in range(20):
        await settle_captured(shop.database, shop.gate)
        await shop.settle()
        if not await shop.rows("SELECT 1 FROM payments WHERE status = 'captured' AND settled_at IS NULL"):
            return
    raise AssertionError("a payment is never settled")


async def money_findings(shop: Shop) -> list[str]:
    """I12 at rest: each captured payment is exactly one paid order or one refund due, and none is paid without."""
    found = []
    claimed: set[UUID] = set()
    for payment, order in await shop.rows(
        "SELECT p.id, p.order_id FROM payments p JOIN orders o ON o.id = p.order_id "
        "WHERE o.item_id = :item AND p.status = 'captured'"
    ):
        ends = await shop.rows(
            "SELECT id, status FROM orders WHERE (id = :order OR reservation_id = :payment) AND paid_at IS NOT NULL",
            order=order,
            payment=payment,
        )
        claimed |= {one for one, _ in ends}
        if [status for _, status in ends] not in (["confirmed"], ["refund_due"]):
            found.append(f"I12 payment {payment} ends as {ends or 'nothing'}")
    for order, status in await shop.rows(
        "SELECT id, status FROM orders WHERE item_id = :item AND (paid_at IS NOT NULL OR status = 'refund_due')"
    ):
        if order not in claimed:
            found.append(f"I12 order {order} is {status} without a payment")
    unequal = await shop.rows("""
        SELECT o.id FROM orders o JOIN reservations r ON r.id = o.reservation_id
        WHERE o.item_id = :item AND o.status = 'confirmed' AND r.status <> 'confirmed'
    """)
    found += [f"I11 order {order} is confirmed, its reservation is not" for (order,) in unequal]
    return found
