"""Rules of paying: one payment for each order, callbacks used once, captured money settled exactly once."""

from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused
from backend.core.log import get_logger
from backend.models import OrderStatus, Payment
from backend.orders import Settlement
from backend.payments import repository
from backend.payments.providers import CAPTURED, Callback, Provider
from backend.payments.sandbox import Checkout, Sandbox
from backend.settings import Settings

log = get_logger()


class Receipt(StrEnum):
    """What came of a callback. It is stored with the event and told to the provider."""

    CAPTURED = "captured"
    """The money is there; what becomes of the order follows at once, or with the next sweep."""
    CONFIRMED = "confirmed"
    REFUND_DUE = "refund_due"
    ALREADY = "already"
    """The payment, or its order, had been settled by another event."""
    DUPLICATE = "duplicate"
    """This very event was used before."""
    MISMATCH = "mismatch"
    """Another amount or currency than was asked for: recorded, alarmed, not applied."""
    UNKNOWN_PAYMENT = "unknown_payment"
    IGNORED = "ignored"
    """A type of event that moves no order."""


_SETTLED: Mapping[Settlement, Receipt] = {
    Settlement.CONFIRMED: Receipt.CONFIRMED,
    Settlement.REFUND_DUE: Receipt.REFUND_DUE,
    Settlement.LATE: Receipt.CAPTURED,
    Settlement.ALREADY: Receipt.ALREADY,
}


def providers(settings: Settings) -> dict[str, Provider]:
    """The providers by name. The sandbox takes no money, so it exists in the local environment alone."""
    return {Sandbox.name: Sandbox(settings)} if settings.is_local else {}


async def open_payment(session: AsyncSession, known: Mapping[str, Provider], order_id: UUID, shopper_id: UUID) -> str:
    """Where this shopper pays for this order; the same payment every time it is asked for.

    Raises ``Refused``: NOT_FOUND for an order that is not hers, WRONG_STATE for one that is not waiting for
    money, DEGRADED when no provider is configured.
    """
    order = await repository.payable(session, order_id, shopper_id)
    if order is None:
        raise Refused(Code.NOT_FOUND)
    if order.status is not OrderStatus.RESERVED or not order.payment_required:
        raise Refused(
            Code.WRONG_STATE,
            "This order is not waiting for a payment.",
            extra={"state": order.status.value},
        )
    if not order.in_time:
        # The sweep has not come by yet, but whoever starts to pay now would pay too late.
        raise Refused(Code.WRONG_STATE, "The time to pay is over.", extra={"state": OrderStatus.EXPIRED.value})
    if not known:
        raise Refused(Code.DEGRADED, "No way to pay is set up.")
    payment = await repository.payment_of(session, order_id)
    if payment is None:
        await repository.insert_payment(session, order, next(iter(known)))
        payment = await repository.payment_of(session, order_id)
        assert payment is not None, order_id
    provider = known.get(payment.provider)
    if provider is None:
        raise Refused(Code.DEGRADED, "The provider of this payment cannot be reached.")
    return provider.payment_url(payment.id)


async def receive(session: AsyncSession, provider: Provider, callback: Callback) -> tuple[Receipt, UUID | None]:
    """Take a genuine callback: note its id and capture its payment, in the caller's one transaction.

    ``CAPTURED`` comes with the order, which is to be settled after the commit (``settled_receipt``). A second delivery
    of the same event finds the id and changes nothing, also when both arrive at once.
    """
    if not await repository.use_event(session, provider.name, callback.event_id, callback.type):
        return Receipt.DUPLICATE, None
    payment = await repository.payment_at(session, callback.payment_id, provider.name)
    receipt = await _apply(session, payment, callback)
    await repository.finish_event(
        session,
        provider.name,
        callback.event_id,
        payment_id=payment.id if payment else None,
        result=receipt.value,
    )
    log.info("payment.callback", provider=provider.name, payment_id=callback.payment_id, result=receipt.value)
    return receipt, payment.order_id if payment and receipt is Receipt.CAPTURED else None


def settled_receipt(settlement: Settlement) -> Receipt:
    """What a provider is told of an order that was settled at once."""
    return _SETTLED[settlement]


async def _apply(session: AsyncSession, payment: Payment | None, callback: Callback) -> Receipt:
    if payment is None:
        return Receipt.UNKNOWN_PAYMENT
    if callback.type != CAPTURED:
        return Receipt.IGNORED
    asked = {"amount_minor": payment.amount_minor, "currency": payment.currency}
    got = {"amount_minor": callback.amount_minor, "currency": callback.currency}
    if asked != got:
        await repository.alarm(
            session,
            payment,
            "payment_mismatch",
            {"payment_id": str(payment.id), "order_id": str(payment.order_id), "asked": asked, "got": got},
        )
        return Receipt.MISMATCH
    if not await repository.capture(session, payment.id):
        return Receipt.ALREADY
    return Receipt.CAPTURED


async def checkout_of(session: AsyncSession, provider: Provider, payment_id: UUID) -> Checkout | None:
    """What the provider's page shows of a payment, or None."""
    return await repository.checkout(session, payment_id, provider.name)
