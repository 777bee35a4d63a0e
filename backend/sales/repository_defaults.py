"""Queries on what a merchant's new sales start from."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.models import MerchantDefaults


async def defaults_of(session: AsyncSession, merchant_id: UUID) -> MerchantDefaults | None:
    return await session.get(MerchantDefaults, merchant_id)


async def put_defaults(session: AsyncSession, merchant_id: UUID, values: Mapping[str, Any]) -> None:
    """Keep the values, in the place of those before."""
    changed = {**values, "updated_at": func.now()}
    await session.execute(
        insert(MerchantDefaults)
        .values(merchant_id=merchant_id, **changed)
        .on_conflict_do_update(index_elements=["merchant_id"], set_=changed)
    )


async def delete_defaults(session: AsyncSession, merchant_id: UUID) -> None:
    await session.execute(delete(MerchantDefaults).where(col(MerchantDefaults.merchant_id) == merchant_id))
