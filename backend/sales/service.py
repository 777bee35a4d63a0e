"""SKUs and sales: made, read, edited, deleted. What is done to a running sale stands in ``steering`` and ``stock``."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused, invalid_field
from backend.core.ids import parse_id
from backend.models import Sale, SaleItem, Sku
from backend.sales import repository
from backend.sales.repository import SaleRows
from backend.sales.status import SaleStatus, status
from backend.sales.terms import ItemTerms, SaleTerms, check_terms, terms_of

LIST_MAX = 500

_GATE_TERMS = frozenset({"opens_at", "closes_at", "throttle", "link_ttl_s", "link_overlap_s", "items", "durability"})
"""Terms that a lane must be told of."""
_PAGE_TERMS = frozenset({"title", "description", "language", "delivery_required"})
"""Terms that the page alone shows."""
_AFTER_PRELOAD = frozenset({"closes_at", "link_ttl_s", "link_overlap_s", "recovery", "durability"}) | _PAGE_TERMS
"""What may still be edited when stock is in the gate; the rest has its own command or is agreed with
shoppers. ``closes_at`` may only move later: an early end is the command ``end``."""


def wrong_state(current: SaleStatus, detail: str, **extra: Any) -> Refused:
    """409 with the state that is in the way."""
    return Refused(Code.WRONG_STATE, detail, extra={"state": current.value, **extra})


async def create_sku(
    session: AsyncSession,
    merchant_id: UUID,
    *,
    sku: str,
    name: str,
    description: str,
    usual_price: tuple[int, str] | None,
    options: list[dict[str, str]] | None = None,
) -> Sku:
    """Make a SKU. Raises ``CONFLICT`` when the merchant has one of that code."""
    amount_minor, currency = usual_price or (None, None)
    values = {
        "merchant_id": merchant_id,
        "sku": sku,
        "name": name,
        "description": description,
        "usual_price_minor": amount_minor,
        "currency": currency,
        "options": options or [],
    }
    sku_id = await repository.insert_sku(session, values)
    if sku_id is None:
        raise Refused(Code.CONFLICT, f"You have a SKU {sku} already.")
    return await get_sku(session, merchant_id, sku_id)


async def get_sku(session: AsyncSession, merchant_id: UUID, sku_id: UUID) -> Sku:
    found = await repository.sku_of(session, merchant_id, sku_id)
    if found is None:
        raise Refused(Code.NOT_FOUND)
    return found


async def edit_sku(session: AsyncSession, merchant_id: UUID, sku_id: UUID, changes: Mapping[str, Any]) -> Sku:
    """Change name, description, usual price or options. The code itself is what orders are known by and stays."""
    found = await repository.sku_of(session, merchant_id, sku_id, lock=True)
    if found is None:
        raise Refused(Code.NOT_FOUND)
    for name, value in changes.items():
        setattr(found, name, value)
    await session.flush()
    return found


async def list_skus(session: AsyncSession, merchant_id: UUID) -> list[Sku]:
    return list(await repository.skus_of(session, merchant_id, limit=LIST_MAX))


async def _item_rows(session: AsyncSession, merchant_id: UUID, items: Iterable[ItemTerms]) -> list[dict[str, Any]]:
    items = tuple(items)
    known = await repository.skus_named(session, merchant_id, (item.sku for item in items))
    for at, item in enumerate(items):
        if item.sku not in known:
            raise invalid_field(f"items.{at}.sku", "There is no such SKU; make it first.")
    return [
        {
            "sku_id": known[item.sku].id,
            "sku": item.sku,
            "position": at,
            "price_minor": item.price_minor,
            "currency": item.currency,
            "per_shopper_limit": item.per_shopper_limit,
            "allotment": item.allotment,
            "available": item.allotment,
        }
        for at, item in enumerate(items)
    ]


async def create_sale(session: AsyncSession, merchant_id: UUID, terms: SaleTerms) -> SaleRows:
    """Make a draft. Raises ``INVALID_FIELD``, or ``CONFLICT`` when the slug is taken by anybody: it is an
    address on the one public origin."""
    check_terms(terms)
    rows = await _item_rows(session, merchant_id, terms.items)
    sale_id = await repository.insert_sale(session, {"merchant_id": merchant_id, **terms.columns()})
    if sale_id is None:
        raise Refused(Code.CONFLICT, f"The slug {terms.slug} is taken.")
    await repository.replace_items(session, sale_id, rows)
    return await get_sale(session, merchant_id, sale_id)


async def get_sale(session: AsyncSession, merchant_id: UUID, sale_id: UUID, *, lock: bool = False) -> SaleRows:
    """A sale of this merchant with its items. Raises ``NOT_FOUND``."""
    sale = await repository.sale_by_id(session, sale_id, merchant_id=merchant_id, lock=lock)
    if sale is None:
        raise Refused(Code.NOT_FOUND)
    items = await repository.items_of(session, [sale_id])
    return SaleRows(sale, items[sale_id])


async def find_sale(session: AsyncSession, name: str) -> Sale | None:
    """A sale of anybody's by slug or id, for the command line."""
    found = await repository.sale_by_slug(session, name)
    sale_id = parse_id(name)
    if found is None and sale_id is not None:
        found = await repository.sale_by_id(session, sale_id)
    return found


async def list_sales(
    session: AsyncSession,
    merchant_id: UUID,
    *,
    now: datetime,
    wanted: SaleStatus | None = None,
    search: str | None = None,
) -> list[SaleRows]:
    """The merchant's sales, the latest opening first. The status is derived, so it is filtered here."""
    sales = [
        sale
        for sale in await repository.sales_of(session, merchant_id, search=search, limit=LIST_MAX)
        if wanted is None or status(sale, now) is wanted
    ]
    items = await repository.items_of(session, [sale.id for sale in sales])
    return [SaleRows(sale, items[sale.id]) for sale in sales]


def _changed(old: SaleTerms, new: SaleTerms) -> set[str]:
    return {one.name for one in fields(SaleTerms) if getattr(old, one.name) != getattr(new, one.name)}


def _check_editable(sale: Sale, current: SaleStatus, changed: set[str], new: SaleTerms, now: datetime) -> None:
    """Which terms may change in which state.

    A draft: all. Scheduled: all but the slug, which shoppers may have been told, and nothing into the past.
    From the preload to the end: ``_AFTER_PRELOAD``. After that: nothing.
    """
    if current is SaleStatus.DRAFT:
        return
    if current in (SaleStatus.ENDED, SaleStatus.RECONCILED, SaleStatus.CANCELLED):
        raise wrong_state(current, f"A sale that is {current} is not edited any more.")
    allowed = (
        _AFTER_PRELOAD if sale.preloaded_at is not None else frozenset(one.name for one in fields(SaleTerms)) - {"slug"}
    )
    forbidden = sorted(changed - allowed)
    if forbidden:
        raise wrong_state(current, f"Cannot be changed any more: {', '.join(forbidden)}.", fields=forbidden)
    if sale.preloaded_at is not None and new.closes_at < sale.closes_at:
        raise wrong_state(current, "closes_at may only move later; to stop early, end the sale.")
    if "opens_at" in changed and new.opens_at <= now:
        raise invalid_field("opens_at", "A scheduled sale opens in the future.")


async def edit_sale(
    session: AsyncSession,
    merchant_id: UUID,
    sale_id: UUID,
    *,
    if_match: int,
    build: Callable[[SaleTerms], SaleTerms],
) -> tuple[SaleTerms, SaleRows]:
    """Give a sale new terms: ``build(old terms)``. Returns the terms before, and the sale after.

    Raises ``STALE`` when the version is another than ``if_match``, ``WRONG_STATE``, ``INVALID_FIELD``,
    ``CONFLICT``.
    """
    rows = await get_sale(session, merchant_id, sale_id, lock=True)
    sale = rows.sale
    if sale.version != if_match:
        raise Refused(Code.STALE, extra={"version": sale.version})
    old = terms_of(sale, rows.items)
    new = build(old)
    changed = _changed(old, new)
    now = await repository.database_now(session)
    _check_editable(sale, status(sale, now), changed, new, now)
    if changed:
        check_terms(new)
        if "slug" in changed and await repository.slug_taken(session, new.slug, except_sale=sale_id):
            raise Refused(Code.CONFLICT, f"The slug {new.slug} is taken.")
        if "items" in changed:
            await repository.replace_items(session, sale_id, await _item_rows(session, merchant_id, new.items))
        values = {**new.columns(), "version": sale.version + 1}
        if changed & _GATE_TERMS:
            values["config_version"] = sale.config_version + 1
        await repository.change_sale(session, sale_id, values)
    return old, await get_sale(session, merchant_id, sale_id, lock=True)


async def delete_sale(session: AsyncSession, merchant_id: UUID, sale_id: UUID) -> SaleRows:
    """Delete a draft. Its commands keep the record. Raises ``WRONG_STATE`` for anything else."""
    rows = await get_sale(session, merchant_id, sale_id, lock=True)
    current = status(rows.sale, await repository.database_now(session))
    if current is not SaleStatus.DRAFT:
        raise wrong_state(current, "Only a draft is deleted; cancel the sale instead.")
    await repository.delete_sale(session, sale_id)
    return rows


async def sku_names(session: AsyncSession, items: Iterable[SaleItem]) -> dict[UUID, str]:
    """Names of the items' SKUs, by the SKU's id."""
    return await repository.names_of(session, items)


async def newest_generation(session: AsyncSession, sale_id: UUID) -> int:
    """The highest generation of the sale's journals: what a resume after a fault has to name."""
    cursors = await repository.cursors_of(session, [sale_id])
    return max((cursor.generation for cursor in cursors.values()), default=1)
