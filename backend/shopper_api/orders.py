"""A shopper's orders: look, cancel, pay."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from backend.api import Session, SignedInShopper, State
from backend.core.fields import Moment, Money, View
from backend.core.http import StrictRoute
from backend.jobs import contracts
from backend.orders import ShopperOrder, cancel_order, order_of, orders_of
from backend.payments import open_payment
from backend.shopper_api.deps import SharedState

router = APIRouter(prefix="/api/v1/orders", tags=["shopper"], route_class=StrictRoute)

Status = Literal["reserved", "confirmed", "expired", "cancelled", "rejected", "refund_due", "refunded"]


class OrderSaleView(View):
    slug: str
    title: str
    time_zone: str


class OrderView(View):
    id: UUID
    sku: str
    name: str
    quantity: int
    status: Status
    price: Money
    """For one unit."""
    total: Money
    pay_by: Moment | None = None
    paid_at: Moment | None = None
    created_at: Moment
    sale: OrderSaleView


class OrdersView(View):
    orders: list[OrderView]


class PaymentLinkView(View):
    payment_url: str


def _view(row: ShopperOrder) -> OrderView:
    order = row.order
    return OrderView(
        id=order.id,
        sku=order.sku,
        name=row.name,
        quantity=order.quantity,
        status=order.status.value,
        price=Money(amount_minor=order.price_minor, currency=order.currency),
        total=Money.model_construct(amount_minor=order.price_minor * order.quantity, currency=order.currency),
        pay_by=order.pay_by,
        paid_at=order.paid_at,
        created_at=order.created_at,
        sale=OrderSaleView(slug=row.slug, title=row.title, time_zone=row.time_zone),
    )


@router.get("")
async def list_orders(
    shopper_id: SignedInShopper,
    session: Session,
    before: Annotated[UUID | None, Query(description="An order's id: list those older than it")] = None,
) -> OrdersView:
    """The shopper's newest 100 orders, or the 100 older than ``before``."""
    return OrdersView(orders=[_view(row) for row in await orders_of(session, shopper_id, before=before)])


@router.get("/{order_id}")
async def read_order(shopper_id: SignedInShopper, session: Session, order_id: UUID) -> OrderView:
    """One of the shopper's orders."""
    return _view(await order_of(session, shopper_id, order_id))


@router.post("/{order_id}/cancel")
async def cancel(shopper_id: SignedInShopper, state: State, order_id: UUID) -> OrderView:
    """Cancel an order that is only reserved; its units go back to be bought by others."""
    async with state.database.contended() as session:
        await cancel_order(session, order_id, shopper_id)
        cancelled = await order_of(session, shopper_id, order_id)
    # After the commit; without the nudge the units return at the clock's next tick.
    await state.enqueue(contracts.RELAY)
    return _view(cancelled)


@router.post("/{order_id}/pay")
async def pay(shopper_id: SignedInShopper, session: Session, shared: SharedState, order_id: UUID) -> PaymentLinkView:
    """Where to pay for a reserved order; the same address each time."""
    return PaymentLinkView(payment_url=await open_payment(session, shared.providers, order_id, shopper_id))
