"""Holds that are not paid in time end, by the database's clock; their units go back to be bought by others."""

from backend.core.log import get_logger
from backend.models import Database, NotificationKind, ReservationStatus
from backend.orders import repository

log = get_logger()

BATCH_MAX = 1_000
"""Holds a transaction, so that the item's row is free again within some 50 ms."""


async def expire_due(database: Database) -> int:
    """End every hold whose time is up. Returns the units that went back; any number of sweeps may run at once."""
    async with database.transaction() as session:
        items = await repository.items_with_due_holds(session)
    total = 0
    for item_id in items:
        while True:
            async with database.transaction() as session:
                await repository.lock_item(session, item_id)
                due = await repository.lock_due_holds(session, item_id, limit=BATCH_MAX)
                if not due:
                    break
                units = await repository.end_reservations(
                    session,
                    item_id=item_id,
                    before=ReservationStatus.RESERVED,
                    after=ReservationStatus.EXPIRED,
                    notification=NotificationKind.ORDER_EXPIRED,
                    ids=due,
                )
            if not units:
                break  # somebody's payment came in between the two statements: nothing here ends by trying again
            total += units
            log.info("reservation.expired", item_id=str(item_id), count=len(due), units=units)
    return total
