"""What shoppers may ask of their orders, and cancel; and the cancellation of a whole sale."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused
from backend.gate import LaneId, Ticket
from backend.models import Database, Fault, NotificationKind, ReservationStatus
from backend.orders import repository, repository_drain, repository_reads
from backend.orders.faults import record_fault
from backend.orders.plan import Rejection
from backend.orders.poison import reference_of
from backend.orders.repository_reads import ClaimRow, TicketRow


async def ticket_rows(database: Database, tickets: Collection[Ticket]) -> dict[UUID, TicketRow]:
    """What became of tickets' reservations, by their ids; those the ledger has not come to yet are left out.

    A reservation of a closed generation that the ledger does not have was lost with its gate: the signed ticket is the
    proof that it existed, and its honest end is ``rejected``, not silence. In the lane's own generation the ledger may
    have passed an entry and not have what its ticket says: then the gate has two histories. That stops the sale, and
    the ticket stays queued: the rebuild that follows may find the reservation.
    """
    async with database.transaction() as session:
        rows = await repository_reads.find_reservations(session, [ticket.reservation_id for ticket in tickets])
        missing = [ticket for ticket in tickets if ticket.reservation_id not in rows]
        lanes = await repository_reads.standing_of(session, {one.lane_id for one in missing}) if missing else {}
        past = [one for one in missing if one.lane_id in lanes and one.entry_id <= lanes[one.lane_id].applied]
        if past:
            # Asked again: the drain may have committed between the two statements.
            late = await repository_reads.find_reservations(session, [one.reservation_id for one in past])
            aside = await _put_aside(session, past)
            decided = aside | late
            rows |= decided
            for one in past:
                if one.reservation_id in decided:
                    continue
                lane = lanes[one.lane_id]
                if lane.may_recover and one.entry_id.generation == lane.applied.generation:
                    await _stop_forked(session, lane.sale_id, one)
                else:
                    rows[one.reservation_id] = TicketRow("rejected", Rejection.LOST_IN_FAILOVER.value)
        return rows


async def _stop_forked(session: AsyncSession, sale_id: UUID, ticket: Ticket) -> None:
    """A genuine ticket names an entry that the ledger has applied with somebody else's attempt in it."""
    await record_fault(
        session,
        sale_id=sale_id,
        item_id=ticket.lane_id.item_id,
        fault=Fault.FORKED,
        detail={"found_by": "ticket", "entry": str(ticket.entry_id)},
    )


async def _put_aside(session: AsyncSession, tickets: Collection[Ticket]) -> dict[UUID, TicketRow]:
    """Those whose journal entries could not be applied; ask after the cursor, with which they were committed."""
    references = {reference_of(one.lane_id, one.entry_id): one.reservation_id for one in tickets}
    found = await repository_drain.put_aside(session, list(references))
    return {references[one]: TicketRow("rejected", Rejection.UNPROCESSABLE.value) for one in found}


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
