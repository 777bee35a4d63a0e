"""A sale's units over time, from the ledger alone."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

_SPAN = """(SELECT CAST(:since AS timestamptz) AS since, CAST(:until AS timestamptz) AS until,
                   CAST(:step AS double precision) AS step) AS span"""
_BUCKET = """least(floor(extract(epoch FROM {at} - span.since) / span.step),
                   floor(extract(epoch FROM span.until - span.since) / span.step))::int"""
_PERCENTILES = """percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
                   ORDER BY greatest(0, extract(epoch FROM decided_at - admitted_at) * 1000))"""

DELAY_SAMPLE = 500
"""The newest entries that the gate-to-order delay is taken from."""


async def movements(
    session: AsyncSession, sale_id: UUID, since: datetime, until: datetime, step_s: float
) -> Sequence[Row[Any]]:
    """(bucket, allotment, available, reserved, sold): the sums of all deltas in each bucket with movement; bucket −1
    is everything before ``since``, the last one takes what came after ``until``."""
    found = await session.execute(
        text(f"""
            SELECT CASE WHEN at < span.since THEN -1 ELSE {_BUCKET.format(at="at")} END AS bucket,
                   sum(allotment_delta)::bigint AS allotment, sum(available_delta)::bigint AS available,
                   sum(reserved_delta)::bigint AS reserved, sum(sold_delta)::bigint AS sold
            FROM ledger_entries, {_SPAN} WHERE sale_id = :sale GROUP BY 1 ORDER BY 1
        """),
        {"sale": sale_id, "since": since, "until": until, "step": step_s},
    )
    return found.all()


async def delays(
    session: AsyncSession, sale_id: UUID, since: datetime, until: datetime, step_s: float
) -> Sequence[Row[Any]]:
    """(bucket, [p50, p95]): how long accepted attempts waited for the ledger, in milliseconds."""
    found = await session.execute(
        text(f"""
            SELECT {_BUCKET.format(at="decided_at")} AS bucket, {_PERCENTILES} AS found
            FROM reservations, {_SPAN}
            WHERE sale_id = :sale AND decided_at >= span.since AND NOT recovered GROUP BY 1 ORDER BY 1
        """),
        {"sale": sale_id, "since": since, "until": until, "step": step_s},
    )
    return found.all()


async def recent_delay(session: AsyncSession, sale_id: UUID, within_s: int) -> Row[Any] | None:
    """p50 and p95 of the newest decisions of the last ``within_s`` seconds; None when there was none.

    The newest ledger entries lead to them by their index (sale, id), so that the cost does not grow with the sale.
    """
    found = await session.execute(
        text(f"""
            WITH newest AS (
                SELECT reservation_id, kind, at FROM ledger_entries WHERE sale_id = :sale
                ORDER BY id DESC LIMIT {DELAY_SAMPLE}
            )
            SELECT count(*) AS number, {_PERCENTILES} AS found
            FROM newest n JOIN reservations r ON r.id = n.reservation_id
            WHERE n.kind = 'reserve' AND n.at > clock_timestamp() - CAST(:within AS interval)
        """),
        {"sale": sale_id, "within": timedelta(seconds=within_s)},
    )
    row = found.first()
    return row if row is not None and row.number else None
