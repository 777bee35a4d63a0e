"""Queries about payments and providers' callbacks."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.core.ids import new_id
from backend.models import (
    Order,
    OrderStatus,
    Payment,
    PaymentEvent,
    PaymentStatus,
    Sale,
    SaleEvent,
    SaleItem,
    Sku,
)
from backend.payments.sandbox import Checkout


@dataclass(frozen=True, slots=True)
class Payable:
    """An order as far as paying for it goes."""

    order_id: UUID
    status: OrderStatus
    payment_required: bool
    in_time: bool
    """By the database's clock: the hold has not passed."""
    amount_minor: int
    currency: str


async def payable(session: AsyncSession, order_id: UUID, shopper_id: UUID) -> Payable | None:
    """A shopper's own order, or None."""
    in_time = func.coalesce(col(Order.pay_by) > func.clock_timestamp(), True)
    row = (
        await session.execute(
            select(Order, col(Sale.payment_required), in_time)
            .join(Sale, col(Sale.id) == col(Order.sale_id))
            .where(col(Order.id) == order_id, col(Order.shopper_id) == shopper_id)
        )
    ).one_or_none()
    if row is None:
        return None
    order, required, timely = row
    return Payable(order.id, order.status, required, timely, order.price_minor * order.quantity, order.currency)


async def payment_of(session: AsyncSession, order_id: UUID) -> Payment | None:
    """The payment of an order, if one was ever opened."""
    found = await session.execute(select(Payment).where(col(Payment.order_id) == order_id))
    return found.scalar_one_or_none()


async def insert_payment(session: AsyncSession, order: Payable, provider: str) -> None:
    """Open a payment. An order has one: of two requests at once the second waits and finds the first's."""
    await session.execute(
        insert(Payment)
        .values(
            id=new_id(),
            order_id=order.order_id,
            provider=provider,
            status=PaymentStatus.OPEN,
            amount_minor=order.amount_minor,
            currency=order.currency,
        )
        .on_conflict_do_nothing(index_elements=["order_id"])
    )


async def payment_at(session: AsyncSession, payment_id: UUID, provider: str) -> Payment | None:
    """A provider's own payment."""
    found = await session.execute(
        select(Payment).where(col(Payment.id) == payment_id, col(Payment.provider) == provider)
    )
    return found.scalar_one_or_none()


async def capture(session: AsyncSession, payment_id: UUID) -> bool:
    """``open → captured``; False when it was captured before."""
    won = await session.execute(
        update(Payment)
        .where(col(Payment.id) == payment_id, col(Payment.status) == PaymentStatus.OPEN)
        .values(status=PaymentStatus.CAPTURED, captured_at=func.clock_timestamp())
        .returning(col(Payment.id))
    )
    return won.first() is not None


async def use_event(session: AsyncSession, provider: str, event_id: str, kind: str) -> bool:
    """Note a callback's id; False when it was used before. Two at once: the second waits for the first."""
    noted = await session.execute(
        insert(PaymentEvent)
        .values(provider=provider, event_id=event_id, kind=kind, result="received")
        .on_conflict_do_nothing()
        .returning(col(PaymentEvent.event_id))
    )
    return noted.first() is not None


async def finish_event(
    session: AsyncSession, provider: str, event_id: str, *, payment_id: UUID | None, result: str
) -> None:
    """Write down what came of a callback."""
    await session.execute(
        update(PaymentEvent)
        .where(col(PaymentEvent.provider) == provider, col(PaymentEvent.event_id) == event_id)
        .values(payment_id=payment_id, result=result)
    )


async def alarm(session: AsyncSession, payment: Payment, kind: str, detail: dict[str, object]) -> None:
    """An event of the payment's sale that a person has to look at."""
    sale_id = select(col(Order.sale_id)).where(col(Order.id) == payment.order_id).scalar_subquery()
    await session.execute(insert(SaleEvent).values(id=new_id(), sale_id=sale_id, kind=kind, alarm=True, detail=detail))


async def checkout(session: AsyncSession, payment_id: UUID, provider: str) -> Checkout | None:
    """What a provider's page shows of a payment."""
    row = (
        await session.execute(
            select(Payment, col(Sale.title), col(Sku.name), col(Order.quantity))
            .join(Order, col(Order.id) == col(Payment.order_id))
            .join(Sale, col(Sale.id) == col(Order.sale_id))
            .join(SaleItem, col(SaleItem.id) == col(Order.item_id))
            .join(Sku, col(Sku.id) == col(SaleItem.sku_id))
            .where(col(Payment.id) == payment_id, col(Payment.provider) == provider)
        )
    ).one_or_none()
    if row is None:
        return None
    payment, title, name, quantity = row
    return Checkout(
        payment.id,
        title,
        name,
        quantity,
        payment.amount_minor,
        payment.currency,
        payment.status is PaymentStatus.CAPTURED,
    )
