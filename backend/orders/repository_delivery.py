"""Queries about where orders are to be delivered."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.models import DeliveryDetails, Sale


async def sale_that_delivers(session: AsyncSession, slug: str) -> UUID | None:
    """A published sale that asks for an address."""
    found = await session.execute(
        select(col(Sale.id)).where(
            col(Sale.slug) == slug, col(Sale.published_version).is_not(None), col(Sale.delivery_required)
        )
    )
    return found.scalar_one_or_none()


async def details_of(session: AsyncSession, sale_id: UUID, shopper_id: UUID) -> DeliveryDetails | None:
    return await session.get(DeliveryDetails, (sale_id, shopper_id))


async def put_details(session: AsyncSession, sale_id: UUID, shopper_id: UUID, values: Mapping[str, str]) -> None:
    """Keep the details, in the place of those before."""
    changed = {**values, "updated_at": func.now()}
    await session.execute(
        insert(DeliveryDetails)
        .values(sale_id=sale_id, shopper_id=shopper_id, **changed)
        .on_conflict_do_update(index_elements=["sale_id", "shopper_id"], set_=changed)
    )
