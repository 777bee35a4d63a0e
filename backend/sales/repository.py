"""Queries on SKUs, sales, their items, link secrets and events.

Locks are taken in one order everywhere: journal cursor, then item (items by id), then reservations. A sale's
row is locked before a cursor only where the cursor cannot exist yet. Locks are ``FOR NO KEY UPDATE``: the row of
a command has a foreign key to its sale, so with ``FOR UPDATE`` any two commands to one sale would deadlock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.core.ids import new_id
from backend.models import (
    Fault,
    JournalCursor,
    LinkSecret,
    PageVersion,
    Sale,
    SaleEvent,
    SaleItem,
    SaleStage,
    Sku,
)


@dataclass(frozen=True, slots=True)
class SaleRows:
    """A sale with its items, in the order of its page."""

    sale: Sale
    items: list[SaleItem]


async def database_now(session: AsyncSession) -> datetime:
    """The database's clock, at this moment rather than at the transaction's start."""
    now: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return now


async def insert_sku(session: AsyncSession, values: Mapping[str, Any]) -> UUID | None:
    """The new SKU's id, None when the merchant has that SKU already."""
    statement = (
        insert(Sku)
        .values(id=new_id(), **values)
        .on_conflict_do_nothing(index_elements=["merchant_id", "sku"])
        .returning(col(Sku.id))
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def sku_of(session: AsyncSession, merchant_id: UUID, sku_id: UUID, *, lock: bool = False) -> Sku | None:
    statement = select(Sku).where(col(Sku.id) == sku_id, col(Sku.merchant_id) == merchant_id)
    if lock:
        statement = statement.with_for_update(key_share=True)
    return (await session.execute(statement)).scalar_one_or_none()


async def skus_of(session: AsyncSession, merchant_id: UUID, *, limit: int) -> Sequence[Sku]:
    statement = select(Sku).where(col(Sku.merchant_id) == merchant_id).order_by(col(Sku.sku)).limit(limit)
    return (await session.execute(statement)).scalars().all()


async def skus_named(session: AsyncSession, merchant_id: UUID, names: Iterable[str]) -> dict[str, Sku]:
    """The merchant's SKUs of these names, by name."""
    statement = select(Sku).where(col(Sku.merchant_id) == merchant_id, col(Sku.sku).in_(list(names)))
    return {sku.sku: sku for sku in (await session.execute(statement)).scalars()}


async def names_of(session: AsyncSession, items: Iterable[SaleItem]) -> dict[UUID, str]:
    """The SKUs' names, by the SKU's id."""
    ids = {item.sku_id for item in items}
    statement = select(col(Sku.id), col(Sku.name)).where(col(Sku.id).in_(ids))
    return {row[0]: row[1] for row in await session.execute(statement)}


async def insert_sale(session: AsyncSession, values: Mapping[str, Any]) -> UUID | None:
    """The new sale's id, None when the slug is taken by anybody."""
    statement = (
        insert(Sale)
        .values(id=new_id(), **values)
        .on_conflict_do_nothing(index_elements=["slug"])
        .returning(col(Sale.id))
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def slug_taken(session: AsyncSession, slug: str, *, except_sale: UUID) -> bool:
    statement = select(col(Sale.id)).where(col(Sale.slug) == slug, col(Sale.id) != except_sale)
    return (await session.execute(statement)).first() is not None


async def sale_by_id(
    session: AsyncSession, sale_id: UUID, *, merchant_id: UUID | None = None, lock: bool = False
) -> Sale | None:
    """A sale, of the merchant when one is given; ``lock`` holds its row until the transaction ends."""
    statement = select(Sale).where(col(Sale.id) == sale_id)
    if merchant_id is not None:
        statement = statement.where(col(Sale.merchant_id) == merchant_id)
    if lock:
        # The row as it is once the lock is held, not as this session may have seen it before.
        statement = statement.with_for_update(key_share=True).execution_options(populate_existing=True)
    return (await session.execute(statement)).scalar_one_or_none()


async def sale_by_slug(session: AsyncSession, slug: str) -> Sale | None:
    return (await session.execute(select(Sale).where(col(Sale.slug) == slug))).scalar_one_or_none()


async def items_of(session: AsyncSession, sale_ids: Iterable[UUID]) -> dict[UUID, list[SaleItem]]:
    """Items by sale, in the order of the page."""
    found: dict[UUID, list[SaleItem]] = {sale_id: [] for sale_id in sale_ids}
    statement = (
        select(SaleItem)
        .where(col(SaleItem.sale_id).in_(found))
        .order_by(col(SaleItem.position))
        .execution_options(populate_existing=True)
    )
    for item in (await session.execute(statement)).scalars():
        found[item.sale_id].append(item)
    return found


async def lock_items(session: AsyncSession, sale_id: UUID) -> list[SaleItem]:
    """All items of a sale, locked, by id."""
    statement = (
        select(SaleItem)
        .where(col(SaleItem.sale_id) == sale_id)
        .order_by(col(SaleItem.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return list((await session.execute(statement)).scalars())


async def sales_of(session: AsyncSession, merchant_id: UUID, *, search: str | None, limit: int) -> Sequence[Sale]:
    """A merchant's sales, the latest opening first; ``search`` looks into title and slug."""
    statement = select(Sale).where(col(Sale.merchant_id) == merchant_id)
    if search:
        statement = statement.where(
            or_(
                col(Sale.title).icontains(search, autoescape=True),
                col(Sale.slug).icontains(search, autoescape=True),
            )
        )
    statement = statement.order_by(col(Sale.opens_at).desc(), col(Sale.id)).limit(limit)
    return (await session.execute(statement)).scalars().all()


async def replace_items(session: AsyncSession, sale_id: UUID, rows: Sequence[Mapping[str, Any]]) -> None:
    """Give a sale that was never preloaded these items."""
    await session.execute(delete(SaleItem).where(col(SaleItem.sale_id) == sale_id))
    await session.execute(insert(SaleItem), [{"id": new_id(), "sale_id": sale_id, "version": 1, **row} for row in rows])


async def delete_sale(session: AsyncSession, sale_id: UUID) -> None:
    """Delete a draft with its items. The commands that made and edited it stay as they are, and go on naming it."""
    for table in (SaleItem, LinkSecret, SaleEvent, PageVersion):
        await session.execute(delete(table).where(col(table.sale_id) == sale_id))
    await session.execute(delete(Sale).where(col(Sale.id) == sale_id))


async def change_sale(session: AsyncSession, sale_id: UUID, values: Mapping[str, Any]) -> None:
    await session.execute(update(Sale).where(col(Sale.id) == sale_id).values(**values))


async def change_item(session: AsyncSession, item_id: UUID, values: Mapping[str, Any]) -> None:
    await session.execute(update(SaleItem).where(col(SaleItem.id) == item_id).values(**values))


async def secrets_of(session: AsyncSession, sale_ids: Iterable[UUID]) -> dict[UUID, list[LinkSecret]]:
    """Link secrets by sale, oldest epoch first."""
    found: dict[UUID, list[LinkSecret]] = {sale_id: [] for sale_id in sale_ids}
    statement = select(LinkSecret).where(col(LinkSecret.sale_id).in_(found)).order_by(col(LinkSecret.epoch))
    for secret in (await session.execute(statement)).scalars():
        found[secret.sale_id].append(secret)
    return found


async def add_secret(session: AsyncSession, sale_id: UUID, *, epoch: int, secret: bytes, overlap: timedelta) -> None:
    """Store the secret of a new epoch and retire the ones before when their overlap is over."""
    await session.execute(
        update(LinkSecret)
        .where(col(LinkSecret.sale_id) == sale_id, col(LinkSecret.retires_at).is_(None))
        .values(retires_at=func.clock_timestamp() + overlap)
    )
    await session.execute(insert(LinkSecret).values(sale_id=sale_id, epoch=epoch, secret=secret))


async def insert_event(
    session: AsyncSession,
    sale_id: UUID,
    kind: str,
    *,
    detail: Mapping[str, Any] | None = None,
    item_id: UUID | None = None,
    alarm: bool = False,
) -> None:
    await session.execute(
        insert(SaleEvent).values(
            id=new_id(), sale_id=sale_id, item_id=item_id, kind=kind, alarm=alarm, detail=dict(detail or {})
        )
    )


async def due_for_preload(session: AsyncSession) -> Sequence[UUID]:
    statement = select(col(Sale.id)).where(
        col(Sale.stage) == SaleStage.SCHEDULED,
        col(Sale.preloaded_at).is_(None),
        col(Sale.ended_at).is_(None),
        col(Sale.closes_at) > func.now(),
        col(Sale.opens_at) - func.make_interval(0, 0, 0, 0, 0, 0, col(Sale.lead_s)) <= func.now(),
    )
    return (await session.execute(statement)).scalars().all()


async def due_for_opening(session: AsyncSession) -> Sequence[UUID]:
    """Sales that have opened by stored time and were not noticed yet; another clock's are passed over."""
    statement = (
        update(Sale)
        .where(
            col(Sale.stage) == SaleStage.SCHEDULED,
            col(Sale.opened_at).is_(None),
            col(Sale.preloaded_at).is_not(None),
            col(Sale.opens_at) <= func.now(),
        )
        .values(opened_at=func.now())
        .returning(col(Sale.id))
    )
    return (await session.execute(statement)).scalars().all()


async def set_fault(session: AsyncSession, sale_id: UUID, fault: Fault) -> bool:
    """Stop the sale for a fault; False when one stands already (the first is the cause, it stays)."""
    statement = (
        update(Sale)
        .where(col(Sale.id) == sale_id, col(Sale.fault).is_(None))
        .values(fault=fault, version=col(Sale.version) + 1)
        .returning(col(Sale.id))
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def waiting_for_load(session: AsyncSession) -> Sequence[UUID]:
    """Preloaded sales with a first load that no drain has adopted: the gate may not have been told yet."""
    statement = (
        select(col(Sale.id))
        .join(JournalCursor, col(JournalCursor.sale_id) == col(Sale.id))
        .where(
            col(Sale.stage) == SaleStage.SCHEDULED,
            col(Sale.closes_at) > func.now(),
            col(JournalCursor.seq).is_(None),
            col(JournalCursor.generation) == 1,
        )
        .distinct()
    )
    return (await session.execute(statement)).scalars().all()


async def unreconciled(session: AsyncSession) -> Sequence[Sale]:
    """Sales whose lanes must carry the ledger's wishes."""
    statement = select(Sale).where(
        col(Sale.stage).in_((SaleStage.SCHEDULED, SaleStage.CANCELLED)), col(Sale.preloaded_at).is_not(None)
    )
    return (await session.execute(statement)).scalars().all()


async def cursors_of(session: AsyncSession, sale_ids: Iterable[UUID]) -> dict[UUID, JournalCursor]:
    """Cursors by item, of lane 0: there is one lane an item."""
    statement = select(JournalCursor).where(col(JournalCursor.sale_id).in_(list(sale_ids)))
    rows = (await session.execute(statement.execution_options(populate_existing=True))).scalars()
    return {cursor.item_id: cursor for cursor in rows if cursor.lane == 0}


def seconds(count: int) -> timedelta:
    """An interval, as PostgreSQL is given it."""
    return timedelta(seconds=count)
