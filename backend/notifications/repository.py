"""Queries on the notification outbox. Rows are leased by moving ``due_at``: a dead sender's come back by themselves."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Update, func, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.core.ids import new_id
from backend.models import (
    Audience,
    DeadLetter,
    Notification,
    NotificationChannel,
    NotificationKind,
    NotificationStatus,
    Order,
    Reservation,
    Sale,
    SaleItem,
    Shopper,
    Sku,
)
from backend.notifications.messages import Draft, OrderFacts


async def claim_due(
    session: AsyncSession, *, limit: int, lease: timedelta, with_own_channel: bool = False
) -> list[UUID]:
    """Take due rows for ``lease`` and count the attempt; rows that another sender is taking are passed over.

    ``with_own_channel`` leaves alone what only the platform's channel could carry.
    """
    own: Any = true()
    if with_own_channel:
        own = col(Notification.sale_id).in_(
            select(col(Sale.id))
            .join(NotificationChannel, col(NotificationChannel.merchant_id) == col(Sale.merchant_id))
            .where(col(NotificationChannel.audience) == Audience.SHOPPERS)
        )
    due = (
        select(col(Notification.id))
        .where(
            col(Notification.status) == NotificationStatus.PENDING,
            col(Notification.due_at) <= func.clock_timestamp(),
            own,
        )
        .order_by(col(Notification.due_at))
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = await session.execute(
        update(Notification)
        .where(col(Notification.id) == due.c.id)
        .values(
            attempts=col(Notification.attempts) + 1,
            due_at=func.clock_timestamp() + lease,
        )
        .returning(col(Notification.id))
    )
    return list(claimed.scalars())


async def drafts(session: AsyncSession, ids: Sequence[UUID]) -> list[Draft]:
    """What the messages of these rows are made from."""
    rows = await session.execute(
        select(
            Notification,
            Order,
            Sale,
            col(Sku.name),
            col(Reservation.reason),
            col(Shopper.contact),
            func.clock_timestamp() - col(Notification.created_at),
        )
        .outerjoin(Order, col(Order.id) == col(Notification.order_id))
        .outerjoin(Sale, col(Sale.id) == col(Order.sale_id))
        .outerjoin(SaleItem, col(SaleItem.id) == col(Order.item_id))
        .outerjoin(Sku, col(Sku.id) == col(SaleItem.sku_id))
        .outerjoin(Reservation, col(Reservation.id) == col(Order.reservation_id))
        .outerjoin(Shopper, col(Shopper.id) == col(Order.shopper_id))
        .where(col(Notification.id).in_(ids))
        .order_by(col(Notification.created_at))
    )
    found = []
    for row, order, sale, item, reason, contact, age in rows:
        facts = None
        if order is not None:
            facts = OrderFacts(
                order.id,
                sale.slug,
                sale.title,
                item,
                order.quantity,
                order.price_minor,
                order.currency,
                sale.time_zone,
                order.pay_by,
                reason,
            )
        merchant_id = sale.merchant_id if sale is not None else None
        found.append(
            Draft(row.id, row.kind, row.attempts, row.recipient or contact, age, facts, merchant_id, row.payload)
        )
    return found


async def mark_sent(session: AsyncSession, notification_id: UUID, attempts: int) -> None:
    """Done, unless the lease ran out and somebody else has taken the row meanwhile."""
    await session.execute(
        _held(notification_id, attempts).values(
            status=NotificationStatus.SENT,
            sent_at=func.clock_timestamp(),
            last_error=None,
            payload=_without_code(),
        )
    )


async def mark_failed(
    session: AsyncSession, notification_id: UUID, attempts: int, *, error: str, again_in: timedelta
) -> None:
    """To be tried again."""
    await session.execute(
        _held(notification_id, attempts).values(due_at=func.clock_timestamp() + again_in, last_error=error)
    )


async def mark_dead(session: AsyncSession, notification_id: UUID, attempts: int, *, error: str) -> bool:
    """Given up; False when somebody else has taken the row meanwhile."""
    gone = await session.execute(
        _held(notification_id, attempts)
        .values(status=NotificationStatus.DEAD, last_error=error, payload=_without_code())
        .returning(col(Notification.id))
    )
    return gone.first() is not None


async def insert_dead_letter(
    session: AsyncSession, notification_id: UUID, *, error: str, kind: NotificationKind, attempts: int
) -> None:
    """For a person to look at: everything but the contact, which the row itself leads to."""
    sale_id = select(col(Notification.sale_id)).where(col(Notification.id) == notification_id)
    await session.execute(
        insert(DeadLetter).values(
            id=new_id(),
            sale_id=sale_id.scalar_subquery(),
            source="notification",
            reference=str(notification_id),
            error=error,
            payload={"kind": kind.value, "attempts": attempts},
        )
    )


def _held(notification_id: UUID, attempts: int) -> Update:
    """The row, if it is still ours: the count of attempts is the lease's fencing token."""
    return update(Notification).where(
        col(Notification.id) == notification_id,
        col(Notification.attempts) == attempts,
        col(Notification.status) == NotificationStatus.PENDING,
    )


def _without_code() -> ColumnElement[Any]:
    """A sign-in code has no business in the table once it is out."""
    return col(Notification.payload).op("-")("code")
