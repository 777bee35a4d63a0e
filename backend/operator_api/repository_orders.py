"""One order's whole life, and all orders of a sale for an export."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from backend.models import Database

EXPORT_PAGE = 1_000


async def life_of(session: AsyncSession, sale_id: UUID, order_id: UUID) -> Row[Any] | None:
    """The order with its reservation, its item's lane and its shopper's contact."""
    found = await session.execute(
        text("""
            SELECT o.id, o.reservation_id, o.sku, o.quantity, o.status, o.price_minor, o.currency, o.shopper_id,
                   o.pay_by, o.paid_at, o.created_at, r.item_id, r.lane, r.generation, r.seq, r.admitted_at,
                   r.decided_at, r.expires_at, r.ended_at, r.status AS reservation_status, r.reason, r.recovered,
                   s.contact
            FROM orders o JOIN reservations r ON r.id = o.reservation_id LEFT JOIN shoppers s ON s.id = o.shopper_id
            WHERE o.id = :order AND o.sale_id = :sale
        """),
        {"order": order_id, "sale": sale_id},
    )
    return found.first()


async def entries_of(session: AsyncSession, reservation_id: UUID) -> Sequence[Row[Any]]:
    """The ledger entries of a reservation, in order."""
    found = await session.execute(
        text("""
            SELECT id, kind, quantity, available_delta, reserved_delta, sold_delta, command_id, outbox_id,
                   generation, seq, at
            FROM ledger_entries WHERE reservation_id = :reservation ORDER BY id
        """),
        {"reservation": reservation_id},
    )
    return found.all()


async def messages_of(session: AsyncSession, order_id: UUID) -> Sequence[Row[Any]]:
    found = await session.execute(
        text("""
            SELECT id, kind, status, attempts, last_error, created_at, sent_at
            FROM notifications WHERE order_id = :order ORDER BY created_at, id
        """),
        {"order": order_id},
    )
    return found.all()


async def payment_of(session: AsyncSession, order_id: UUID) -> Row[Any] | None:
    found = await session.execute(
        text("""
            SELECT id, provider, status, amount_minor, currency, created_at, captured_at, settled_at
            FROM payments WHERE order_id = :order
        """),
        {"order": order_id},
    )
    return found.first()


async def given_back(session: AsyncSession, reservation_id: UUID) -> Sequence[Row[Any]]:
    """The outbox rows that gave this reservation's units back to the gate."""
    found = await session.execute(
        text("""
            SELECT id, kind, status, quantity, created_at, applied_at, done_at
            FROM gate_outbox WHERE reservation_id = :reservation ORDER BY created_at, id
        """),
        {"reservation": reservation_id},
    )
    return found.all()


async def every_order(database: Database, sale_id: UUID, status: str | None) -> AsyncIterator[Sequence[Row[Any]]]:
    """All orders of a sale in pages, oldest first; each page is a short transaction of its own."""
    after: tuple[Any, Any] = (None, None)
    while True:
        async with database.transaction() as session:
            found = await session.execute(
                text("""
                    SELECT o.id, o.sku, o.quantity, o.status, o.price_minor, o.currency, o.shopper_id, o.created_at,
                           o.pay_by, o.paid_at, r.reason, r.generation, r.seq, s.contact,
                           d.name, d.address, d.postal_code, d.city, d.country
                    FROM orders o JOIN reservations r ON r.id = o.reservation_id
                    LEFT JOIN shoppers s ON s.id = o.shopper_id
                    LEFT JOIN delivery_details d ON d.sale_id = o.sale_id AND d.shopper_id = o.shopper_id
                    WHERE o.sale_id = :sale AND (CAST(:status AS text) IS NULL OR o.status = :status)
                      AND (CAST(:at AS timestamptz) IS NULL OR (o.created_at, o.id) > (:at, CAST(:id AS uuid)))
                    ORDER BY o.created_at, o.id LIMIT :page
                """),
                {"sale": sale_id, "status": status, "at": after[0], "id": after[1], "page": EXPORT_PAGE},
            )
            page = found.all()
        if page:
            yield page
            after = (page[-1].created_at, page[-1].id)
        if len(page) < EXPORT_PAGE:
            return


async def resend(session: AsyncSession, merchant_id: UUID, notification_id: UUID) -> Row[Any] | None:
    """Put a message that was sent or given up back into the outbox; None when this merchant has none such.

    The key that the provider sees stays the same: who had it already may see it as the same message. A pending one
    is left alone, or a lease that is running would be cut short and the message sent twice.
    """
    found = await session.execute(
        text("""
            UPDATE notifications n SET status = 'pending', attempts = 0, due_at = clock_timestamp(), last_error = NULL
            FROM sales s
            WHERE n.id = :id AND s.id = n.sale_id AND s.merchant_id = :merchant AND n.status IN ('sent', 'dead')
            RETURNING n.id, n.kind, n.order_id, n.sale_id
        """),
        {"id": notification_id, "merchant": merchant_id},
    )
    return found.first()


async def message_status(session: AsyncSession, merchant_id: UUID, notification_id: UUID) -> str | None:
    found = await session.execute(
        text("""
            SELECT n.status FROM notifications n JOIN sales s ON s.id = n.sale_id
            WHERE n.id = :id AND s.merchant_id = :merchant
        """),
        {"id": notification_id, "merchant": merchant_id},
    )
    return found.scalar_one_or_none()
