"""Queries of the auditors' browser: ledger entries by what is looked for, sign-offs, a merchant's activity."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from backend.api.cursors import Position

PAGE = 100
SIGN_OFF = "reconciliation.sign_off"


async def entries(
    session: AsyncSession,
    sale_id: UUID,
    *,
    sku: str | None,
    kind: str | None,
    cause: UUID | None,
    before: int | None,
) -> Sequence[Row[Any]]:
    """A page of a sale's ledger entries, the newest first. ``cause`` is a reservation, an order or a command."""
    found = await session.execute(
        text(f"""
            SELECT e.id, i.sku, e.kind, e.quantity, e.allotment_delta, e.available_delta, e.reserved_delta,
                   e.sold_delta, e.reservation_id, e.command_id, e.outbox_id, e.generation, e.seq, e.at,
                   o.id AS order_id
            FROM ledger_entries e JOIN sale_items i ON i.id = e.item_id
            LEFT JOIN orders o ON o.reservation_id = e.reservation_id
            WHERE e.sale_id = :sale
              AND (CAST(:before AS bigint) IS NULL OR e.id < :before)
              AND (CAST(:sku AS text) IS NULL OR i.sku = :sku)
              AND (CAST(:kind AS text) IS NULL OR e.kind = :kind)
              AND (CAST(:cause AS uuid) IS NULL OR e.reservation_id = :cause OR e.command_id = :cause OR o.id = :cause)
            ORDER BY e.id DESC LIMIT {PAGE + 1}
        """),
        {"sale": sale_id, "before": before, "sku": sku, "kind": kind, "cause": cause},
    )
    return found.all()


async def sign_offs(session: AsyncSession, sale_id: UUID) -> Sequence[Row[Any]]:
    """Who signed which run of a sale off, when, and with what remark; the newest first."""
    found = await session.execute(
        text("""
            SELECT c.id, c.after ->> 'reconciliation_id' AS run_id, c.after ->> 'verdict' AS verdict,
                   c.reason AS remark, c.at, o.email, o.role
            FROM commands c JOIN operators o ON o.id = c.operator_id
            WHERE c.sale_id = :sale AND c.kind = :kind AND c.response_status < 300
            ORDER BY c.at DESC, c.id DESC
        """),
        {"sale": sale_id, "kind": SIGN_OFF},
    )
    return found.all()


async def activity(
    session: AsyncSession, merchant_id: UUID, *, after: Position | None, limit: int = PAGE
) -> Sequence[Row[Any]]:
    """What a merchant's people commanded and what the platform did to its sales, the newest first."""
    found = await session.execute(
        text("""
            SELECT * FROM (
                SELECT c.id, c.at, o.email AS actor, c.kind, c.reason, c.before, c.after, c.response_status,
                       false AS alarm, c.sale_id, s.title
                FROM commands c JOIN operators o ON o.id = c.operator_id LEFT JOIN sales s ON s.id = c.sale_id
                WHERE c.merchant_id = :merchant
                UNION ALL
                SELECT e.id, e.at, 'platform', e.kind, NULL, NULL, e.detail, 200, e.alarm, e.sale_id, s.title
                FROM sale_events e JOIN sales s ON s.id = e.sale_id WHERE s.merchant_id = :merchant
            ) found
            WHERE CAST(:at AS timestamptz) IS NULL OR (at, id) < (CAST(:at AS timestamptz), CAST(:id AS uuid))
            ORDER BY at DESC, id DESC LIMIT :rows
        """),
        {
            "merchant": merchant_id,
            "at": after.at if after else None,
            "id": after.id if after else None,
            "rows": limit + 1,
        },
    )
    return found.all()


async def movements(session: AsyncSession, sale_id: UUID, until: datetime, points: int) -> Sequence[Row[Any]]:
    """(at, available, reserved, sold): the ledger's counters at no more than about ``points`` moments until a time."""
    found = await session.execute(
        text("""
            WITH summed AS (
                SELECT at, id, sum(available_delta) OVER w AS available, sum(reserved_delta) OVER w AS reserved,
                       sum(sold_delta) OVER w AS sold, row_number() OVER w AS place, count(*) OVER () AS number
                FROM ledger_entries WHERE sale_id = :sale AND at <= CAST(:until AS timestamptz)
                WINDOW w AS (ORDER BY at, id)
            )
            SELECT at, available::bigint AS available, reserved::bigint AS reserved, sold::bigint AS sold FROM summed
            WHERE place = 1 OR place = number OR place % greatest(1, number / CAST(:points AS bigint)) = 0
            ORDER BY at, id
        """),
        {"sale": sale_id, "until": until, "points": points},
    )
    return found.all()
