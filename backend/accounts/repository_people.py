"""Queries on a merchant's operators and their open sessions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.models import Operator, OperatorSession, Role

SESSIONS_MAX = 100


async def operators_of(session: AsyncSession, merchant_id: UUID) -> Sequence[Row[Any]]:
    """Everybody of a merchant, by address, with when each signed in last."""
    found = await session.execute(
        text("""
            SELECT o.id, o.email, o.role, o.created_at, o.disabled_at,
                   (SELECT max(s.created_at) FROM operator_sessions s WHERE s.operator_id = o.id) AS signed_in_at
            FROM operators o WHERE o.merchant_id = :merchant ORDER BY lower(o.email)
        """),
        {"merchant": merchant_id},
    )
    return found.all()


async def lock_people(session: AsyncSession, merchant_id: UUID) -> None:
    """Changes to a merchant's people one after the other: two owners must not dismiss each other at once.

    NO KEY: the record of each command already shares the merchant's key, and two that wanted it for themselves
    would wait for each other.
    """
    await session.execute(
        text("SELECT 1 FROM merchants WHERE id = :merchant FOR NO KEY UPDATE"), {"merchant": merchant_id}
    )


async def operator_of(session: AsyncSession, merchant_id: UUID, operator_id: UUID) -> Operator | None:
    statement = select(Operator).where(col(Operator.id) == operator_id, col(Operator.merchant_id) == merchant_id)
    return (await session.execute(statement)).scalar_one_or_none()


async def owners_left(session: AsyncSession, merchant_id: UUID, without: UUID) -> int:
    statement = select(func.count()).where(
        col(Operator.merchant_id) == merchant_id,
        col(Operator.role) == Role.OWNER,
        col(Operator.disabled_at).is_(None),
        col(Operator.id) != without,
    )
    return int((await session.execute(statement)).scalar_one())


async def change_operator(session: AsyncSession, operator_id: UUID, role: Role, *, disabled: bool) -> None:
    """Set role and whether they may sign in; the time of an earlier dismissal stays."""
    disabled_at = func.coalesce(col(Operator.disabled_at), func.now()) if disabled else None
    await session.execute(
        update(Operator).where(col(Operator.id) == operator_id).values(role=role, disabled_at=disabled_at)
    )


async def revoke_sessions(session: AsyncSession, operator_id: UUID) -> int:
    """End every open session of an operator; how many there were."""
    ended = await session.execute(
        update(OperatorSession)
        .where(col(OperatorSession.operator_id) == operator_id, col(OperatorSession.revoked_at).is_(None))
        .values(revoked_at=func.now())
        .returning(col(OperatorSession.id))
    )
    return len(ended.all())


async def sessions_of(session: AsyncSession, merchant_id: UUID) -> Sequence[Row[Any]]:
    """Open sessions of a merchant's people, the newest first."""
    found = await session.execute(
        text(f"""
            SELECT s.id, s.operator_id, o.email, s.created_at, s.expires_at
            FROM operator_sessions s JOIN operators o ON o.id = s.operator_id
            WHERE o.merchant_id = :merchant AND s.revoked_at IS NULL AND s.expires_at > now()
              AND o.disabled_at IS NULL
            ORDER BY s.created_at DESC, s.id LIMIT {SESSIONS_MAX}
        """),
        {"merchant": merchant_id},
    )
    return found.all()


async def revoke_one(session: AsyncSession, merchant_id: UUID, session_id: UUID) -> str | None:
    """End one session of this merchant's; whose it was, None when there is no open one."""
    found = await session.execute(
        text("""
            UPDATE operator_sessions s SET revoked_at = now() FROM operators o
            WHERE s.id = :id AND o.id = s.operator_id AND o.merchant_id = :merchant AND s.revoked_at IS NULL
            RETURNING o.email
        """),
        {"id": session_id, "merchant": merchant_id},
    )
    return found.scalar_one_or_none()
