"""Queries of the audit: the snapshot, the rules' questions, and the runs that are kept."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.gate import LaneId
from backend.models import Fault, ReconciliationRun, Sale, SaleEvent, SaleStage
from backend.reconciliation.balance import Cursor, LedgerItem, LedgerSnapshot
from backend.reconciliation.findings import FINDINGS_MAX


async def as_snapshot(session: AsyncSession) -> None:
    """Make the transaction, which must not have read anything yet, see one instant only, and write nothing."""
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})


async def snapshot(session: AsyncSession, sale_id: UUID) -> LedgerSnapshot | None:
    """One sale's counters, pending units and cursors; None when there is no such sale."""
    sale = (
        await session.execute(
            text("""
                SELECT stage, fault, clock_timestamp() AS read_at,
                       stage IN ('cancelled', 'reconciled') OR cancelled_at IS NOT NULL
                       OR least(closes_at, ended_at) <= clock_timestamp() AS over
                FROM sales WHERE id = :sale
            """),
            {"sale": sale_id},
        )
    ).first()
    if sale is None:
        return None
    cursors: dict[UUID, list[Cursor]] = {}
    for row in await session.execute(
        text("""
            SELECT item_id, lane, generation, seq, digest, left_units FROM journal_cursors
            WHERE sale_id = :sale ORDER BY item_id, lane
        """),
        {"sale": sale_id},
    ):
        cursors.setdefault(row.item_id, []).append(
            Cursor(LaneId(row.item_id, row.lane), row.generation, row.seq, row.digest, row.left_units)
        )
    items = await session.execute(
        text("""
            SELECT i.id, i.sku, i.allotment, i.available, i.reserved, i.sold, coalesce((
                SELECT sum(o.quantity) FROM gate_outbox o
                WHERE o.item_id = i.id AND o.status IN ('pending', 'refused')), 0) AS pending
            FROM sale_items i WHERE i.sale_id = :sale ORDER BY i.position, i.sku
        """),
        {"sale": sale_id},
    )
    return LedgerSnapshot(
        sale_id,
        SaleStage(sale.stage),
        bool(sale.over),
        Fault(sale.fault) if sale.fault else None,
        sale.read_at,
        tuple(
            LedgerItem(
                row.id,
                row.sku,
                row.allotment,
                row.available,
                row.reserved,
                row.sold,
                int(row.pending),
                tuple(cursors.get(row.id, ())),
            )
            for row in items
        ),
    )


async def broken(session: AsyncSession, query: str, sale_id: UUID) -> tuple[Sequence[Row[Any]], int]:
    """The first ``FINDINGS_MAX`` rows of a rule's question, and how many there are."""
    rows = (
        await session.execute(
            text(f"SELECT *, count(*) OVER () AS total FROM ({query}) AS found LIMIT {FINDINGS_MAX}"),
            {"sale": sale_id},
        )
    ).all()
    return rows, rows[0].total if rows else 0


async def units_over_allotment(session: AsyncSession, sale_id: UUID) -> int:
    """Units in live reservations above each item's allotment, counted from the rows and not from the counters."""
    value = await session.execute(
        text("""
            SELECT coalesce(sum(greatest(0, live.units - i.allotment)), 0) FROM sale_items i JOIN (
                SELECT item_id, sum(quantity) AS units FROM reservations
                WHERE sale_id = :sale AND status IN ('reserved', 'confirmed') GROUP BY item_id
            ) live ON live.item_id = i.id
        """),
        {"sale": sale_id},
    )
    return int(value.scalar_one())


async def terminal(session: AsyncSession, sale_id: UUID) -> bool:
    """No reservation is open, and nothing is left to give back."""
    value = await session.execute(
        text("""
            SELECT NOT EXISTS (SELECT 1 FROM reservations WHERE sale_id = :sale AND status = 'reserved')
               AND NOT EXISTS (SELECT 1 FROM gate_outbox o JOIN sale_items i ON i.id = o.item_id
                   WHERE i.sale_id = :sale AND o.status IN ('pending', 'refused'))
        """),
        {"sale": sale_id},
    )
    return bool(value.scalar_one())


async def sales_to_audit(session: AsyncSession) -> list[UUID]:
    """Sales with stock in the gate, and those that are over; reconciled ones are done."""
    rows = await session.execute(
        text("""
            SELECT s.id FROM sales s WHERE s.stage IN ('scheduled', 'cancelled')
              AND (EXISTS (SELECT 1 FROM journal_cursors c WHERE c.sale_id = s.id)
                   OR s.stage = 'cancelled' OR least(s.closes_at, s.ended_at) <= now())
            ORDER BY s.opens_at, s.id LIMIT 1000
        """)
    )
    return list(rows.scalars())


async def last_run(session: AsyncSession, sale_id: UUID, trigger: str) -> ReconciliationRun | None:
    """The newest run of a trigger."""
    found = await session.execute(
        select(ReconciliationRun)
        .where(col(ReconciliationRun.sale_id) == sale_id, col(ReconciliationRun.trigger) == trigger)
        .order_by(col(ReconciliationRun.started_at).desc())
        .limit(1)
    )
    return found.scalar_one_or_none()


async def is_due(session: AsyncSession, last: ReconciliationRun, pause: timedelta) -> bool:
    """Whether ``pause`` has passed since a run began, by the clock that dated it."""
    value = await session.execute(select(func.clock_timestamp() >= last.started_at + pause))
    return bool(value.scalar_one())


async def insert_run(session: AsyncSession, run: ReconciliationRun) -> None:
    """Keep a run; ``finished_at`` is set by the database's clock."""
    session.add(run)
    await session.flush()
    await session.refresh(run, ["finished_at"])


async def prune_runs(session: AsyncSession, sale_id: UUID, trigger: str, *, clean: int, others: int) -> None:
    """Keep the newest runs of a trigger: so many clean ones, and so many with findings."""
    await session.execute(
        text("""
            DELETE FROM reconciliation_runs WHERE id IN (
                SELECT id FROM (
                    SELECT id, verdict, row_number() OVER (PARTITION BY verdict ORDER BY started_at DESC) AS age
                    FROM reconciliation_runs WHERE sale_id = :sale AND trigger = :trigger
                ) ranked
                WHERE age > CASE verdict WHEN 'clean' THEN CAST(:clean AS integer) ELSE CAST(:others AS integer) END
            )
        """),
        {"sale": sale_id, "trigger": trigger, "clean": clean, "others": others},
    )


async def mark_reconciled(session: AsyncSession, sale_id: UUID) -> bool:
    """Close the book of a sale that is over and free of faults; False when it is not, or was closed before."""
    closed = await session.execute(
        text("""
            UPDATE sales SET stage = 'reconciled', reconciled_at = clock_timestamp(), version = version + 1,
                cancelled_at = CASE WHEN stage = 'cancelled' THEN coalesce(cancelled_at, clock_timestamp())
                                    ELSE cancelled_at END
            WHERE id = :sale AND fault IS NULL
              AND (stage = 'cancelled' OR stage = 'scheduled' AND least(closes_at, ended_at) <= clock_timestamp())
            RETURNING id
        """),
        {"sale": sale_id},
    )
    return closed.first() is not None


def add_event(session: AsyncSession, sale_id: UUID, kind: str, *, alarm: bool, detail: dict[str, Any]) -> None:
    """Something that the activity of a sale should show."""
    session.add(SaleEvent(sale_id=sale_id, kind=kind, alarm=alarm, detail=detail))


async def sale_of_merchant(session: AsyncSession, sale_id: UUID, merchant_id: UUID) -> Sale | None:
    """A merchant's own sale."""
    found = await session.execute(select(Sale).where(col(Sale.id) == sale_id, col(Sale.merchant_id) == merchant_id))
    return found.scalar_one_or_none()


async def sale_by_name(session: AsyncSession, name: str) -> Sale | None:
    """A sale by its slug, on the command line, where nobody is signed in."""
    return (await session.execute(select(Sale).where(col(Sale.slug) == name))).scalar_one_or_none()


async def run_of_merchant(
    session: AsyncSession, run_id: UUID, merchant_id: UUID
) -> tuple[ReconciliationRun, Sale] | None:
    """A run of a merchant's own sale."""
    row = (
        await session.execute(
            select(ReconciliationRun, Sale)
            .join(Sale, col(Sale.id) == col(ReconciliationRun.sale_id))
            .where(col(ReconciliationRun.id) == run_id, col(Sale.merchant_id) == merchant_id)
        )
    ).one_or_none()
    return (row[0], row[1]) if row else None


async def recent_runs(session: AsyncSession, sale_id: UUID, *, limit: int, before: datetime | None) -> Sequence[Any]:
    """A sale's runs, newest first: rows with the columns of a list, without findings and balance."""
    columns = ReconciliationRun
    statement = (
        select(
            col(columns.id),
            col(columns.trigger),
            col(columns.verdict),
            col(columns.oversold),
            col(columns.stranded),
            col(columns.drift),
            col(columns.duplicates),
            col(columns.started_at),
            col(columns.finished_at),
        )
        .where(col(columns.sale_id) == sale_id)
        .order_by(col(columns.started_at).desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(col(columns.started_at) < before)
    return (await session.execute(statement)).all()


async def item_ids(session: AsyncSession, sale_id: UUID) -> list[UUID]:
    """A sale's items, in the order of its page."""
    rows = await session.execute(
        text("SELECT id FROM sale_items WHERE sale_id = :sale ORDER BY position, sku"), {"sale": sale_id}
    )
    return list(rows.scalars())


async def ledger_page(session: AsyncSession, item_id: UUID, *, after: int, limit: int) -> Sequence[Row[Any]]:
    """The next entries of an item."""
    rows = await session.execute(
        text("""
            SELECT l.id, i.sku, l.kind, l.quantity, l.allotment_delta, l.available_delta, l.reserved_delta,
                   l.sold_delta, l.reservation_id, l.command_id, l.outbox_id, l.generation, l.seq, l.at
            FROM ledger_entries l JOIN sale_items i ON i.id = l.item_id
            WHERE l.item_id = :item AND l.id > :after ORDER BY l.id LIMIT :limit
        """),
        {"item": item_id, "after": after, "limit": limit},
    )
    return rows.all()
