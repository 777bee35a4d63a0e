"""One order: its whole life, and what an operator may do to it. And all of them, for a spreadsheet."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import Done, record_read, record_refusal
from backend.api import AnyOperator, AppState, Calls, Session, State
from backend.core.cells import csv_of
from backend.core.clock import rfc3339
from backend.core.errors import Code, Refused
from backend.core.fields import Id, Moment, Money, Reason, Strict, View
from backend.core.http import StrictRoute
from backend.core.text import mask_contact
from backend.jobs import contracts
from backend.models import OrderStatus, Role
from backend.operator_api import repository_orders as repository
from backend.operator_api.schemas import OrderView
from backend.orders import cancel_by_operator, delivery_for, mark_refunded
from backend.sales import get_sale

router = APIRouter(route_class=StrictRoute)

_SENDERS = (Role.OWNER, Role.OPERATOR)
"""Who learns where an order goes: an auditor checks units and money, and needs nobody's address."""
_EXPORT = "order.export"
_DELIVERY_HEADER = ("name", "address", "postal_code", "city", "country")
_CSV_HEADER = ("order", "created_at", "sku", "quantity", "status", "reason", "price_minor", "currency", "shopper",
               "contact_masked", "pay_by", "paid_at", "journal_entry")  # fmt: skip


class AttemptView(View):
    """What the gate admitted. ``journal_entry`` is its place in the lane's journal."""

    journal_entry: str
    lane: int
    admitted_at: Moment
    decided_at: Moment
    delay_ms: int
    """From the gate's yes to the ledger's commit."""
    recovered: bool
    expires_at: Moment | None = None
    ended_at: Moment | None = None


class EntryView(View):
    id: int
    kind: str
    quantity: int
    available_delta: int
    reserved_delta: int
    sold_delta: int
    at: Moment
    journal_entry: str | None = None
    command_id: Id | None = None
    outbox_id: Id | None = None


class MessageView(View):
    id: Id
    kind: str
    status: str
    attempts: int
    last_error: str | None = None
    created_at: Moment
    sent_at: Moment | None = None


class PaymentLife(View):
    id: Id
    provider: str
    status: str
    amount: Money
    created_at: Moment
    captured_at: Moment | None = None
    settled_at: Moment | None = None


class ReleaseView(View):
    id: Id
    kind: str
    status: str
    quantity: int
    created_at: Moment
    applied_at: Moment | None = None
    done_at: Moment | None = None


class OrderLife(OrderView):
    paid_at: Moment | None = None
    attempt: AttemptView
    ledger: list[EntryView]
    releases: list[ReleaseView]
    notifications: list[MessageView]
    payment: PaymentLife | None = None


class DeliveryTo(View):
    name: str
    address: str
    postal_code: str
    city: str
    country: str
    updated_at: Moment


class OrderDetail(OrderLife):
    """``delivery``: for those who send things out, when the shopper gave it. Never part of a command's record."""

    delivery: DeliveryTo | None = None


class ReasonNeeded(Strict):
    reason: Reason


def _masked(contact: str | None) -> str:
    return mask_contact(contact) if contact else "•••"


def _entry(row: Row[Any]) -> EntryView:
    fields = row._asdict()
    generation, seq = fields.pop("generation"), fields.pop("seq")
    return EntryView(**fields, journal_entry=None if seq is None else f"{generation}-{seq}")


async def _life(session: AsyncSession, sale_id: UUID, order_id: UUID) -> OrderLife:
    row = await repository.life_of(session, sale_id, order_id)
    if row is None:
        raise Refused(Code.NOT_FOUND)
    payment = await repository.payment_of(session, order_id)
    return OrderLife(
        id=row.id,
        reservation_id=row.reservation_id,
        sku=row.sku,
        quantity=row.quantity,
        status=row.status,
        price=Money(amount_minor=row.price_minor, currency=row.currency),
        shopper_id=row.shopper_id,
        contact_masked=_masked(row.contact),
        created_at=row.created_at,
        pay_by=row.pay_by,
        reason=row.reason,
        paid_at=row.paid_at,
        attempt=AttemptView(
            journal_entry=f"{row.generation}-{row.seq}",
            lane=row.lane,
            admitted_at=row.admitted_at,
            decided_at=row.decided_at,
            delay_ms=max(0, int((row.decided_at - row.admitted_at).total_seconds() * 1_000)),
            recovered=row.recovered,
            expires_at=row.expires_at,
            ended_at=row.ended_at,
        ),
        ledger=[_entry(one) for one in await repository.entries_of(session, row.reservation_id)],
        releases=[ReleaseView(**one._asdict()) for one in await repository.given_back(session, row.reservation_id)],
        notifications=[MessageView(**one._asdict()) for one in await repository.messages_of(session, order_id)],
        payment=None
        if payment is None
        else PaymentLife(
            id=payment.id,
            provider=payment.provider,
            status=payment.status,
            amount=Money(amount_minor=payment.amount_minor, currency=payment.currency),
            created_at=payment.created_at,
            captured_at=payment.captured_at,
            settled_at=payment.settled_at,
        ),
    )


# Before the route of one order: "export" would be read as its id.
@router.get(
    "/sales/{sale_id}/orders/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def export_orders(
    actor: AnyOperator,
    state: State,
    sale_id: UUID,
    status: Annotated[OrderStatus | None, Query()] = None,
    delivery: Annotated[
        bool, Query(description="With name and address; for owners and operators, and recorded")
    ] = False,
) -> StreamingResponse:
    """Every order as CSV whose cells no spreadsheet takes for formulas; contacts are masked."""
    async with state.database.transaction() as session:
        rows = await get_sale(session, actor.merchant_id, sale_id)
    if delivery:
        if actor.role not in _SENDERS:
            await record_refusal(state.database, state.seal_key, actor, _EXPORT, sale_id=sale_id)
            raise Refused(Code.FORBIDDEN)
        # Everybody's address at once leaves the platform here: who took them stands in the activity.
        await record_read(state.database, state.seal_key, actor, _EXPORT, sale_id, {"delivery": True})
    return StreamingResponse(
        _csv(state, sale_id, status.value if status else None, delivery=delivery),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="orders-{rows.sale.slug}.csv"'},
    )


async def _csv(state: AppState, sale_id: UUID, status: str | None, *, delivery: bool) -> AsyncIterator[bytes]:
    header = (*_CSV_HEADER, *_DELIVERY_HEADER) if delivery else _CSV_HEADER
    yield csv_of(header, ())
    async for page in repository.every_order(state.database, sale_id, status):
        # The header once; ``csv_of`` writes one each time, so its first line is left out here.
        yield csv_of(header, (_cells(row, delivery=delivery) for row in page)).partition(b"\r\n")[2]


def _cells(row: Row[Any], *, delivery: bool) -> tuple[str | int, ...]:
    to = tuple(getattr(row, name) or "" for name in _DELIVERY_HEADER) if delivery else ()
    return (
        str(row.id), rfc3339(row.created_at), row.sku, row.quantity, row.status, row.reason or "", row.price_minor,
        row.currency, str(row.shopper_id), _masked(row.contact), rfc3339(row.pay_by) if row.pay_by else "",
        rfc3339(row.paid_at) if row.paid_at else "", f"{row.generation}-{row.seq}", *to,
    )  # fmt: skip


@router.get("/sales/{sale_id}/orders/{order_id}")
async def read_order(session: Session, actor: AnyOperator, sale_id: UUID, order_id: UUID) -> OrderDetail:
    """An order from the gate's yes to its end: attempt, ledger entries, units given back, payment, messages. Where it
    is to be delivered is told to owners and operators."""
    await get_sale(session, actor.merchant_id, sale_id)
    life = await _life(session, sale_id, order_id)
    found = await delivery_for(session, sale_id, life.shopper_id) if actor.role in _SENDERS else None
    to = None
    if found is not None:
        to = DeliveryTo(
            name=found.name,
            address=found.address,
            postal_code=found.postal_code,
            city=found.city,
            country=found.country,
            updated_at=found.updated_at,
        )
    return OrderDetail(**dict(life), delivery=to)


@router.post("/sales/{sale_id}/orders/{order_id}/cancel", response_model=OrderLife)
async def cancel_order(call: Calls, sale_id: UUID, order_id: UUID, body: ReasonNeeded) -> Response:
    """Cancel an unpaid order; its units go back on sale."""

    async def action(session: AsyncSession, command_id: UUID) -> Done:
        await get_sale(session, call.actor.merchant_id, sale_id)
        before = await _life(session, sale_id, order_id)
        units = await cancel_by_operator(session, sale_id, order_id, command_id)
        view = await _life(session, sale_id, order_id)
        about = {"order_id": str(order_id), "sku": view.sku}
        return Done(
            view.model_dump(mode="json", exclude_none=True),
            before={**about, "status": before.status},
            after={**about, "status": view.status, "units_released": units},
        )

    call.after_commit(lambda: call.state.enqueue(contracts.RELAY))
    return await call.run("order.cancel", action, body=body, sale_id=sale_id, condition={"order_id": str(order_id)})


@router.post("/sales/{sale_id}/orders/{order_id}/refunded", response_model=OrderLife)
async def refund_order(call: Calls, sale_id: UUID, order_id: UUID, body: ReasonNeeded) -> Response:
    """Note that the money of an order whose refund was due has gone back."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        await get_sale(session, call.actor.merchant_id, sale_id)
        await mark_refunded(session, sale_id, order_id)
        view = await _life(session, sale_id, order_id)
        about = {"order_id": str(order_id), "sku": view.sku}
        return Done(
            view.model_dump(mode="json", exclude_none=True),
            before={**about, "status": OrderStatus.REFUND_DUE.value},
            after={**about, "status": view.status},
        )

    return await call.run("order.refunded", action, body=body, sale_id=sale_id, condition={"order_id": str(order_id)})


@router.post("/notifications/{notification_id}/resend", status_code=202)
async def resend_notification(call: Calls, notification_id: UUID) -> Response:
    """Send a message again that was sent or given up. One that is still being tried is left alone: 409."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        merchant_id = call.actor.merchant_id
        before = await repository.message_status(session, merchant_id, notification_id)
        if before is None:
            raise Refused(Code.NOT_FOUND)
        row = await repository.resend(session, merchant_id, notification_id)
        if row is None:
            raise Refused(Code.WRONG_STATE, "This message is being sent already.", extra={"state": before})
        about = {"notification_id": str(row.id), "kind": row.kind, "order_id": str(row.order_id)}
        return Done(
            {"id": str(row.id), "status": "pending"},
            202,
            before={**about, "status": before},
            after={**about, "status": "pending"},
            sale_id=row.sale_id,
        )

    call.after_commit(lambda: call.state.enqueue(contracts.NOTIFY))
    return await call.run("notification.resend", action, condition={"notification_id": str(notification_id)})
