"""What the home page asks of the ledger: which of a merchant's sales need a hand, and why."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

NEEDS_MAX = 50
"""Sales named on one page; who has more than that looks through the list of sales."""


async def needs_of(session: AsyncSession, merchant_id: UUID) -> Sequence[Row[Any]]:
    """(need, sale_id, number, title) of each sale with open dead letters, refunds due, messages given up, or a last run
    with findings. Each branch has an index that begins with what it looks for, but for orders and messages: those
    are counted within the merchant's own sales."""
    rows = await session.execute(
        text(f"""
            WITH mine AS (SELECT id FROM sales WHERE merchant_id = :merchant),
            found AS (SELECT 'dead_letters' AS need, d.sale_id, count(*) AS number
                FROM dead_letters d JOIN mine ON mine.id = d.sale_id
            WHERE d.resolved_at IS NULL AND d.source <> 'notification' GROUP BY d.sale_id
            UNION ALL
            SELECT 'refunds_due', o.sale_id, count(*) FROM orders o JOIN mine ON mine.id = o.sale_id
            WHERE o.status = 'refund_due' GROUP BY o.sale_id
            UNION ALL
            SELECT 'messages_dead', n.sale_id, count(*) FROM notifications n JOIN mine ON mine.id = n.sale_id
            WHERE n.status = 'dead' AND n.last_error IS DISTINCT FROM 'no contact is known' GROUP BY n.sale_id
            UNION ALL
            SELECT 'findings', mine.id, jsonb_array_length(r.findings) FROM mine CROSS JOIN LATERAL (
                SELECT verdict, findings FROM reconciliation_runs WHERE sale_id = mine.id
                ORDER BY started_at DESC LIMIT 1) r
            WHERE r.verdict = 'findings')
            SELECT found.*, sales.title FROM found JOIN sales ON sales.id = found.sale_id
            ORDER BY found.need, found.sale_id LIMIT {NEEDS_MAX}
        """),
        {"merchant": merchant_id},
    )
    return rows.all()


async def dead_letters_of(session: AsyncSession, merchant_id: UUID, sale_id: UUID | None) -> Sequence[Row[Any]]:
    """What nobody has dealt with yet, oldest first."""
    rows = await session.execute(
        text(f"""
            SELECT d.id, d.sale_id, d.source, d.reference, d.error, d.payload, d.created_at
            FROM dead_letters d JOIN sales s ON s.id = d.sale_id
            WHERE s.merchant_id = :merchant AND d.resolved_at IS NULL
              AND (CAST(:sale AS uuid) IS NULL OR d.sale_id = :sale)
            ORDER BY d.created_at, d.id LIMIT {NEEDS_MAX}
        """),
        {"merchant": merchant_id, "sale": sale_id},
    )
    return rows.all()


async def resolve_dead_letter(session: AsyncSession, merchant_id: UUID, letter_id: UUID) -> Row[Any] | None:
    """Mark one as dealt with; None when there is none open of this merchant."""
    rows = await session.execute(
        text("""
            UPDATE dead_letters d SET resolved_at = now() FROM sales s
            WHERE d.id = :id AND s.id = d.sale_id AND s.merchant_id = :merchant AND d.resolved_at IS NULL
            RETURNING d.id, d.sale_id, d.source, d.reference, d.error
        """),
        {"id": letter_id, "merchant": merchant_id},
    )
    return rows.first()
