"""Queries of settlement. Locks in the order of the drain: the item's row, the reservations, orders, payments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from backend.gate import EntryId, LaneId, Retake
from backend.orders.identifiers import new_ids
from backend.orders.plan import ItemFacts, LatePayment, Placed

LATE = "late"
"""Returned by ``settle`` beside the statuses of orders: the gate is to be asked."""

# A late payment is the gate's to decide while its sale can be asked about. What is cancelled or closed, or stopped by
# a fault until after its end, sells nothing more.
_GATE_DECIDES = """
    o.status = 'expired' AND s.stage = 'scheduled'
    AND (s.fault IS NULL OR least(s.closes_at, s.ended_at) > clock_timestamp())
"""


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

    ``reserved → confirmed`` is one conditional UPDATE: it decides against expiry and cancellation. What was cancelled
    before becomes ``refund_due``, and so does a payment for a sale cancelled meanwhile (its units stay sold, as those
    of every paid order of a cancelled sale). What has expired is ``LATE``, and stays as it is, while the gate can be
    asked. Counters, ledger entries, payments, callbacks and messages change with it.
    """
    rows = (
        await session.execute(
            text(f"""
                WITH due AS (
                    SELECT o.id, o.sale_id, o.reservation_id, {_GATE_DECIDES} AS late
                    FROM orders o JOIN sales s ON s.id = o.sale_id
                    WHERE o.id = ANY(CAST(:ids AS uuid[])) AND o.item_id = :item AND o.paid_at IS NULL
                      AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.order_id = o.id AND p.settled_at IS NOT NULL)
                ), won AS (
                    UPDATE reservations r SET status = 'confirmed', ended_at = clock_timestamp() FROM due
                    WHERE r.id = due.reservation_id AND r.status = 'reserved' RETURNING r.id
                ), paid AS (
                    UPDATE orders o
                    SET status = CASE WHEN won.id IS NULL OR s.stage = 'cancelled' THEN 'refund_due'
                                      ELSE 'confirmed' END,
                        paid_at = clock_timestamp()
                    FROM due JOIN sales s ON s.id = due.sale_id LEFT JOIN won ON won.id = due.reservation_id
                    WHERE o.id = due.id AND o.paid_at IS NULL AND NOT due.late
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
                UNION ALL SELECT id, '{LATE}', 0, false FROM due WHERE late
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
    """Orders whose money is there and that nobody has settled yet, oldest first; late ones are the gate's."""
    rows = await session.execute(
        text(f"""
            SELECT p.order_id FROM payments p JOIN orders o ON o.id = p.order_id JOIN sales s ON s.id = o.sale_id
            WHERE p.status = 'captured' AND p.settled_at IS NULL AND NOT ({_GATE_DECIDES})
            ORDER BY p.captured_at LIMIT :limit
        """),
        {"limit": limit},
    )
    return [row[0] for row in rows]


async def late_payments(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[tuple[datetime, UUID]]:
    """Payments to ask the gate about, oldest first: when captured, and id. Those of a stopped sale wait for it."""
    rows = await session.execute(
        text("""
            SELECT p.captured_at, p.id FROM payments p
            JOIN orders o ON o.id = p.order_id JOIN sales s ON s.id = o.sale_id
            WHERE p.status = 'captured' AND p.settled_at IS NULL
              AND o.status = 'expired' AND s.stage = 'scheduled' AND s.fault IS NULL
              AND (CAST(:at AS timestamptz) IS NULL OR (p.captured_at, p.id) > (:at, CAST(:id AS uuid)))
            ORDER BY p.captured_at, p.id LIMIT :limit
        """),
        {"at": after[0] if after else None, "id": after[1] if after else None, "limit": limit},
    )
    return [(row[0], row[1]) for row in rows]


@dataclass(frozen=True, slots=True)
class LateOrder:
    """What the gate has to know of a late payment."""

    lane_id: LaneId
    generation: int
    retake: Retake


async def lock_late_order(session: AsyncSession, payment_id: UUID) -> LateOrder | None:
    """A payment that is still to be decided by the gate, locked with its order; None when it no longer is, or when
    another process has it. Never waits for a lock, so it may hold these against the order of all others."""
    row = (
        await session.execute(
            text("""
                SELECT o.item_id, r.lane, c.generation, o.shopper_id, o.quantity, r.id AS old_id,
                       r.generation AS old_generation, r.seq AS old_seq, g.id AS release_id
                FROM payments p
                JOIN orders o ON o.id = p.order_id JOIN sales s ON s.id = o.sale_id
                JOIN reservations r ON r.id = o.reservation_id
                JOIN journal_cursors c ON c.item_id = r.item_id AND c.lane = r.lane
                LEFT JOIN gate_outbox g ON g.reservation_id = r.id AND g.generation = r.generation AND g.seq = r.seq
                                       AND g.status = 'pending'
                WHERE p.id = :id AND p.status = 'captured' AND p.settled_at IS NULL
                  AND o.status = 'expired' AND o.paid_at IS NULL AND s.stage = 'scheduled' AND s.fault IS NULL
                FOR NO KEY UPDATE OF p, o SKIP LOCKED
            """),
            {"id": payment_id},
        )
    ).first()
    if row is None:
        return None
    return LateOrder(
        LaneId(row.item_id, row.lane),
        row.generation,
        Retake(
            reservation_id=payment_id,
            shopper_id=row.shopper_id,
            quantity=row.quantity,
            old_reservation_id=row.old_id,
            old_entry_id=EntryId(row.old_generation, row.old_seq),
            release_cause=row.release_id,
        ),
    )


async def refund_late(session: AsyncSession, payment_ids: Sequence[UUID]) -> int:
    """Late payments get nothing: the money goes back. Settled ones stay as they are. Returns how many were refunded."""
    rows = await session.execute(
        text("""
            WITH due AS (
                UPDATE orders o SET status = 'refund_due', paid_at = clock_timestamp() FROM payments p
                WHERE p.id = ANY(CAST(:ids AS uuid[])) AND o.id = p.order_id AND o.paid_at IS NULL
                  AND p.status = 'captured' AND p.settled_at IS NULL
                  AND o.status IN ('expired', 'cancelled', 'rejected')
                RETURNING o.id, o.sale_id, p.id AS payment_id
            ), told AS (
                INSERT INTO notifications (id, kind, status, sale_id, order_id)
                SELECT gen_random_uuid(), 'refund_due', 'pending', sale_id, id FROM due
                ON CONFLICT (order_id, kind) DO NOTHING
            ), noted AS (
                UPDATE payment_events e SET result = 'refund_due' FROM due
                WHERE e.payment_id = due.payment_id AND e.result = 'captured'
            )
            UPDATE payments p SET settled_at = clock_timestamp() FROM due WHERE p.id = due.payment_id RETURNING p.id
        """),
        {"ids": list(payment_ids)},
    )
    return len(rows.all())


async def lock_late_payments(session: AsyncSession, payment_ids: Sequence[UUID]) -> dict[UUID, LatePayment]:
    """The payments that a batch of the journal names, locked until its commit; those not there are left out.

    Waits for a process that is asking the gate about one of them, for as long as that call may take.
    """
    if not payment_ids:
        return {}
    rows = await session.execute(
        text("""
            SELECT p.id, o.item_id, o.shopper_id, o.quantity, p.status = 'captured' AND p.settled_at IS NULL AS is_due
            FROM payments p JOIN orders o ON o.id = p.order_id
            WHERE p.id = ANY(CAST(:ids AS uuid[])) ORDER BY p.id FOR NO KEY UPDATE OF p
        """),
        {"ids": list(payment_ids)},
    )
    return {row.id: LatePayment(row.item_id, row.shopper_id, row.quantity, row.is_due) for row in rows}


async def insert_retaken(
    session: AsyncSession, retaken: Sequence[Placed], facts: ItemFacts, lane_id: LaneId, *, recovered: bool = False
) -> None:
    """New, paid orders of late payments, at the price that was paid; the first order stays expired."""
    await session.execute(
        text("""
            WITH taken AS (
                SELECT t.*, o.shopper_id, o.sku, o.quantity, o.price_minor, o.currency
                FROM unnest(CAST(:ids AS uuid[]), CAST(:orders AS uuid[]), CAST(:notifications AS uuid[]),
                            CAST(:seqs AS bigint[]), CAST(:ats AS bigint[]))
                     AS t (id, order_id, notification_id, seq, at_ms)
                JOIN payments p ON p.id = t.id JOIN orders o ON o.id = p.order_id
            ), reserved AS (
                INSERT INTO reservations (id, sale_id, item_id, lane, generation, seq, shopper_id, quantity, status,
                                          recovered, admitted_at, ended_at)
                SELECT id, :sale, :item, :lane, :generation, seq, shopper_id, quantity, 'confirmed', :recovered,
                       to_timestamp(at_ms / 1000.0), now()
                FROM taken
            ), ordered AS (
                INSERT INTO orders (id, reservation_id, sale_id, item_id, shopper_id, sku, quantity, status,
                                    price_minor, currency, paid_at)
                SELECT order_id, id, :sale, :item, shopper_id, sku, quantity, 'confirmed', price_minor, currency,
                       clock_timestamp()
                FROM taken
            ), told AS (
                INSERT INTO notifications (id, kind, status, sale_id, order_id)
                SELECT notification_id, 'order_confirmed', 'pending', :sale, order_id FROM taken
            ), settled AS (
                UPDATE payments p SET settled_at = clock_timestamp() FROM taken WHERE p.id = taken.id
            ), noted AS (
                UPDATE payment_events e SET result = 'confirmed' FROM taken
                WHERE e.payment_id = taken.id AND e.result = 'captured'
            )
            INSERT INTO ledger_entries (sale_id, item_id, kind, quantity, allotment_delta, available_delta,
                                        reserved_delta, sold_delta, reservation_id, generation, seq)
            SELECT :sale, :item, k.kind, quantity, 0, k.available * quantity, k.reserved * quantity,
                   k.sold * quantity, id, :generation, seq
            FROM taken CROSS JOIN (VALUES ('reserve', -1, 1, 0), ('sell', 0, -1, 1))
                 AS k (kind, available, reserved, sold)
        """),
        {
            "sale": facts.sale_id,
            "item": facts.item_id,
            "lane": lane_id.lane,
            "recovered": recovered,
            "generation": retaken[0].entry.entry_id.generation,
            "ids": [one.reservation_id for one in retaken],
            "orders": new_ids(len(retaken)),
            "notifications": new_ids(len(retaken)),
            "seqs": [one.entry.entry_id.seq for one in retaken],
            "ats": [one.entry.at_ms for one in retaken],
        },
    )
