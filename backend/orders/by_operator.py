"""What an operator does to one order: cancel it while it is unpaid, or note that its money went back."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused
from backend.models import NotificationKind, OrderStatus, ReservationStatus
from backend.orders import repository, repository_reads

_CANCELLABLE = (ReservationStatus.RESERVED, ReservationStatus.CONFIRMED)


async def cancel_by_operator(session: AsyncSession, sale_id: UUID, order_id: UUID, command_id: UUID) -> int:
    """Cancel an unpaid order of a sale and give its units back. Returns how many.

    The conditional UPDATE decides a race with a payment or an expiry. The caller commits, then nudges the relay.

    Raises ``Refused``: NOT_FOUND for an order of another sale, WRONG_STATE when it is paid or has ended.
    """
    found = await repository_reads.order_of_sale(session, order_id, sale_id)
    if found is None:
        raise Refused(Code.NOT_FOUND)
    item_id, reservation_id = found
    await repository.lock_item(session, item_id)
    for before in _CANCELLABLE:
        units = await repository.end_reservations(
            session,
            item_id=item_id,
            before=before,
            after=ReservationStatus.CANCELLED,
            notification=NotificationKind.ORDER_CANCELLED,
            ids=[reservation_id],
            command_id=command_id,
        )
        if units:
            return units
    state = await repository_reads.order_status(session, order_id)
    raise Refused(
        Code.WRONG_STATE, "Only an order that is neither paid nor ended can be cancelled.", extra={"state": state}
    )


async def mark_refunded(session: AsyncSession, sale_id: UUID, order_id: UUID) -> None:
    """Note that the money of an order has gone back, by whatever way the merchant pays.

    Raises ``Refused``: NOT_FOUND for an order of another sale, WRONG_STATE when no refund is due.
    """
    if await repository_reads.order_of_sale(session, order_id, sale_id) is None:
        raise Refused(Code.NOT_FOUND)
    if not await repository_reads.move_order(session, order_id, OrderStatus.REFUND_DUE, OrderStatus.REFUNDED):
        state = await repository_reads.order_status(session, order_id)
        raise Refused(Code.WRONG_STATE, "No refund is due for this order.", extra={"state": state})
