"""Queries about published sales and their pages' versions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, and_, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.models import (
    JournalCursor,
    Merchant,
    Operator,
    PageVersion,
    Sale,
    SaleItem,
    SaleStage,
    Sku,
)
from backend.pages.repository_pictures import PictureRow, pictures_of


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item with its SKU's words, and whether the gate has been given its stock."""

    item: SaleItem
    sku: Sku
    lanes: tuple[int, ...] = ()
    pictures: tuple[PictureRow, ...] = ()
    """Only where a page is made of it: ``sale_row`` and ``with_pictures``."""


@dataclass(frozen=True, slots=True)
class SaleRow:
    """A sale as its page shows it."""

    sale: Sale
    merchant: str
    items: tuple[ItemRow, ...]


async def database_now(session: AsyncSession) -> datetime:
    """The database's clock."""
    now: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return now


async def lock_sale(session: AsyncSession, sale_id: UUID) -> bool:
    """Hold the sale's row, so that two publications of one sale take turns; False when there is no such sale."""
    found = await session.execute(select(col(Sale.id)).where(col(Sale.id) == sale_id).with_for_update(key_share=True))
    return found.first() is not None


async def sale_row(session: AsyncSession, sale_id: UUID) -> SaleRow:
    """One sale with its items and their pictures."""
    rows = await _with_items(session, _sales().where(col(Sale.id) == sale_id))
    (row,) = await with_pictures(session, rows)
    return row


async def with_pictures(session: AsyncSession, rows: Sequence[SaleRow]) -> list[SaleRow]:
    """The same sales, each item with its pictures."""
    found = await pictures_of(session, {item.sku.id for row in rows for item in row.items})
    return [
        replace(row, items=tuple(replace(item, pictures=tuple(found[item.sku.id])) for item in row.items))
        for row in rows
    ]


async def published(session: AsyncSession, *, limit: int) -> list[SaleRow]:
    """Published sales that shoppers may find: those to come and running first, then the latest over."""
    over = or_(
        col(Sale.stage).in_((SaleStage.CANCELLED, SaleStage.RECONCILED)),
        func.least(col(Sale.closes_at), col(Sale.ended_at)) <= func.now(),
    )
    return await _with_items(
        session,
        _sales()
        .where(col(Sale.published_version).is_not(None), col(Sale.stage) != SaleStage.DRAFT)
        .order_by(over, func.abs(func.extract("epoch", col(Sale.opens_at) - func.now())), col(Sale.slug))
        .limit(limit),
    )


async def with_moving_state(session: AsyncSession, *, still_after: timedelta, limit: int) -> list[SaleRow]:
    """Published sales whose phase can still change, or was settled less than ``still_after`` ago."""
    rows = await _with_items(
        session,
        _sales()
        .where(
            col(Sale.published_version).is_not(None),
            or_(
                col(Sale.stage).in_((SaleStage.SCHEDULED, SaleStage.CANCELLED)),
                col(Sale.reconciled_at) > func.now() - still_after,
            ),
        )
        .order_by(col(Sale.opens_at))
        .limit(limit),
    )
    cursors = await session.execute(
        select(col(JournalCursor.item_id), col(JournalCursor.lane)).where(
            col(JournalCursor.sale_id).in_([row.sale.id for row in rows])
        )
    )
    lanes: dict[UUID, list[int]] = {}
    for item_id, lane in cursors:
        lanes.setdefault(item_id, []).append(lane)
    return [
        SaleRow(
            row.sale,
            row.merchant,
            tuple(ItemRow(one.item, one.sku, tuple(sorted(lanes.get(one.item.id, ())))) for one in row.items),
        )
        for row in rows
    ]


async def items_with_units_to_return(session: AsyncSession, item_ids: Sequence[UUID]) -> set[UUID]:
    """Items whose outbox is not empty: units are about to go back to the gate, or have just gone."""
    rows = await session.execute(
        text("""
            SELECT DISTINCT item_id FROM gate_outbox
            WHERE status = 'pending' AND item_id = ANY(CAST(:items AS uuid[]))
        """),
        {"items": list(item_ids)},
    )
    return set(rows.scalars())


async def unpublished(session: AsyncSession) -> list[UUID]:
    """Sales that are preloaded and have no page yet, or whose page shows less than the latest word."""
    missing = and_(
        col(Sale.stage) == SaleStage.SCHEDULED,
        col(Sale.preloaded_at).is_not(None),
        col(Sale.published_version).is_(None),
    )
    found = await session.execute(
        select(col(Sale.id)).where(or_(missing, col(Sale.page_wanted_at).is_not(None))).limit(100)
    )
    return list(found.scalars())


async def want_pages(
    session: AsyncSession, *, by: UUID, sale_id: UUID | None = None, sku_id: UUID | None = None
) -> None:
    """Note that published pages (of a sale, or with a SKU) are to show what was just changed."""
    items = select(col(SaleItem.sale_id)).where(col(SaleItem.sku_id) == sku_id)
    of_these = col(Sale.id) == sale_id if sale_id is not None else col(Sale.id).in_(items)
    await session.execute(
        update(Sale)
        .where(of_these, col(Sale.published_version).is_not(None), col(Sale.stage) == SaleStage.SCHEDULED)
        .values(page_wanted_at=func.clock_timestamp(), page_wanted_by=by)
    )


async def has_what_was_wanted(session: AsyncSession, sale: Sale) -> None:
    """The page is up to date with ``sale`` as it was read; a wish that came later stays."""
    await session.execute(
        update(Sale)
        .where(col(Sale.id) == sale.id, col(Sale.page_wanted_at) == sale.page_wanted_at)
        .values(page_wanted_at=None, page_wanted_by=None)
    )


async def versions_of(session: AsyncSession, sale_id: UUID, *, limit: int) -> list[tuple[PageVersion, str | None]]:
    """Versions of a sale's page, the newest first, with the address of who had it published."""
    found = await session.execute(
        select(PageVersion, col(Operator.email))
        .outerjoin(Operator, col(Operator.id) == col(PageVersion.published_by))
        .where(col(PageVersion.sale_id) == sale_id)
        .order_by(col(PageVersion.version).desc())
        .limit(limit)
    )
    return [(version, email) for version, email in found]


async def newest_version(session: AsyncSession, sale_id: UUID) -> PageVersion | None:
    """The newest version of a sale's page."""
    found = await session.execute(
        select(PageVersion)
        .where(col(PageVersion.sale_id) == sale_id)
        .order_by(col(PageVersion.version).desc())
        .limit(1)
    )
    return found.scalar_one_or_none()


async def record_version(
    session: AsyncSession, sale_id: UUID, version: int, *, digest: str, published_by: UUID | None
) -> None:
    """Note a version and make it the sale's published one."""
    await session.execute(
        insert(PageVersion).values(sale_id=sale_id, version=version, digest=digest, published_by=published_by)
    )
    await mark_published(session, sale_id, version)


async def mark_published(session: AsyncSession, sale_id: UUID, version: int) -> None:
    """The version that the sale's address shows."""
    await session.execute(update(Sale).where(col(Sale.id) == sale_id).values(published_version=version))


def _sales() -> Select[Sale, str]:
    return select(Sale, col(Merchant.name)).join(Merchant, col(Merchant.id) == col(Sale.merchant_id))


async def _with_items(session: AsyncSession, statement: Select[Sale, str]) -> list[SaleRow]:
    sales = (await session.execute(statement)).all()
    items: dict[UUID, list[ItemRow]] = {}
    for item, sku in await session.execute(
        select(SaleItem, Sku)
        .join(Sku, col(Sku.id) == col(SaleItem.sku_id))
        .where(col(SaleItem.sale_id).in_([sale.id for sale, _ in sales]))
        .order_by(col(SaleItem.position), col(SaleItem.sku))
    ):
        items.setdefault(item.sale_id, []).append(ItemRow(item, sku))
    return [SaleRow(sale, merchant, tuple(items.get(sale.id, ()))) for sale, merchant in sales]
