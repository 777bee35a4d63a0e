"""Where a shopper wants the orders of one sale delivered.

Asked before the opening, so that at the opening one tap is enough. The gate knows nothing of it: nobody is refused
for want of an address, and it can be given after the purchase as well.
"""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused
from backend.models import DeliveryDetails
from backend.orders import repository_delivery as repository


async def delivery_of(session: AsyncSession, slug: str, shopper_id: UUID) -> DeliveryDetails | None:
    """What the shopper gave for this sale. Raises ``NOT_FOUND`` for a sale that asks for no address."""
    return await repository.details_of(session, await _sale(session, slug), shopper_id)


async def delivery_for(session: AsyncSession, sale_id: UUID, shopper_id: UUID) -> DeliveryDetails | None:
    """What a shopper gave for a sale, for its merchant; None when nothing was given."""
    return await repository.details_of(session, sale_id, shopper_id)


async def keep_delivery(session: AsyncSession, slug: str, shopper_id: UUID, values: Mapping[str, str]) -> None:
    """Keep what the shopper gives for this sale, in the place of what was given before. Raises ``NOT_FOUND``."""
    await repository.put_details(session, await _sale(session, slug), shopper_id, values)


async def _sale(session: AsyncSession, slug: str) -> UUID:
    sale_id = await repository.sale_that_delivers(session, slug)
    if sale_id is None:
        raise Refused(Code.NOT_FOUND)
    return sale_id
