"""Queries on the activity log's chain. JSON is read as PostgreSQL's own text: that is what the digests cover."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts.activity_chain import Head
from backend.models import ActivityPart

_FIELDS = """c.id, c.merchant_id, c.operator_id, c.sale_id, c.kind, c.idempotency_key, c.request_hash, c.reason, c.at,
    CAST(c.before AS text) AS before, CAST(c.after AS text) AS after, c.response_status,
    CAST(c.response_body AS text) AS response_body, c.done_at"""


async def command_as_stored(session: AsyncSession, command_id: UUID) -> Row[Any]:
    """A command's row as a later check will read it."""
    found = await session.execute(text(f"SELECT {_FIELDS} FROM commands c WHERE c.id = :id"), {"id": command_id})
    return found.one()


async def lock_head(session: AsyncSession, merchant_id: UUID) -> Row[Any] | None:
    """The merchant's head, held until the transaction ends: entries are numbered one after the other."""
    found = await session.execute(
        text("SELECT entries, digest, seal, broken_since FROM activity_heads WHERE merchant_id = :merchant FOR UPDATE"),
        {"merchant": merchant_id},
    )
    return found.one_or_none()


async def insert_head(session: AsyncSession, head: Head, seal: bytes) -> bool:
    """The first head of a merchant; False when another transaction was first, after waiting for its end."""
    made = await session.execute(
        text("""
            INSERT INTO activity_heads (merchant_id, entries, digest, seal) VALUES (:merchant, 0, :digest, :seal)
            ON CONFLICT DO NOTHING RETURNING merchant_id
        """),
        {"merchant": head.merchant_id, "digest": head.digest, "seal": seal},
    )
    return made.first() is not None


async def has_history(session: AsyncSession, merchant_id: UUID, *, but: UUID | None) -> bool:
    """Whether anything says that this merchant has been at work before: entries, other commands, products, sales."""
    found = await session.execute(
        text("""
            SELECT EXISTS (SELECT 1 FROM activity_entries WHERE merchant_id = :merchant)
                OR EXISTS (SELECT 1 FROM commands
                           WHERE merchant_id = :merchant AND id IS DISTINCT FROM CAST(:but AS uuid))
                OR (CAST(:but AS uuid) IS NULL AND (
                        EXISTS (SELECT 1 FROM skus WHERE merchant_id = :merchant)
                     OR EXISTS (SELECT 1 FROM sales WHERE merchant_id = :merchant)))
        """),
        {"merchant": merchant_id, "but": but},
    )
    return bool(found.scalar_one())


async def insert_entry(
    session: AsyncSession, merchant_id: UUID, seq: int, command_id: UUID, part: ActivityPart, digest: bytes
) -> None:
    await session.execute(
        text("""
            INSERT INTO activity_entries (merchant_id, seq, command_id, part, digest)
            VALUES (:merchant, :seq, :command, :part, :digest)
        """),
        {"merchant": merchant_id, "seq": seq, "command": command_id, "part": part.value, "digest": digest},
    )


async def move_head(session: AsyncSession, head: Head, seal: bytes) -> None:
    await session.execute(
        text("""
            UPDATE activity_heads SET entries = :entries, digest = :digest, seal = :seal,
                   broken_since = CAST(:broken AS timestamptz), updated_at = clock_timestamp()
            WHERE merchant_id = :merchant
        """),
        {
            "merchant": head.merchant_id,
            "entries": head.entries,
            "digest": head.digest,
            "seal": seal,
            "broken": head.broken_since,
        },
    )


async def head_and_last(session: AsyncSession, merchant_id: UUID) -> Row[Any]:
    """The head and the highest entry, in one statement: an append in between cannot set them apart."""
    found = await session.execute(
        text("""
            SELECT h.entries, h.digest, h.seal, h.broken_since,
                   (SELECT max(seq) FROM activity_entries WHERE merchant_id = :merchant) AS last
            FROM (SELECT 1) one LEFT JOIN activity_heads h ON h.merchant_id = :merchant
        """),
        {"merchant": merchant_id},
    )
    return found.one()


async def entries_after(
    session: AsyncSession, merchant_id: UUID, *, after: int, until: int, limit: int
) -> Sequence[Row[Any]]:
    """A page of entries, each with its command; of one whose command is gone the command's columns are None."""
    found = await session.execute(
        text(f"""
            SELECT e.seq, e.part, e.digest, e.command_id, {_FIELDS}
            FROM activity_entries e LEFT JOIN commands c ON c.id = e.command_id
            WHERE e.merchant_id = :merchant AND e.seq > :after AND e.seq <= :until ORDER BY e.seq LIMIT :rows
        """),
        {"merchant": merchant_id, "after": after, "until": until, "rows": limit},
    )
    return found.all()


async def last_entry(session: AsyncSession, merchant_id: UUID) -> Row[Any] | None:
    found = await session.execute(
        text("SELECT seq, digest FROM activity_entries WHERE merchant_id = :merchant ORDER BY seq DESC LIMIT 1"),
        {"merchant": merchant_id},
    )
    return found.one_or_none()


async def unchained(session: AsyncSession, merchant_id: UUID) -> Row[Any] | None:
    """A command that no entry stands for, or whose answer none stands for; the earliest by its time."""
    found = await session.execute(
        text("""
            SELECT c.id, c.kind, c.at FROM commands c
            WHERE c.merchant_id = :merchant AND NOT EXISTS (
                SELECT 1 FROM activity_entries e WHERE e.command_id = c.id AND e.merchant_id = c.merchant_id
                   AND (e.part = 'whole' OR (c.done_at IS NULL AND c.response_status IS NULL
                                             AND c.response_body IS NULL AND c.after IS NULL)))
            ORDER BY c.at, c.id LIMIT 1
        """),
        {"merchant": merchant_id},
    )
    return found.one_or_none()


async def now(session: AsyncSession) -> Any:
    return (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()


async def merchants(session: AsyncSession, name: str | None) -> Sequence[Row[Any]]:
    """(id, name) of every merchant, or of the one that is called so."""
    found = await session.execute(
        text("SELECT id, name FROM merchants WHERE CAST(:name AS text) IS NULL OR name = :name ORDER BY name"),
        {"name": name},
    )
    return found.all()
