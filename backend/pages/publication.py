"""Publishing a sale's page and the list of sales: from the ledger, through the renderer, into the folder."""

import asyncio
import hashlib
from uuid import UUID

from backend.core.log import get_logger
from backend.models import Database, SaleStage
from backend.pages import repository
from backend.pages.phases import window
from backend.pages.pictures import put_beside_pages
from backend.pages.repository import ItemRow, SaleRow
from backend.pages.repository_pictures import PictureRow
from backend.settings import Settings
from page_renderer import (
    IndexEntry,
    IndexPage,
    Money,
    OptionView,
    PictureFile,
    PictureView,
    Published,
    RenderedPage,
    SaleItemView,
    SalePage,
    Target,
    activate,
    render_index,
    render_sale,
    versions,
    write_assets,
    write_version,
)
from page_renderer import publish as publish_files

log = get_logger()

INDEX_MAX = 200


async def publish(database: Database, sale_id: UUID, settings: Settings, published_by: UUID | None = None) -> int:
    """Publish a sale's page as the ledger describes it now, and the list of sales; the version that is shown.

    Nothing changed since the last version: that one is shown (again), so a repeated job buries no history. The
    files come before the commit: a crash between the two leaves a page that is right and a number that is
    skipped, never a version in the ledger without its page. Raises LookupError for an unknown sale, ValueError
    for a draft or a sale whose words the renderer refuses.
    """
    async with database.transaction() as session:
        if not await repository.lock_sale(session, sale_id):
            raise LookupError(f"no sale {sale_id}")
        row = await repository.sale_row(session, sale_id)
        if row.sale.stage is SaleStage.DRAFT:
            raise ValueError(f"sale {sale_id} is a draft")
        page = render_sale(sale_page(row, settings))
        await put_beside_pages(session, settings.pages_dir, picture_names(row))
        published_by = published_by or row.sale.page_wanted_by
        digest = _digest(page)
        newest = await repository.newest_version(session, sale_id)
        target = Target.sale(row.sale.slug)
        kept = await asyncio.to_thread(versions, settings.pages_dir, target)
        if newest is not None and newest.digest == digest and newest.version in kept:
            version = newest.version
            await asyncio.to_thread(_show, settings, target, version, page)
            await repository.mark_published(session, sale_id, version)
        else:
            version = max(newest.version if newest else 0, *kept, 0) + 1
            await asyncio.to_thread(_show, settings, target, version, page)
            await repository.record_version(session, sale_id, version, digest=digest, published_by=published_by)
        await repository.has_what_was_wanted(session, row.sale)
    log.info("page.published", sale_id=str(sale_id), version=version)
    await publish_index(database, settings)
    return version


async def due_for_publication(database: Database) -> list[UUID]:
    """Sales whose page is missing or out of date: asked at every tick, so that a lost job costs a second, no page."""
    async with database.transaction() as session:
        return await repository.unpublished(session)


async def publish_index(database: Database, settings: Settings) -> Published:
    """Publish the list of sales; nothing is written when it is the same as before."""
    async with database.transaction() as session:
        rows = await repository.with_pictures(session, await repository.published(session, limit=INDEX_MAX))
        # A card shows the first picture of its sale, which its own page has put there; unless the folder is a new one.
        await put_beside_pages(session, settings.pages_dir, [name for row in rows for name in _card_names(row)])
    page = render_index(IndexPage(tuple(_index_entry(row) for row in rows)))
    return await asyncio.to_thread(publish_files, settings.pages_dir, Target.index(), page.files)


def _show(settings: Settings, target: Target, version: int, page: RenderedPage) -> None:
    write_assets(settings.pages_dir)
    write_version(settings.pages_dir, target, version, page.files)
    activate(settings.pages_dir, target, version)


def _digest(page: RenderedPage) -> str:
    """Over every file's name and content, each preceded by its length."""
    digest = hashlib.sha256()
    for name, content in sorted(page.files.items()):
        for part in (name.encode(), content):
            digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


def picture_names(row: SaleRow) -> list[str]:
    """Names of all files that the page of a sale shows, in its order."""
    return [file.name for item in row.items for picture in item.pictures for file in picture.files]


def _card_names(row: SaleRow) -> list[str]:
    first = next((item.pictures[0] for item in row.items if item.pictures), None)
    return [file.name for file in first.files] if first is not None else []


def sale_page(row: SaleRow, settings: Settings) -> SalePage:
    """The renderer's context of a sale."""
    sale = row.sale
    opens_at, closes_at = window(sale)
    return SalePage(
        slug=sale.slug,
        title=sale.title,
        merchant_name=row.merchant,
        opens_at=opens_at,
        closes_at=closes_at,
        time_zone=sale.time_zone,
        items=tuple(_item_view(item) for item in row.items),
        description=sale.description,
        language=sale.language.value,
        delivery_required=sale.delivery_required,
        base_url=settings.public_url.rstrip("/"),
        repeat_window_ms=sale.repeat_window_ms,
        payment_hold_s=sale.hold_s if sale.payment_required else None,
    )


def _item_view(row: ItemRow) -> SaleItemView:
    usual = row.sku.usual_price_minor
    return SaleItemView(
        sku=row.item.sku,
        name=row.sku.name,
        price=Money(row.item.price_minor, row.item.currency),
        usual_price=Money(usual, row.sku.currency) if usual is not None and row.sku.currency else None,
        description=row.sku.description,
        per_shopper_limit=row.item.per_shopper_limit,
        options=tuple(OptionView(one["name"], one["value"]) for one in row.sku.options),
        pictures=tuple(_picture_view(picture) for picture in row.pictures),
    )


def _picture_view(row: PictureRow) -> PictureView:
    files = [PictureFile(one.name, one.width, one.height) for one in row.files]
    (fallback,) = (one for one in files if one.name.endswith(".jpg"))
    return PictureView(row.picture.alt, tuple(one for one in files if one is not fallback), fallback)


def _index_entry(row: SaleRow) -> IndexEntry:
    sale = row.sale
    opens_at, closes_at = window(sale)
    prices = {(item.item.price_minor, item.item.currency) for item in row.items}
    one_currency = len({currency for _, currency in prices}) == 1
    return IndexEntry(
        slug=sale.slug,
        title=sale.title,
        merchant_name=row.merchant,
        opens_at=opens_at,
        closes_at=closes_at,
        time_zone=sale.time_zone,
        price_from=Money(*min(prices)) if one_currency else None,
        picture=next((_picture_view(item.pictures[0]) for item in row.items if item.pictures), None),
    )
