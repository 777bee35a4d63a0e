"""Queries on merchants, operators and their sessions."""

from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import case
from sqlmodel import col

from backend.core.ids import new_id
from backend.models import Merchant, Operator, OperatorSession, Role, SignInGuard


async def merchant_named(session: AsyncSession, name: str) -> UUID:
    """The merchant's id; made when missing, once also when two ask at the same time."""
    await session.execute(
        insert(Merchant).values(id=new_id(), name=name).on_conflict_do_nothing(index_elements=["name"])
    )
    return (await session.execute(select(col(Merchant.id)).where(col(Merchant.name) == name))).scalar_one()


async def insert_operator(
    session: AsyncSession, *, merchant_id: UUID, email: str, role: Role, password_hash: str
) -> UUID | None:
    """The new operator's id, None when the address is taken."""
    statement = (
        insert(Operator)
        .values(id=new_id(), merchant_id=merchant_id, email=email, role=role, password_hash=password_hash)
        .on_conflict_do_nothing()
        .returning(col(Operator.id))
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def operator_by_email(session: AsyncSession, email: str) -> Operator | None:
    statement = select(Operator).where(func.lower(col(Operator.email)) == email)
    return (await session.execute(statement)).scalar_one_or_none()


async def count_try(session: AsyncSession, email_hash: bytes, *, allowed: int, lock: timedelta) -> timedelta | None:
    """Count a try to sign in; how long the address stays locked, None when this try may be made.

    Counted before the password is looked at, so that parallel tries cannot exceed ``allowed``. Tries are
    forgotten after ``lock`` without one.
    """
    guard = SignInGuard
    now = func.now()
    # Without the coalesce a guard that was never locked would be neither fresh nor old (NULL).
    fresh = (col(guard.tried_at) <= now - lock) | func.coalesce(col(guard.locked_until) <= now, False)
    tries = case((fresh, 1), else_=col(guard.tries) + 1)
    still_locked = col(guard.locked_until) > now
    locked_until = case(
        (still_locked, col(guard.locked_until)), (~fresh & (col(guard.tries) >= allowed), now + lock), else_=None
    )
    statement = (
        insert(guard)
        .values(email_hash=email_hash, tries=1)
        .on_conflict_do_update(
            index_elements=["email_hash"],
            set_={
                "tries": tries,
                "locked_until": locked_until,
                "tried_at": case((still_locked, col(guard.tried_at)), else_=now),
            },
        )
        .returning(col(guard.locked_until) - now)
    )
    # The types know a difference of two times as a time.
    return cast("timedelta | None", (await session.execute(statement)).scalar_one())


async def forget_tries(session: AsyncSession, email_hash: bytes, *, older_than: timedelta) -> None:
    """Clear an address after a right password, and whatever is old, so that the table stays small."""
    await session.execute(
        delete(SignInGuard).where(
            (col(SignInGuard.email_hash) == email_hash) | (col(SignInGuard.tried_at) < func.now() - older_than)
        )
    )


async def insert_session(session: AsyncSession, operator_id: UUID, token_hash: bytes, ttl: timedelta) -> datetime:
    """Store a session and tell when it ends, by the database's clock."""
    statement = (
        insert(OperatorSession)
        .values(id=new_id(), operator_id=operator_id, token_hash=token_hash, expires_at=func.now() + ttl)
        .returning(col(OperatorSession.expires_at))
    )
    return (await session.execute(statement)).scalar_one()


async def operator_of_token(session: AsyncSession, token_hash: bytes) -> Row[Operator, str, UUID] | None:
    """Operator, merchant's name and session of a token that is valid now."""
    statement = (
        select(Operator, col(Merchant.name), col(OperatorSession.id))
        .join(OperatorSession, col(OperatorSession.operator_id) == col(Operator.id))
        .join(Merchant, col(Merchant.id) == col(Operator.merchant_id))
        .where(
            col(OperatorSession.token_hash) == token_hash,
            col(OperatorSession.revoked_at).is_(None),
            col(OperatorSession.expires_at) > func.now(),
            col(Operator.disabled_at).is_(None),
        )
    )
    return (await session.execute(statement)).one_or_none()


async def revoke_session(session: AsyncSession, session_id: UUID) -> None:
    await session.execute(
        update(OperatorSession)
        .where(col(OperatorSession.id) == session_id, col(OperatorSession.revoked_at).is_(None))
        .values(revoked_at=func.now())
    )
