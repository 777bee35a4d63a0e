"""Queries on commands, the operators' activity."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.models import Command, Sale


async def insert_once(session: AsyncSession, values: dict[str, Any]) -> bool:
    """Insert a command; False when its operator has used the key before.

    While another transaction is inserting the same key this waits for its end, so that two equal calls at
    once are decided one after the other.
    """
    statement = (
        insert(Command)
        .values(**values)
        .on_conflict_do_nothing(index_elements=["operator_id", "idempotency_key"])
        .returning(col(Command.id))
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def by_key(session: AsyncSession, operator_id: UUID, idempotency_key: str) -> Command:
    statement = select(Command).where(
        col(Command.operator_id) == operator_id, col(Command.idempotency_key) == idempotency_key
    )
    return (await session.execute(statement)).scalar_one()


async def note(session: AsyncSession, command_id: UUID, values: dict[str, Any]) -> None:
    """Record what a command that is still under way has changed so far."""
    await session.execute(update(Command).where(col(Command.id) == command_id).values(**values))


async def finish(session: AsyncSession, command_id: UUID, values: dict[str, Any]) -> bool:
    """Record the answer of a command; False when somebody else has finished it before."""
    statement = (
        update(Command)
        .where(col(Command.id) == command_id, col(Command.done_at).is_(None))
        .values(done_at=func.now(), **values)
        .returning(col(Command.id))
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def is_sale_of(session: AsyncSession, sale_id: UUID, merchant_id: UUID) -> bool:
    statement = select(col(Sale.id)).where(col(Sale.id) == sale_id, col(Sale.merchant_id) == merchant_id)
    return (await session.execute(statement)).scalar_one_or_none() is not None
