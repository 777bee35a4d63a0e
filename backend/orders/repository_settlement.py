"""Queries of settlement. Locks in the order of the drain: the item's row, then the reservations."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def lock_item(session: AsyncSession, item_id: UUID) -> None:
    """Hold the item's row until the transaction ends; rows that refer to it can still be inserted."""
    await session.execute(
        text("SELECT id FROM sale_items WHERE id = :item FOR NO KEY UPDATE"),
        {"item": item_id},
    )


async def items_of(session: AsyncSession, order_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """The item of each order that exists."""
    rows = await session.execute(
        text("SELECT id, item_id FROM orders WHERE id = ANY(CAST(:ids AS uuid[]))"), {"ids": list(order_ids)}
    )
    return {row.id: row.item_id for row in rows}


async def settle(session: AsyncSession, item_id: UUID, order_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Settle orders of one item whose payments were captured; the new status of each that was not settled before.

    ``reserved → confirmed`` is one conditional UPDATE: it decides against expiry and cancellation. What had ended
    before becomes ``refund_due``, and so does a payment for a sale cancelled meanwhile (its units stay sold, as those
    of every paid order of a cancelled sale). Counters, ledger entries, payments, callbacks and messages change with it.
    """
    rows = (
        await session.execute(
            text("""
                WITH due AS (
                    SELECT id, sale_id, reservation_id FROM orders
                    WHERE id = ANY(CAST(:ids AS uuid[])) AND item_id = :item AND paid_at IS NULL
                ), won AS (
                    UPDATE reservations r SET status = 'confirmed', ended_at = clock_timestamp() FROM due
                    WHERE r.id = due.reservation_id AND r.status = 'reserved' RETURNING r.id
                ), paid AS (
                    UPDATE orders o
                    SET status = CASE WHEN won.id IS NULL OR s.stage = 'cancelled' THEN 'refund_due'
                                      ELSE 'confirmed' END,
                        paid_at = clock_timestamp()
                    FROM due JOIN sales s ON s.id = due.sale_id LEFT JOIN won ON won.id = due.reservation_id
                    WHERE o.id = due.id AND o.paid_at IS NULL
                      AND (won.id IS NOT NULL OR o.status IN ('expired', 'cancelled', 'rejected'))
                    RETURNING o.id, o.status, o.sale_id, o.quantity, o.reservation_id, won.id IS NOT NULL AS sold
                ), booked AS (
                    INSERT INTO ledger_entries (sale_id, item_id, kind, quantity, allotment_delta, available_delta,
                                                reserved_delta, sold_delta, reservation_id)
                    SELECT sale_id, :item, 'sell', quantity, 0, 0, -quantity, quantity, reservation_id FROM paid
                    WHERE sold
                ), told AS (
                    INSERT INTO notifications (id, kind, status, sale_id, order_id)
                    SELECT gen_random_uuid(),
                           CASE status WHEN 'confirmed' THEN 'order_confirmed' ELSE 'refund_due' END,
                           'pending', sale_id, id FROM paid
                    ON CONFLICT (order_id, kind) DO NOTHING
                ), settled AS (
                    UPDATE payments p SET settled_at = clock_timestamp() FROM paid WHERE p.order_id = paid.id
                    RETURNING p.id, paid.status
                ), noted AS (
                    UPDATE payment_events e SET result = settled.status FROM settled
                    WHERE e.payment_id = settled.id AND e.result = 'captured'
                )
                SELECT id, status, quantity, sold FROM paid
            """),
            {"ids": list(order_ids), "item": item_id},
        )
    ).all()
    sold = sum(row.quantity for row in rows if row.sold)
    if sold:
        await session.execute(
            text("""
                UPDATE sale_items SET reserved = reserved - :n, sold = sold + :n, version = version + 1
                WHERE id = :item
            """),
            {"n": sold, "item": item_id},
        )
    return {row.id: row.status for row in rows}


async def captured_and_unsettled(session: AsyncSession, *, limit: int) -> list[UUID]:
    """Orders whose money is there and that nobody has settled yet, oldest first."""
    rows = await session.execute(
        text("""
            SELECT order_id FROM payments WHERE status = 'captured' AND settled_at IS NULL
            ORDER BY captured_at LIMIT :limit
        """),
        {"limit": limit},
    )
    return [row[0] for row in rows]
