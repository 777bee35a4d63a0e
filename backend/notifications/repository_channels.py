"""Queries on a merchant's channels, words, and the copies of messages for its team."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.core.ids import new_id
from backend.models import Audience, MessageTemplate, NotificationChannel, NotificationKind


async def channels_of(session: AsyncSession, merchant_id: UUID) -> Sequence[NotificationChannel]:
    statement = (
        select(NotificationChannel)
        .where(col(NotificationChannel.merchant_id) == merchant_id)
        .order_by(col(NotificationChannel.audience), col(NotificationChannel.name))
    )
    return (await session.execute(statement)).scalars().all()


async def channel_of(session: AsyncSession, merchant_id: UUID, channel_id: UUID) -> NotificationChannel | None:
    statement = select(NotificationChannel).where(
        col(NotificationChannel.id) == channel_id, col(NotificationChannel.merchant_id) == merchant_id
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def insert_channel(session: AsyncSession, values: dict[str, Any]) -> bool:
    """False when the name is taken, or the merchant writes to its shoppers by another one."""
    made = await session.execute(
        insert(NotificationChannel).values(**values).on_conflict_do_nothing().returning(col(NotificationChannel.id))
    )
    return made.first() is not None


async def delete_channel(session: AsyncSession, channel_id: UUID) -> None:
    """Copies that wait for it go with it."""
    await session.execute(delete(NotificationChannel).where(col(NotificationChannel.id) == channel_id))


async def shoppers_channels(session: AsyncSession, merchants: Sequence[UUID]) -> Sequence[NotificationChannel]:
    statement = select(NotificationChannel).where(
        col(NotificationChannel.merchant_id).in_(merchants), col(NotificationChannel.audience) == Audience.SHOPPERS
    )
    return (await session.execute(statement)).scalars().all()


async def templates_of(session: AsyncSession, merchants: Sequence[UUID]) -> Sequence[MessageTemplate]:
    statement = select(MessageTemplate).where(col(MessageTemplate.merchant_id).in_(merchants))
    return (await session.execute(statement)).scalars().all()


async def put_template(
    session: AsyncSession, merchant_id: UUID, kind: NotificationKind, subject: str, body: str
) -> None:
    changed = {"subject": subject, "body": body, "updated_at": func.now()}
    await session.execute(
        insert(MessageTemplate)
        .values(merchant_id=merchant_id, kind=kind, **changed)
        .on_conflict_do_update(index_elements=["merchant_id", "kind"], set_=changed)
    )


async def delete_template(session: AsyncSession, merchant_id: UUID, kind: NotificationKind) -> None:
    await session.execute(
        delete(MessageTemplate).where(
            col(MessageTemplate.merchant_id) == merchant_id, col(MessageTemplate.kind) == kind
        )
    )


async def insert_copies(session: AsyncSession, notifications: Sequence[UUID]) -> None:
    """A copy of each message for each team's channel that wants its kind; once, however often the message is tried."""
    wanted = (
        await session.execute(
            text("""
                SELECT n.id AS notification_id, c.id AS channel_id
                FROM notifications n JOIN sales s ON s.id = n.sale_id
                JOIN notification_channels c ON c.merchant_id = s.merchant_id
                WHERE n.id = ANY(:ids) AND c.audience = 'team' AND c.kinds @> to_jsonb(CAST(n.kind AS text))
                  AND NOT EXISTS (SELECT 1 FROM notification_copies k
                                  WHERE k.notification_id = n.id AND k.channel_id = c.id)
            """),
            {"ids": list(notifications)},
        )
    ).all()
    if wanted:
        await session.execute(
            text("""
                INSERT INTO notification_copies (id, notification_id, channel_id, status)
                VALUES (:id, :notification, :channel, 'pending') ON CONFLICT DO NOTHING
            """),
            [{"id": new_id(), "notification": row.notification_id, "channel": row.channel_id} for row in wanted],
        )


async def claim_copies(session: AsyncSession, *, limit: int, lease: timedelta) -> Sequence[Row[Any]]:
    """Take due copies for ``lease`` and count the attempt: (id, notification_id, channel, attempts)."""
    claimed = await session.execute(
        text("""
            WITH due AS (
                SELECT id FROM notification_copies WHERE status = 'pending' AND due_at <= clock_timestamp()
                ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
            )
            UPDATE notification_copies k SET attempts = k.attempts + 1, due_at = clock_timestamp() + :lease
            FROM due, notification_channels c WHERE k.id = due.id AND c.id = k.channel_id
            RETURNING k.id, k.notification_id, k.attempts, c.id AS channel_id, c.merchant_id, c.sealed_url
        """),
        {"limit": limit, "lease": lease},
    )
    return claimed.all()


async def finish_copy(
    session: AsyncSession, copy_id: UUID, attempts: int, *, status: str, error: str | None, again_in: timedelta
) -> None:
    """Write down what came of a try, if the copy is still ours: its count of attempts is the lease's fencing token."""
    await session.execute(
        text("""
            UPDATE notification_copies SET status = CAST(:status AS text), last_error = :error,
                   due_at = clock_timestamp() + :again,
                   sent_at = CASE WHEN CAST(:status AS text) = 'sent' THEN clock_timestamp() END
            WHERE id = :id AND attempts = :attempts AND status = 'pending'
        """),
        {"id": copy_id, "attempts": attempts, "status": status, "error": error, "again": again_in},
    )


async def copies_summary(session: AsyncSession, merchant_id: UUID) -> Sequence[Row[Any]]:
    """(channel_id, pending, sent, dead, last_error) of each channel of a merchant that had copies."""
    found = await session.execute(
        text("""
            SELECT k.channel_id, count(*) FILTER (WHERE k.status = 'pending') AS pending,
                   count(*) FILTER (WHERE k.status = 'sent') AS sent, count(*) FILTER (WHERE k.status = 'dead') AS dead,
                   (array_agg(k.last_error ORDER BY k.due_at DESC) FILTER (WHERE k.last_error IS NOT NULL))[1]
                       AS last_error
            FROM notification_copies k JOIN notification_channels c ON c.id = k.channel_id
            WHERE c.merchant_id = :merchant GROUP BY k.channel_id
        """),
        {"merchant": merchant_id},
    )
    return found.all()
