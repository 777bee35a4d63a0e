"""Queries for the metrics: open sales, their items and lanes, what waits, what was given up."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

SALES_MAX = 100
"""Sales that are told apart; a label's values must be few. The newest, by their opening."""
_OPEN = "stage NOT IN ('draft', 'reconciled', 'cancelled')"


async def sales_now(session: AsyncSession) -> Sequence[Row[Any]]:
    """Each open sale: slug, fault, and of its newest reconciliation oversold, stranded, drift and age in seconds."""
    found = await session.execute(
        text(f"""
            SELECT s.id, s.slug, s.fault, r.oversold, r.stranded, r.drift,
                   extract(epoch FROM clock_timestamp() - r.finished_at) AS audit_age_s
            FROM sales s
            LEFT JOIN LATERAL (
                SELECT oversold, stranded, drift, finished_at FROM reconciliation_runs
                WHERE sale_id = s.id ORDER BY started_at DESC LIMIT 1
            ) r ON true
            WHERE {_OPEN} ORDER BY s.opens_at DESC LIMIT :most
        """),
        {"most": SALES_MAX},
    )
    return found.all()


async def lanes_now(session: AsyncSession) -> Sequence[Row[Any]]:
    """Each item of those sales with its counters; lane, generation and cursor when its stock was loaded."""
    found = await session.execute(
        text(f"""
            SELECT s.slug, i.id AS item_id, i.sku, i.available, i.reserved, i.sold, c.lane, c.generation, c.seq
            FROM (SELECT id, slug FROM sales WHERE {_OPEN} ORDER BY opens_at DESC LIMIT :most) s
            JOIN sale_items i ON i.sale_id = s.id
            LEFT JOIN journal_cursors c ON c.item_id = i.id
            ORDER BY s.slug, i.sku, c.lane
        """),
        {"most": SALES_MAX},
    )
    return found.all()


async def outbox_now(session: AsyncSession) -> Sequence[Row[Any]]:
    """Rows that the gate must still be told of, by status: how many, and the age of the oldest in seconds."""
    found = await session.execute(
        text("""
            SELECT status, count(*) AS rows, extract(epoch FROM clock_timestamp() - min(created_at)) AS oldest_s
            FROM gate_outbox WHERE status IN ('pending', 'refused') GROUP BY status
        """)
    )
    return found.all()


async def notifications_now(session: AsyncSession) -> Sequence[Row[Any]]:
    """Messages that are due and not sent: how many, and for how long the oldest has been, in seconds."""
    found = await session.execute(
        text("""
            SELECT count(*) AS rows, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS oldest_s
            FROM notifications WHERE status = 'pending' AND due_at <= clock_timestamp()
        """)
    )
    return found.all()


async def dead_letters_now(session: AsyncSession) -> Sequence[Row[Any]]:
    """What nobody has dealt with, by source."""
    found = await session.execute(
        text("SELECT source, count(*) AS rows FROM dead_letters WHERE resolved_at IS NULL GROUP BY source")
    )
    return found.all()
