"""Queries about what a sale's page shows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.models import Command, Operator, SaleItem

CHANGES_MAX = 50
_OF_SALES = ("sale.edit",)
_OF_SKUS = ("sku.edit", "sku.picture", "sku.picture_changed", "sku.picture_removed")


async def changes_since(session: AsyncSession, merchant_id: UUID, sale_id: UUID, since: datetime) -> Sequence[Any]:
    """What operators have changed of a sale's terms, and of the SKUs it sells, after ``since``, the newest first.

    A refused command leaves no line of these kinds. At most ``CHANGES_MAX``.
    """
    found_skus = await session.scalars(select(col(SaleItem.sku_id)).where(col(SaleItem.sale_id) == sale_id))
    skus = [str(one) for one in found_skus]
    after: Any = col(Command.after)
    before: Any = col(Command.before)
    of_its_skus = or_(after["id"].astext.in_(skus), after["sku_id"].astext.in_(skus), before["sku_id"].astext.in_(skus))
    found = await session.execute(
        select(
            col(Command.id).label("id"),
            col(Command.at).label("at"),
            col(Operator.email).label("actor"),
            col(Command.kind).label("kind"),
            col(Command.reason).label("reason"),
            before.label("before"),
            after.label("after"),
            col(Command.response_status).label("response_status"),
            literal(False).label("alarm"),
        )
        .join(Operator, col(Operator.id) == col(Command.operator_id))
        .where(
            col(Command.merchant_id) == merchant_id,
            col(Command.at) > since,
            or_(
                and_(col(Command.sale_id) == sale_id, col(Command.kind).in_(_OF_SALES)),
                and_(col(Command.kind).in_(_OF_SKUS), of_its_skus),
            ),
        )
        .order_by(col(Command.at).desc(), col(Command.id).desc())
        .limit(CHANGES_MAX)
    )
    return found.all()
