"""Queries for a shopper's list of orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.models import Order, Sale, SaleItem, Sku


@dataclass(frozen=True, slots=True)
class ShopperOrder:
    """An order with the words that tell a shopper what it is."""

    order: Order
    slug: str
    title: str
    time_zone: str
    name: str


def _orders(shopper_id: UUID) -> Select[Order, str, str, str, str]:
    return (
        select(Order, col(Sale.slug), col(Sale.title), col(Sale.time_zone), col(Sku.name))
        .join(Sale, col(Sale.id) == col(Order.sale_id))
        .join(SaleItem, col(SaleItem.id) == col(Order.item_id))
        .join(Sku, col(Sku.id) == col(SaleItem.sku_id))
        .where(col(Order.shopper_id) == shopper_id)
    )


async def orders_of(
    session: AsyncSession, shopper_id: UUID, *, limit: int, before: UUID | None
) -> Sequence[ShopperOrder]:
    """A shopper's orders, newest first; with ``before``, those older than that one of hers."""
    statement = _orders(shopper_id).order_by(col(Order.created_at).desc(), col(Order.id).desc()).limit(limit)
    if before is not None:
        # Of two orders of one drain, committed at one instant, the id decides: a page is never cut between them.
        border = select(col(Order.created_at), col(Order.id)).where(
            col(Order.id) == before, col(Order.shopper_id) == shopper_id
        )
        statement = statement.where(tuple_(col(Order.created_at), col(Order.id)) < border.scalar_subquery())
    return [ShopperOrder(*row) for row in await session.execute(statement)]


async def order_of(session: AsyncSession, shopper_id: UUID, order_id: UUID) -> ShopperOrder | None:
    """A shopper's own order."""
    row = (await session.execute(_orders(shopper_id).where(col(Order.id) == order_id))).one_or_none()
    return ShopperOrder(*row) if row else None
