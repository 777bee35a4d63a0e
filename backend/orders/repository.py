"""Queries that several parts of orders share. Locks are taken in one order everywhere: cursor, item, reservations."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from backend.gate import EntryId, LaneId
from backend.models import EntryKind, Fault, NotificationKind, ReservationStatus
from backend.orders.plan import ItemFacts


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a lane's journal has been applied up to."""

    lane_id: LaneId
    sale_id: UUID
    generation: int
    nonce: str
    loaded_units: int
    seq: int | None
    digest: str | None
    left_units: int | None

    @property
    def start(self) -> EntryId:
        """The entry to read from, inclusive."""
        return EntryId(self.generation, self.seq or 0)


async def lock_cursor(session: AsyncSession, lane_id: LaneId, *, wait: bool = False) -> Cursor | None:
    """The lane's cursor, locked; None when another drain has it (unless ``wait``) or there is none."""
    row = (
        await session.execute(
            text(f"""
                SELECT sale_id, generation, nonce, loaded_units, seq, digest, left_units FROM journal_cursors
                WHERE item_id = :item AND lane = :lane FOR UPDATE {"" if wait else "SKIP LOCKED"}
            """),
            {"item": lane_id.item_id, "lane": lane_id.lane},
        )
    ).first()
    return Cursor(lane_id, *row) if row else None


async def lock_item(session: AsyncSession, item_id: UUID) -> tuple[ItemFacts, Fault | None] | None:
    """The item, locked, with what its sale says; beside it the sale's fault, if the item's lanes still suffer from it.

    A sale may stay stopped after a rebuild, until an operator lets it go on. Lost or forked history is then a matter
    of the generation before, and the new one's journal is applied as ever.
    """
    row = (
        await session.execute(
            text("""
                SELECT i.sale_id, i.id, i.sku, i.available, i.price_minor, i.currency,
                       s.payment_required, s.hold_s, s.stage = 'cancelled', s.durability <> 'everysec',
                       CASE WHEN s.fault IN ('regressed', 'forked') AND EXISTS (
                                SELECT 1 FROM closed_generations g WHERE g.item_id = i.id AND g.closed_at >= (
                                    SELECT max(e.at) FROM sale_events e
                                    WHERE e.sale_id = s.id AND e.kind = 'fault.' || s.fault))
                            THEN NULL ELSE s.fault END
                FROM sale_items i JOIN sales s ON s.id = i.sale_id WHERE i.id = :item FOR NO KEY UPDATE OF i
            """),
            {"item": item_id},
        )
    ).first()
    if row is None:
        return None
    return ItemFacts(*row[:10]), Fault(row[10]) if row[10] else None


async def set_fault(session: AsyncSession, sale_id: UUID, fault: Fault) -> bool:
    """Stop the sale for a fault; False when one stands already (the first is the cause, it stays)."""
    changed = await session.execute(
        text("UPDATE sales SET fault = :fault, version = version + 1 WHERE id = :sale AND fault IS NULL"),
        {"fault": fault.value, "sale": sale_id},
    )
    return bool(changed.rowcount)  # type: ignore[attr-defined]


async def items_with_due_holds(session: AsyncSession) -> list[UUID]:
    """Items that have a hold whose time is up, by the database's clock.

    One look into the index for each item that is on sale: a sale may have 100,000 holds, none of them due.
    """
    rows = await session.execute(
        text("""
            SELECT c.item_id FROM journal_cursors c JOIN sales s ON s.id = c.sale_id
            WHERE s.stage IN ('scheduled', 'cancelled') AND EXISTS (
                SELECT FROM reservations r
                WHERE r.item_id = c.item_id AND r.status = 'reserved' AND r.expires_at <= now())
            GROUP BY c.item_id ORDER BY c.item_id LIMIT 1000
        """)
    )
    return [row[0] for row in rows]


async def lock_due_holds(session: AsyncSession, item_id: UUID, *, limit: int) -> list[UUID]:
    """Reservations of an item whose time is up, locked; those another sweep has are passed over, and those whose
    money has come in and only waits to be settled."""
    rows = await session.execute(
        text("""
            SELECT r.id FROM reservations r
            WHERE r.item_id = :item AND r.status = 'reserved' AND r.expires_at <= now()
              AND NOT EXISTS (SELECT 1 FROM orders o JOIN payments p ON p.order_id = o.id
                              WHERE o.reservation_id = r.id AND p.status = 'captured' AND p.settled_at IS NULL)
            ORDER BY r.expires_at LIMIT :limit FOR UPDATE OF r SKIP LOCKED
        """),
        {"item": item_id, "limit": limit},
    )
    return [row[0] for row in rows]


async def end_reservations(
    session: AsyncSession,
    *,
    item_id: UUID,
    before: ReservationStatus,
    after: ReservationStatus,
    notification: NotificationKind,
    ids: Sequence[UUID] | None = None,
    command_id: UUID | None = None,
) -> int:
    """End reservations that still are ``before``: order, counters, ledger entry, outbox row and notification.

    The caller holds the item's row. ``ids`` narrows it down; without, all unpaid ones of the item. The conditional
    UPDATE decides every race: who comes second changes nothing. Returns how many units went back.
    """
    ended = await session.execute(
        text("""
            WITH ended AS (
                UPDATE reservations r SET status = CAST(:after AS text), ended_at = now()
                WHERE r.item_id = :item AND r.status = CAST(:before AS text)
                  AND (CAST(:ids AS uuid[]) IS NULL OR r.id = ANY(CAST(:ids AS uuid[])))
                  AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.reservation_id = r.id AND o.paid_at IS NOT NULL)
                  AND NOT EXISTS (SELECT 1 FROM orders o JOIN payments p ON p.order_id = o.id
                                  WHERE o.reservation_id = r.id AND p.status = 'captured' AND p.settled_at IS NULL)
                RETURNING r.id, r.sale_id, r.lane, r.generation, r.seq, r.quantity
            ), ordered AS (
                UPDATE orders o SET status = CAST(:after AS text) FROM ended WHERE o.reservation_id = ended.id
                RETURNING o.id, o.sale_id
            ), told AS (
                INSERT INTO notifications (id, kind, status, sale_id, order_id)
                SELECT gen_random_uuid(), CAST(:notification AS text), 'pending', sale_id, id FROM ordered
                ON CONFLICT (order_id, kind) DO NOTHING
            ), booked AS (
                INSERT INTO ledger_entries (sale_id, item_id, kind, quantity, allotment_delta, available_delta,
                                            reserved_delta, sold_delta, reservation_id, command_id)
                SELECT sale_id, :item, CAST(:release AS text), quantity, 0, quantity,
                       CASE WHEN CAST(:before AS text) = 'reserved' THEN -quantity ELSE 0 END,
                       CASE WHEN CAST(:before AS text) = 'confirmed' THEN -quantity ELSE 0 END, id, :command FROM ended
            ), outbox AS (
                INSERT INTO gate_outbox (id, sale_id, item_id, lane, kind, status, quantity, reservation_id,
                                         generation, seq)
                SELECT gen_random_uuid(), sale_id, :item, lane, CAST(:release AS text), 'pending', quantity, id,
                       generation, seq
                FROM ended
            )
            SELECT coalesce(sum(quantity), 0) FROM ended
        """),
        {
            "item": item_id,
            "before": before.value,
            "after": after.value,
            "ids": None if ids is None else list(ids),
            "notification": notification.value,
            "release": EntryKind.RELEASE.value,
            "command": command_id,
        },
    )
    units = int(ended.scalar_one())
    if units:
        column = "reserved" if before is ReservationStatus.RESERVED else "sold"
        await session.execute(
            text(f"""
                UPDATE sale_items SET available = available + :n, {column} = {column} - :n, version = version + 1
                WHERE id = :item
            """),
            {"n": units, "item": item_id},
        )
    return units


async def set_cancelled(session: AsyncSession, sale_id: UUID) -> None:
    """The sale is cancelled; its lanes learn of it by the configuration."""
    await session.execute(
        text("""
            UPDATE sales SET stage = 'cancelled', cancelled_at = now(), version = version + 1,
                             config_version = config_version + 1
            WHERE id = :sale
        """),
        {"sale": sale_id},
    )


async def mark_refunds_due(session: AsyncSession, sale_id: UUID) -> None:
    """Paid orders of a cancelled sale: the money goes back, the units stay sold."""
    await session.execute(
        text("""
            WITH due AS (
                UPDATE orders SET status = 'refund_due' WHERE sale_id = :sale AND status = 'confirmed'
                  AND paid_at IS NOT NULL RETURNING id, sale_id
            )
            INSERT INTO notifications (id, kind, status, sale_id, order_id)
            SELECT gen_random_uuid(), 'refund_due', 'pending', sale_id, id FROM due
            ON CONFLICT (order_id, kind) DO NOTHING
        """),
        {"sale": sale_id},
    )


async def sale_of_item(session: AsyncSession, item_id: UUID) -> UUID:
    """The sale an item belongs to."""
    row = await session.execute(text("SELECT sale_id FROM sale_items WHERE id = :item"), {"item": item_id})
    return row.scalar_one()  # type: ignore[no-any-return]


async def items_of_sale(session: AsyncSession, sale_id: UUID) -> list[UUID]:
    """The items of a sale, in the order in which they are locked."""
    rows = await session.execute(text("SELECT id FROM sale_items WHERE sale_id = :sale ORDER BY id"), {"sale": sale_id})
    return [row[0] for row in rows]
