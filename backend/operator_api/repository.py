"""Read-only queries over several features, for the operators' views."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, String, and_, cast, func, literal, or_, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.api.cursors import Position
from backend.core.ids import parse_id
from backend.models import (
    Command,
    GateOutbox,
    JournalCursor,
    Notification,
    NotificationStatus,
    Operator,
    Order,
    OrderStatus,
    OutboxKind,
    OutboxStatus,
    ReconciliationRun,
    Reservation,
    SaleEvent,
    SaleItem,
    Shopper,
)

PAGE = 50
COUNTED = (OutboxStatus.PENDING, OutboxStatus.REFUSED)
"""Outbox rows that the equation counts."""


async def orders_of(
    session: AsyncSession, sale_id: UUID, *, search: str | None, status: OrderStatus | None, after: Position | None
) -> Sequence[Row[Order, str | None, str | None]]:
    """A page of orders, newest first, with the reason of a rejection and the shopper's contact."""
    statement = (
        select(Order, col(Reservation.reason), col(Shopper.contact))
        .join(Reservation, col(Reservation.id) == col(Order.reservation_id))
        .outerjoin(Shopper, col(Shopper.id) == col(Order.shopper_id))
        .where(col(Order.sale_id) == sale_id)
    )
    if status is not None:
        statement = statement.where(col(Order.status) == status)
    if search:
        statement = statement.where(_matches(search))
    if after is not None:
        statement = statement.where(tuple_(col(Order.created_at), col(Order.id)) < (after.at, after.id))
    statement = statement.order_by(col(Order.created_at).desc(), col(Order.id).desc()).limit(PAGE + 1)
    return (await session.execute(statement)).all()


def _matches(search: str) -> Any:
    """An id names an order, a reservation or a shopper; a contact must be whole: a part of one would let an
    operator fish for addresses; anything else is looked for in SKUs."""
    wanted = parse_id(search.strip())
    if wanted is not None:
        return or_(col(Order.id) == wanted, col(Order.reservation_id) == wanted, col(Order.shopper_id) == wanted)
    if "@" in search:
        return col(Shopper.contact) == search.strip().lower()
    return col(Order.sku).icontains(search.strip(), autoescape=True)


async def notifications_of(
    session: AsyncSession, sale_id: UUID, *, status: NotificationStatus | None, after: Position | None
) -> Sequence[Row[Notification, str]]:
    """A page of messages, newest first, with the contact each goes to."""
    contact = func.coalesce(col(Notification.recipient), col(Shopper.contact))
    statement = (
        select(Notification, contact)
        .outerjoin(Order, col(Order.id) == col(Notification.order_id))
        .outerjoin(Shopper, col(Shopper.id) == col(Order.shopper_id))
        .where(col(Notification.sale_id) == sale_id)
    )
    if status is not None:
        statement = statement.where(col(Notification.status) == status)
    if after is not None:
        place = tuple_(col(Notification.created_at), col(Notification.id))
        statement = statement.where(place < (after.at, after.id))
    statement = statement.order_by(col(Notification.created_at).desc(), col(Notification.id).desc()).limit(PAGE + 1)
    return (await session.execute(statement)).all()


async def activity_of(
    session: AsyncSession, sale_id: UUID, *, after: Position | None = None, limit: int = PAGE + 1
) -> Sequence[Any]:
    """What operators and the platform did to a sale, newest first."""
    commands: Any = (
        select(
            col(Command.id).label("id"),
            col(Command.at).label("at"),
            col(Operator.email).label("actor"),
            col(Command.kind).label("kind"),
            col(Command.reason).label("reason"),
            col(Command.before).label("before"),
            col(Command.after).label("after"),
            col(Command.response_status).label("response_status"),
            literal(False).label("alarm"),
        )
        .join(Operator, col(Operator.id) == col(Command.operator_id))
        .where(col(Command.sale_id) == sale_id)
    )
    events = select(
        col(SaleEvent.id),
        col(SaleEvent.at),
        literal("platform"),
        col(SaleEvent.kind),
        cast(None, String),
        cast(None, JSONB),
        col(SaleEvent.detail),
        literal(200),
        col(SaleEvent.alarm),
    ).where(col(SaleEvent.sale_id) == sale_id)
    both = union_all(commands, events).subquery()
    statement = select(both).order_by(both.c.at.desc(), both.c.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(both.c.at, both.c.id) < (after.at, after.id))
    return (await session.execute(statement)).all()


@dataclass(frozen=True, slots=True)
class ItemSnapshot:
    """One item's counters, what its outbox still holds, and how far its journal is applied: one snapshot."""

    item_id: UUID
    sku: str
    allotment: int
    available: int
    reserved: int
    sold: int
    generation: int | None
    seq: int | None
    pending_units: int
    pending_releases: int


async def items_now(session: AsyncSession, sale_id: UUID) -> list[ItemSnapshot]:
    """All items of a sale in one statement, so that the equation may be applied to them."""
    counted = and_(col(GateOutbox.item_id) == col(SaleItem.id), col(GateOutbox.status).in_(COUNTED))
    pending_units = select(func.coalesce(func.sum(col(GateOutbox.quantity)), 0)).where(counted).scalar_subquery()
    pending_releases = (
        select(func.count())
        .select_from(GateOutbox)
        .where(counted, col(GateOutbox.kind) == OutboxKind.RELEASE)
        .scalar_subquery()
    )
    statement = (
        select(
            col(SaleItem.id),
            col(SaleItem.sku),
            col(SaleItem.allotment),
            col(SaleItem.available),
            col(SaleItem.reserved),
            col(SaleItem.sold),
            col(JournalCursor.generation),
            col(JournalCursor.seq),
            pending_units,
            pending_releases,
        )
        .outerjoin(JournalCursor, and_(col(JournalCursor.item_id) == col(SaleItem.id), col(JournalCursor.lane) == 0))
        .where(col(SaleItem.sale_id) == sale_id)
        .order_by(col(SaleItem.position))
    )
    return [ItemSnapshot(*row) for row in await session.execute(statement)]


async def newest_run(session: AsyncSession, sale_id: UUID) -> ReconciliationRun | None:
    statement = (
        select(ReconciliationRun)
        .where(col(ReconciliationRun.sale_id) == sale_id)
        .order_by(col(ReconciliationRun.started_at).desc())
        .limit(1)
    )
    return (await session.execute(statement)).scalar_one_or_none()
