"""Long lists of a sale, page by page: orders, messages, activity."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from backend.api import AnyOperator, Session
from backend.api.cursors import Cursor, cursor_of, position_of
from backend.core.fields import Money
from backend.core.http import StrictRoute
from backend.core.text import mask_contact
from backend.models import NotificationStatus, OrderStatus
from backend.operator_api import repository
from backend.operator_api.repository import PAGE
from backend.operator_api.sales import Search
from backend.operator_api.schemas import (
    ActivityView,
    NotificationsView,
    NotificationView,
    OrdersView,
    OrderView,
)
from backend.operator_api.views import activity_line
from backend.sales import get_sale

router = APIRouter(prefix="/sales/{sale_id}", route_class=StrictRoute)


def _masked(contact: str | None) -> str:
    # A shop's own token names shoppers whose contact never came to us.
    return mask_contact(contact) if contact else "•••"


@router.get("/orders")
async def read_orders(
    session: Session,
    actor: AnyOperator,
    sale_id: UUID,
    q: Search = None,
    status: Annotated[OrderStatus | None, Query()] = None,
    cursor: Cursor = None,
) -> OrdersView:
    """Orders, newest first. ``q``: an order's, reservation's or shopper's id, a whole contact, or part of a SKU."""
    await get_sale(session, actor.merchant_id, sale_id)
    rows = await repository.orders_of(session, sale_id, search=q, status=status, after=position_of(cursor))
    orders = [
        OrderView(
            id=order.id,
            reservation_id=order.reservation_id,
            sku=order.sku,
            quantity=order.quantity,
            status=order.status.value,
            price=Money(amount_minor=order.price_minor, currency=order.currency),
            shopper_id=order.shopper_id,
            contact_masked=_masked(contact),
            created_at=order.created_at,
            pay_by=order.pay_by,
            reason=reason,
        )
        for order, reason, contact in rows[:PAGE]
    ]
    more = len(rows) > PAGE
    return OrdersView(orders=orders, next_cursor=cursor_of(orders[-1].created_at, orders[-1].id) if more else None)


@router.get("/notifications")
async def read_notifications(
    session: Session,
    actor: AnyOperator,
    sale_id: UUID,
    status: Annotated[NotificationStatus | None, Query()] = None,
    cursor: Cursor = None,
) -> NotificationsView:
    """Messages to shoppers, newest first; contacts are masked."""
    await get_sale(session, actor.merchant_id, sale_id)
    rows = await repository.notifications_of(session, sale_id, status=status, after=position_of(cursor))
    found = [
        NotificationView(
            id=one.id,
            kind=one.kind.value,
            order_id=one.order_id,
            contact_masked=_masked(contact),
            status=one.status.value,
            attempts=one.attempts,
            last_error=one.last_error,
            created_at=one.created_at,
            sent_at=one.sent_at,
        )
        for one, contact in rows[:PAGE]
    ]
    more = len(rows) > PAGE
    return NotificationsView(
        notifications=found, next_cursor=cursor_of(found[-1].created_at, found[-1].id) if more else None
    )


@router.get("/activity")
async def read_activity(session: Session, actor: AnyOperator, sale_id: UUID, cursor: Cursor = None) -> ActivityView:
    """What operators commanded and what the platform did by itself, newest first."""
    await get_sale(session, actor.merchant_id, sale_id)
    rows = await repository.activity_of(session, sale_id, after=position_of(cursor))
    lines = [activity_line(row) for row in rows[:PAGE]]
    more = len(rows) > PAGE
    return ActivityView(activity=lines, next_cursor=cursor_of(lines[-1].at, lines[-1].id) if more else None)
