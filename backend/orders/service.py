"""What shoppers may ask of their orders, and cancel; and the cancellation of a whole sale."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused
from backend.gate import LaneId, Ticket
from backend.models import Database, NotificationKind, ReservationStatus
from backend.orders import repository, repository_reads
from backend.orders.repository_reads import ClaimRow, TicketRow

LOST_IN_FAILOVER = "lost_in_failover"


async def ticket_rows(database: Database, tickets: Collection[Ticket]) -> dict[UUID, TicketRow]:
    """What became of tickets' reservations, by their ids; those the ledger has not come to yet are left out.

    A reservation that the ledger has passed without ever seeing it was lost with its gate: the signed ticket is
    the proof that it existed, and its honest end is ``rejected``, not silence.
    """
    async with database.transaction() as session:
        rows = await repository_reads.find_reservations(session, [ticket.reservation_id for ticket in tickets])
        missing = [ticket for ticket in tickets if ticket.reservation_id not in rows]
        applied = await repository_reads.applied_of(session, {one.lane_id for one in missing}) if missing else {}
        past = [one for one in missing if one.lane_id in applied and one.entry_id <= applied[one.lane_id]]
        if past:
            # Asked again: the drain may have committed between the two statements.
            late = await repository_reads.find_reservations(session, [one.reservation_id for one in past])
            rows |= {one.reservation_id: TicketRow("rejected", LOST_IN_FAILOVER) for one in past} | late
        return rows


async def claims_of_shopper(database: Database, slug: str, shopper_id: UUID) -> list[ClaimRow]:
    """A shopper's reservations in a sale."""
    async with database.transaction() as session:
        return await repository_reads.claims_of(session, slug, shopper_id)


async def opening_of(database: Database, slug: str, sku: str) -> tuple[datetime | None, datetime]:
    """When an item that has no lane yet will open, None when there is no such item, and the database's clock."""
    async with database.transaction() as session:
        return await repository_reads.opening(session, slug, sku)


async def sale_exists(database: Database, slug: str) -> bool:
    """Whether shoppers may know of such a sale."""
    async with database.transaction() as session:
        return await repository_reads.sale_with_slug(session, slug)


async def cancel_order(session: AsyncSession, order_id: UUID, shopper_id: UUID) -> None:
    """Cancel a shopper's own hold. Only ``reserved`` can be cancelled; a race with payment or expiry is decided by
    the conditional UPDATE. The caller commits, then nudges the relay.

    Raises ``Refused``: NOT_FOUND for another's order, WRONG_STATE when it has ended already.
    """
    found = await repository_reads.order_for_cancel(session, order_id, shopper_id)
    if found is None:
        raise Refused(Code.NOT_FOUND)
    item_id, reservation_id = found
    await repository.lock_item(session, item_id)
    units = await repository.end_reservations(
        session,
        item_id=item_id,
        before=ReservationStatus.RESERVED,
        after=ReservationStatus.CANCELLED,
        notification=NotificationKind.ORDER_CANCELLED,
        ids=[reservation_id],
    )
    if not units:
        state = await repository_reads.order_status(session, order_id)
        raise Refused(
            Code.WRONG_STATE,
            "Only an order that is not yet paid or ended can be cancelled.",
            extra={"state": state},
        )


async def cancel_sale(session: AsyncSession, sale_id: UUID, command_id: UUID) -> int:
    """Cancel every unpaid order of a sale, reserved or confirmed, and mark paid ones for refund.

    Sets the sale's stage in the same transaction, under every item's lock: what the drain reads afterwards is
    rejected as ``sale_cancelled`` and given back. Returns the units given back.
    """
    items = await repository.items_of_sale(session, sale_id)
    for item_id in items:
        await repository.lock_cursor(session, LaneId(item_id), wait=True)
        await repository.lock_item(session, item_id)
    await repository.set_cancelled(session, sale_id)
    units = 0
    for item_id in items:
        for before in (ReservationStatus.RESERVED, ReservationStatus.CONFIRMED):
            units += await repository.end_reservations(
                session,
                item_id=item_id,
                before=before,
                after=ReservationStatus.CANCELLED,
                notification=NotificationKind.ORDER_CANCELLED,
                command_id=command_id,
            )
    await repository.mark_refunds_due(session, sale_id)
    return units
