"""Queries on one item's stock. Lock order: cursor, then item."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.models import EntryKind, JournalCursor, LedgerEntry, SaleItem


async def lock_cursor(session: AsyncSession, item_id: UUID) -> JournalCursor | None:
    """The cursor of the item's one lane, locked; None before the preload."""
    statement = (
        select(JournalCursor)
        .where(col(JournalCursor.item_id) == item_id, col(JournalCursor.lane) == 0)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def lock_item(session: AsyncSession, item_id: UUID) -> SaleItem:
    statement = (
        select(SaleItem)
        .where(col(SaleItem.id) == item_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalar_one()


async def add_units(session: AsyncSession, item_id: UUID, units: int) -> None:
    """Raise allotment and available together; negative units lower both."""
    await session.execute(
        update(SaleItem)
        .where(col(SaleItem.id) == item_id)
        .values(
            allotment=col(SaleItem.allotment) + units,
            available=col(SaleItem.available) + units,
            version=col(SaleItem.version) + 1,
        )
    )


async def cursor_of_sku(session: AsyncSession, sale_id: UUID, sku: str) -> JournalCursor | None:
    statement = (
        select(JournalCursor)
        .join(SaleItem, col(SaleItem.id) == col(JournalCursor.item_id))
        .where(col(SaleItem.sale_id) == sale_id, col(SaleItem.sku) == sku, col(JournalCursor.lane) == 0)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def is_booked(session: AsyncSession, item_id: UUID, command_id: UUID) -> bool:
    """Whether the ledger has the units that this command took."""
    statement = select(col(LedgerEntry.id)).where(
        col(LedgerEntry.item_id) == item_id,
        col(LedgerEntry.kind) == EntryKind.ADJUST,
        col(LedgerEntry.command_id) == command_id,
    )
    return (await session.execute(statement.limit(1))).first() is not None
