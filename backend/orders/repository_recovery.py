"""Queries of recovery. Locks in the one order: cursor, item, payments; a sale's row alone."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.gate import Claim, EntryId, LaneId
from backend.models import Fault, JournalCursor, SaleEvent
from backend.orders.repository import Cursor

SCAN_PAGE = 2_000
"""Rows fetched at a time while a lane's reservations are read."""


async def claim_units(session: AsyncSession, item_id: UUID, shoppers: Sequence[UUID]) -> tuple[int, dict[UUID, int]]:
    """The item's limit for each shopper, and the units of it that each of these holds."""
    limit = await session.execute(text("SELECT per_shopper_limit FROM sale_items WHERE id = :item"), {"item": item_id})
    rows = await session.execute(
        text("""
            SELECT o.shopper_id, sum(r.quantity) AS units FROM orders o JOIN reservations r ON r.id = o.reservation_id
            WHERE o.shopper_id = ANY(CAST(:shoppers AS uuid[])) AND r.item_id = :item
              AND r.status IN ('reserved', 'confirmed')
            GROUP BY o.shopper_id
        """),
        {"item": item_id, "shoppers": list(shoppers)},
    )
    return int(limit.scalar_one()), {row.shopper_id: int(row.units) for row in rows}


async def booked_commands(session: AsyncSession, item_id: UUID, ids: Sequence[UUID]) -> set[UUID]:
    """Those of these commands whose reduction the ledger has."""
    if not ids:
        return set()
    rows = await session.execute(
        text("""
            SELECT command_id FROM ledger_entries
            WHERE item_id = :item AND kind = 'adjust' AND command_id = ANY(CAST(:ids AS uuid[]))
        """),
        {"item": item_id, "ids": list(ids)},
    )
    return set(rows.scalars())


async def supersede_outbox(session: AsyncSession, lane_id: LaneId) -> int:
    """Make void what the gate was still to be told: its next generation begins with those units. Returns how many."""
    rows = await session.execute(
        text("""
            UPDATE gate_outbox SET status = 'superseded', done_at = now()
            WHERE item_id = :item AND lane = :lane AND status IN ('pending', 'refused') RETURNING 1
        """),
        {"item": lane_id.item_id, "lane": lane_id.lane},
    )
    return len(rows.all())


async def close_generation(
    session: AsyncSession, cursor: Cursor, *, fault: Fault, survivors: int, superseded: int
) -> None:
    """Keep a generation as it stood when a rebuild ended it."""
    await session.execute(
        text("""
            INSERT INTO closed_generations (item_id, lane, generation, sale_id, fault, seq, digest, left_units,
                                            survivors, superseded, closed_at)
            VALUES (:item, :lane, :generation, :sale, :fault, :seq, :digest, :left, :survivors, :superseded,
                    clock_timestamp())
        """),
        {
            "item": cursor.lane_id.item_id,
            "lane": cursor.lane_id.lane,
            "generation": cursor.generation,
            "sale": cursor.sale_id,
            "fault": fault.value,
            "seq": cursor.seq,
            "digest": cursor.digest,
            "left": cursor.left_units,
            "survivors": survivors,
            "superseded": superseded,
        },
    )


async def begin_generation(session: AsyncSession, lane_id: LaneId, *, generation: int, nonce: str) -> None:
    """An empty cursor over a journal to be: it begins with what the ledger has now. The item's row is held."""
    await session.execute(
        text("""
            UPDATE journal_cursors c
            SET generation = :generation, nonce = :nonce, seq = NULL, digest = NULL, left_units = NULL,
                loaded_units = i.available, loaded_held = i.reserved + i.sold, moved_at = now()
            FROM sale_items i WHERE i.id = c.item_id AND c.item_id = :item AND c.lane = :lane
        """),
        {"generation": generation, "nonce": nonce, "item": lane_id.item_id, "lane": lane_id.lane},
    )


async def claims(session: AsyncSession, lane_id: LaneId) -> AsyncIterator[list[Claim]]:
    """All reservations of a lane as the gate is to have them, a shopper's live ones next to each other.

    Live is what the ledger holds, and what it has given back without the gate's knowledge since the generation began:
    the relay takes that back through the gate. So the answer is the same at whatever moment it is asked for, as long
    as the gate is not whole: nothing that was live then can stop to be.
    """
    rows = await session.stream(
        text("""
            SELECT r.id, r.shopper_id, r.quantity, r.generation, r.seq,
                   CAST(round(extract(epoch FROM r.admitted_at) * 1000) AS bigint) AS at_ms,
                   r.status IN ('reserved', 'confirmed') OR EXISTS (
                       SELECT 1 FROM gate_outbox o
                       WHERE o.reservation_id = r.id AND o.generation = r.generation AND o.seq = r.seq
                         AND o.kind = 'release' AND o.status = 'pending') AS live
            FROM reservations r WHERE r.item_id = :item AND r.lane = :lane
            ORDER BY r.shopper_id, live DESC, r.id
        """),
        {"item": lane_id.item_id, "lane": lane_id.lane},
        execution_options={"yield_per": SCAN_PAGE},
    )
    async for page in rows.partitions():
        yield [
            Claim(row.id, row.shopper_id, row.quantity, EntryId(row.generation, row.seq), row.at_ms, row.live)
            for row in page
        ]


async def reductions(session: AsyncSession, lane_id: LaneId) -> dict[UUID, EntryId]:
    """The commands that have taken units from this item, with their journal entries: a repeat must not take again."""
    rows = await session.execute(
        text("""
            SELECT command_id, generation, seq FROM ledger_entries
            WHERE item_id = :item AND kind = 'adjust' AND allotment_delta < 0 AND command_id IS NOT NULL
              AND seq IS NOT NULL
        """),
        {"item": lane_id.item_id},
    )
    return {row.command_id: EntryId(row.generation, row.seq) for row in rows}


async def cursor_of(session: AsyncSession, lane_id: LaneId) -> tuple[int, str] | None:
    """Generation and nonce of a lane's cursor."""
    row = (
        await session.execute(
            text("SELECT generation, nonce FROM journal_cursors WHERE item_id = :item AND lane = :lane"),
            {"item": lane_id.item_id, "lane": lane_id.lane},
        )
    ).first()
    return (row.generation, row.nonce) if row else None


async def cursor_row(session: AsyncSession, lane_id: LaneId) -> JournalCursor:
    """A lane's cursor, as it is now."""
    statement = select(JournalCursor).where(
        col(JournalCursor.item_id) == lane_id.item_id, col(JournalCursor.lane) == lane_id.lane
    )
    return (await session.execute(statement.execution_options(populate_existing=True))).scalar_one()


async def rebuilt_since_stopped(session: AsyncSession, lane_id: LaneId, sale_id: UUID) -> bool:
    """Whether a rebuild of the lane was begun after its sale was last stopped for what a rebuild mends: for lost
    history in this very item, or for an operator who asked for all of them."""
    value = await session.execute(
        text("""
            SELECT stopped IS NULL OR coalesce(closed >= stopped, false)
            FROM (SELECT (SELECT max(at) FROM sale_events
                          WHERE sale_id = :sale AND (item_id IS NULL OR item_id = :item)
                            AND kind IN ('fault.regressed', 'fault.forked', 'sale.rebuild_requested')) AS stopped,
                         (SELECT max(closed_at) FROM closed_generations
                          WHERE item_id = :item AND lane = :lane) AS closed) AS moments
        """),
        {"item": lane_id.item_id, "lane": lane_id.lane, "sale": sale_id},
    )
    return bool(value.scalar_one())


@dataclass(frozen=True, slots=True)
class Figures:
    """What a recovery did, out of the ledger: it may have taken several runs."""

    survivors: int
    rejected: int
    superseded: int
    generation: int
    seconds: float
    """From the fault to now."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "survivors": self.survivors,
            "rejected": self.rejected,
            "superseded": self.superseded,
            "generation": self.generation,
            "seconds": self.seconds,
        }


async def unreported(session: AsyncSession, sale_id: UUID) -> Figures | None:
    """What was rebuilt and no ``sale.recovered`` has told yet; None when there is nothing. The sale's row is held."""
    since = (
        await session.execute(
            text("SELECT max(at) FROM sale_events WHERE sale_id = :sale AND kind = 'sale.recovered'"), {"sale": sale_id}
        )
    ).scalar_one()
    row = (
        await session.execute(
            text("""
                SELECT sum(survivors) AS survivors, sum(superseded) AS superseded, min(closed_at) AS began,
                       (SELECT max(generation) FROM journal_cursors WHERE sale_id = :sale) AS generation
                FROM closed_generations
                WHERE sale_id = :sale AND (CAST(:since AS timestamptz) IS NULL OR closed_at > :since)
            """),
            {"sale": sale_id, "since": since},
        )
    ).one()
    if row.survivors is None:
        return None
    rejected, seconds = (
        await session.execute(
            text("""
                SELECT (SELECT count(*) FROM reservations WHERE sale_id = :sale AND status = 'rejected' AND recovered
                        AND (CAST(:since AS timestamptz) IS NULL OR decided_at > :since)),
                       extract(epoch FROM clock_timestamp() - coalesce(
                           (SELECT max(at) FROM sale_events WHERE sale_id = :sale AND at <= :began
                            AND (kind LIKE 'fault.%' OR kind = 'sale.rebuild_requested')), :began))
            """),
            {"sale": sale_id, "since": since, "began": row.began},
        )
    ).one()
    return Figures(
        int(row.survivors), int(rejected), int(row.superseded), int(row.generation), round(float(seconds), 3)
    )


async def standing_fault(session: AsyncSession, sale_id: UUID) -> Fault | None:
    """Why the platform has stopped the sale, its row locked."""
    value = (
        await session.execute(text("SELECT fault FROM sales WHERE id = :sale FOR NO KEY UPDATE"), {"sale": sale_id})
    ).scalar_one()
    return Fault(value) if value else None


async def record_recovered(session: AsyncSession, sale_id: UUID, detail: dict[str, Any]) -> None:
    """Say what a recovery did. By the clock of this moment: what is closed after it is the next one's to tell."""
    now = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    session.add(SaleEvent(sale_id=sale_id, kind="sale.recovered", detail=detail, at=now))


async def clear_fault(session: AsyncSession, sale_id: UUID) -> None:
    """Let the sale go on; its lanes learn of it by the configuration."""
    await session.execute(
        text("""
            UPDATE sales SET fault = NULL, version = version + 1, config_version = config_version + 1
            WHERE id = :sale
        """),
        {"sale": sale_id},
    )
