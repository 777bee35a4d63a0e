"""Long lists of a sale, page by page: orders, messages, activity."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from backend.api import AnyOperator, Session
from backend.core.encoding import from_base64url, to_base64url
from backend.core.errors import invalid_field
from backend.core.fields import Money
from backend.core.http import StrictRoute
from backend.core.text import mask_contact
from backend.models import NotificationStatus, OrderStatus
from backend.operator_api import repository
from backend.operator_api.repository import PAGE, Position
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

Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before")]
_POSITION = struct.Struct(">q16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = int(timedelta(days=365 * 7_000).total_seconds()) * 1_000_000


def _cursor(at: datetime, row_id: UUID) -> str:
    return to_base64url(_POSITION.pack((at - _EPOCH) // timedelta(microseconds=1), row_id.bytes))


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    raw = from_base64url(cursor)
    if raw is None or len(raw) != _POSITION.size:
        raise invalid_field("cursor", "Give the next_cursor of the page before.")
    micros, row_id = _POSITION.unpack(raw)
    if not 0 <= micros <= _LATEST_US:
        raise invalid_field("cursor", "Give the next_cursor of the page before.")
    return Position(_EPOCH + timedelta(microseconds=micros), UUID(bytes=row_id))


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
    rows = await repository.orders_of(session, sale_id, search=q, status=status, after=_position(cursor))
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
    return OrdersView(orders=orders, next_cursor=_cursor(orders[-1].created_at, orders[-1].id) if more else None)


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
    rows = await repository.notifications_of(session, sale_id, status=status, after=_position(cursor))
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
        notifications=found, next_cursor=_cursor(found[-1].created_at, found[-1].id) if more else None
    )


@router.get("/activity")
async def read_activity(session: Session, actor: AnyOperator, sale_id: UUID, cursor: Cursor = None) -> ActivityView:
    """What operators commanded and what the platform did by itself, newest first."""
    await get_sale(session, actor.merchant_id, sale_id)
    rows = await repository.activity_of(session, sale_id, after=_position(cursor))
    lines = [activity_line(row) for row in rows[:PAGE]]
    more = len(rows) > PAGE
    return ActivityView(activity=lines, next_cursor=_cursor(lines[-1].at, lines[-1].id) if more else None)
