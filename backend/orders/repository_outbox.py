"""Queries of the gate's outbox: units that the ledger has given and the gate must still be told of."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from backend.gate import LaneId
from backend.models import OutboxKind, OutboxStatus


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """Units to be told to the gate."""

    id: UUID
    kind: OutboxKind
    lane_generation: int
    """Of the lane now: what the gate must be at to be told."""
    generation: int
    seq: int | None
    """The claim's journal entry, maybe of an earlier generation: a rebuild keeps claims as they were."""
    reservation_id: UUID | None
    quantity: int


async def lanes_with_outbox(session: AsyncSession) -> list[tuple[LaneId, str, str]]:
    """Lanes with units to give back that no relay has told the gate of lately, with slug and SKU."""
    rows = await session.execute(
        text("""
            SELECT DISTINCT o.item_id, o.lane, s.slug, i.sku FROM gate_outbox o
            JOIN sale_items i ON i.id = o.item_id JOIN sales s ON s.id = o.sale_id
            WHERE o.status = 'pending' AND (o.applied_at IS NULL OR o.applied_at < now() - interval '10 seconds')
            ORDER BY o.item_id, o.lane LIMIT 1000
        """)
    )
    return [(LaneId(item, lane), slug, sku) for item, lane, slug, sku in rows]


async def outbox_to_apply(session: AsyncSession, lane_id: LaneId, *, limit: int) -> list[OutboxRow]:
    """Rows to tell the gate of: never told, or told 10 s ago and not seen in the journal since (lost with a
    failover; telling it twice is harmless). One statement: a rebuild makes rows void and moves the generation at
    once, so a row that was read before it is told with a generation that the gate no longer takes."""
    rows = await session.execute(
        text("""
            SELECT o.id, o.kind, c.generation, o.generation, o.seq, o.reservation_id, o.quantity
            FROM gate_outbox o JOIN journal_cursors c ON c.item_id = o.item_id AND c.lane = o.lane
            WHERE o.item_id = :item AND o.lane = :lane AND o.status = 'pending'
              AND (o.applied_at IS NULL OR o.applied_at < now() - interval '10 seconds')
            ORDER BY o.created_at, o.id LIMIT :limit
        """),
        {"item": lane_id.item_id, "lane": lane_id.lane, "limit": limit},
    )
    return [OutboxRow(row[0], OutboxKind(row[1]), *row[2:]) for row in rows]


async def mark_applied(session: AsyncSession, ids: Sequence[UUID]) -> None:
    """The gate has answered for these rows; the drain will see their journal entries."""
    await session.execute(
        text("UPDATE gate_outbox SET applied_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": list(ids)},
    )


async def mark_refused(session: AsyncSession, ids: Sequence[UUID]) -> None:
    """The gate found nothing to give back for these rows."""
    await session.execute(
        text("""
            UPDATE gate_outbox SET status = :refused, applied_at = now()
            WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'pending'
        """),
        {"ids": list(ids), "refused": OutboxStatus.REFUSED.value},
    )
