"""A shopper's own orders, to look at."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused
from backend.orders import repository_shopper as repository
from backend.orders.repository_shopper import ShopperOrder

PAGE_MAX = 100


async def orders_of(session: AsyncSession, shopper_id: UUID, *, before: UUID | None = None) -> Sequence[ShopperOrder]:
    """The newest ``PAGE_MAX`` orders of a shopper, or those older than ``before``."""
    return await repository.orders_of(session, shopper_id, limit=PAGE_MAX, before=before)


async def order_of(session: AsyncSession, shopper_id: UUID, order_id: UUID) -> ShopperOrder:
    """One of them. Raises ``Refused`` NOT_FOUND, also for somebody else's."""
    found = await repository.order_of(session, shopper_id, order_id)
    if found is None:
        raise Refused(Code.NOT_FOUND)
    return found
