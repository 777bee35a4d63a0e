"""Queries for what shoppers ask of their own reservations and orders."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from backend.gate import EntryId, LaneId


@dataclass(frozen=True, slots=True)
class TicketRow:
    """What a ticket answers with."""

    status: str
    reason: str | None = None
    expires_at: datetime | None = None
    order_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """One reservation of a shopper, with what its ticket says."""

    reservation_id: UUID
    lane_id: LaneId
    entry_id: EntryId
    sku: str
    status: str
    admitted_at: datetime


async def find_reservations(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, TicketRow]:
    """Reservations by the ids that their tickets carry; those not there are left out."""
    rows = await session.execute(
        text("""
            SELECT r.id, r.status, r.reason, r.expires_at, o.id
            FROM reservations r LEFT JOIN orders o ON o.reservation_id = r.id
            WHERE r.id = ANY(CAST(:ids AS uuid[]))
        """),
        {"ids": list(ids)},
    )
    return {row[0]: TicketRow(*row[1:]) for row in rows}


@dataclass(frozen=True, slots=True)
class LaneStanding:
    """How far the ledger has gone in a lane."""

    sale_id: UUID
    applied: EntryId
    """The last entry of the lane's own generation; seq −1 before its first."""
    may_recover: bool
    """A gate of this sale can still be rebuilt, so what seems lost may yet be found in it."""


async def standing_of(session: AsyncSession, lanes: Collection[LaneId]) -> dict[LaneId, LaneStanding]:
    """Where the ledger stands in these lanes."""
    rows = await session.execute(
        text("""
            SELECT c.item_id, c.lane, c.sale_id, c.generation, c.seq, s.stage IN ('scheduled', 'cancelled')
            FROM journal_cursors c JOIN sales s ON s.id = c.sale_id
            WHERE c.item_id = ANY(CAST(:items AS uuid[]))
        """),
        {"items": [lane.item_id for lane in lanes]},
    )
    return {
        LaneId(item, lane): LaneStanding(sale_id, EntryId(generation, -1 if seq is None else seq), may_recover)
        for item, lane, sale_id, generation, seq, may_recover in rows
    }


async def claims_of(session: AsyncSession, slug: str, shopper_id: UUID) -> list[ClaimRow]:
    """A shopper's reservations in a sale, oldest first."""
    rows = await session.execute(
        text("""
            SELECT r.id, r.item_id, r.lane, r.generation, r.seq, i.sku, r.status, r.admitted_at
            FROM orders o JOIN reservations r ON r.id = o.reservation_id
            JOIN sales s ON s.id = o.sale_id JOIN sale_items i ON i.id = o.item_id
            WHERE s.slug = :slug AND o.shopper_id = :shopper ORDER BY r.admitted_at, r.id LIMIT 1000
        """),
        {"slug": slug, "shopper": shopper_id},
    )
    return [ClaimRow(row.id, LaneId(row.item_id, row.lane), EntryId(row.generation, row.seq), *row[5:]) for row in rows]


async def sale_with_slug(session: AsyncSession, slug: str) -> bool:
    """Whether shoppers may know of such a sale."""
    found = await session.execute(text("SELECT 1 FROM sales WHERE slug = :slug AND stage <> 'draft'"), {"slug": slug})
    return found.first() is not None


async def opening(session: AsyncSession, slug: str, sku: str) -> tuple[datetime | None, datetime]:
    """When an item's sale opens, None when there is no such item, and the database's clock."""
    row = (
        await session.execute(
            text("""
                SELECT (SELECT s.opens_at FROM sales s JOIN sale_items i ON i.sale_id = s.id
                        WHERE s.slug = :slug AND i.sku = :sku AND s.stage = 'scheduled'), clock_timestamp()
            """),
            {"slug": slug, "sku": sku},
        )
    ).one()
    return row[0], row[1]


async def order_status(session: AsyncSession, order_id: UUID) -> str:
    """The status of an order that exists."""
    return str((await session.execute(text("SELECT status FROM orders WHERE id = :id"), {"id": order_id})).scalar_one())


async def order_of_sale(session: AsyncSession, order_id: UUID, sale_id: UUID) -> tuple[UUID, UUID] | None:
    """Item and reservation of an order of this sale."""
    row = (
        await session.execute(
            text("SELECT item_id, reservation_id FROM orders WHERE id = :id AND sale_id = :sale"),
            {"id": order_id, "sale": sale_id},
        )
    ).first()
    return (row[0], row[1]) if row else None


async def move_order(session: AsyncSession, order_id: UUID, before: str, after: str) -> bool:
    """Move an order from one state to another; False when it was not in ``before``."""
    moved = await session.execute(
        text("UPDATE orders SET status = :after WHERE id = :id AND status = :before RETURNING id"),
        {"id": order_id, "before": str(before), "after": str(after)},
    )
    return moved.first() is not None


async def order_for_cancel(session: AsyncSession, order_id: UUID, shopper_id: UUID) -> tuple[UUID, UUID] | None:
    """Item and reservation of a shopper's own order."""
    row = (
        await session.execute(
            text("SELECT item_id, reservation_id FROM orders WHERE id = :id AND shopper_id = :shopper"),
            {"id": order_id, "shopper": shopper_id},
        )
    ).first()
    return (row[0], row[1]) if row else None
