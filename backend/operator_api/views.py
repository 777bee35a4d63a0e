"""From rows to the API's answers, and from bodies to terms."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.fields import Money
from backend.models import Durability, Language, RecoveryPolicy, Sale, SaleItem, Sku
from backend.operator_api.schemas import (
    ActivityLine,
    ItemBody,
    ItemView,
    LinkView,
    Option,
    PaymentView,
    SaleBody,
    SaleChange,
    SaleRow,
    SaleView,
    SkuView,
    ThrottleFields,
    ThrottleView,
)
from backend.sales import (
    ItemTerms,
    SaleDefaults,
    SaleRows,
    SaleTerms,
    ThrottleTerms,
    database_now,
    newest_generation,
    phase,
    sku_names,
    status,
    throttle_of,
)


def sku_view(sku: Sku) -> SkuView:
    usual_price = None
    if sku.usual_price_minor is not None and sku.currency is not None:
        usual_price = Money(amount_minor=sku.usual_price_minor, currency=sku.currency)
    return SkuView(
        id=sku.id,
        sku=sku.sku,
        name=sku.name,
        description=sku.description,
        usual_price=usual_price,
        options=[Option(name=one["name"], value=one["value"]) for one in sku.options],
        created_at=sku.created_at,
    )


def throttle_view(row: Sale | SaleItem) -> ThrottleView | None:
    throttle = throttle_of(row)
    return ThrottleView(**throttle.as_dict()) if throttle else None


def _item_view(item: SaleItem, names: Mapping[UUID, str]) -> ItemView:
    return ItemView(
        id=item.id,
        sku=item.sku,
        name=names[item.sku_id],
        price=Money(amount_minor=item.price_minor, currency=item.currency),
        allotment=item.allotment,
        available=item.available,
        reserved=item.reserved,
        sold=item.sold,
        per_shopper_limit=item.per_shopper_limit,
        throttle=throttle_view(item),
    )


def _row_fields(rows: SaleRows, names: Mapping[UUID, str], now: datetime) -> dict[str, Any]:
    sale = rows.sale
    return {
        "id": sale.id,
        "slug": sale.slug,
        "title": sale.title,
        "status": status(sale, now).value,
        "phase": phase(sale, rows.items, now).value,
        "opens_at": sale.opens_at,
        "closes_at": sale.closes_at,
        "time_zone": sale.time_zone,
        "version": sale.version,
        "items": [_item_view(item, names) for item in rows.items],
    }


async def sale_rows(session: AsyncSession, every: Sequence[SaleRows], now: datetime) -> list[SaleRow]:
    """The lines of a list of sales."""
    names = await sku_names(session, (item for rows in every for item in rows.items))
    return [SaleRow(**_row_fields(rows, names, now)) for rows in every]


async def sale_view(session: AsyncSession, rows: SaleRows) -> SaleView:
    """A sale as operators see it, now."""
    sale = rows.sale
    names = await sku_names(session, rows.items)
    throttle = throttle_view(sale)
    assert throttle is not None
    return SaleView(
        **_row_fields(rows, names, await database_now(session)),
        fault=sale.fault.value if sale.fault else None,
        generation=await newest_generation(session, sale.id) if sale.fault else None,
        lead_s=sale.lead_s,
        description=sale.description,
        language=sale.language.value,
        delivery_required=sale.delivery_required,
        recovery=sale.recovery.value,
        durability=sale.durability.value,
        throttle=throttle,
        link=LinkView(ttl_s=sale.link_ttl_s, overlap_s=sale.link_overlap_s, epoch=sale.link_epoch),
        payment=PaymentView(required=sale.payment_required, hold_s=sale.hold_s),
        published_version=sale.published_version,
        page_path=f"/s/{sale.slug}/" if sale.published_version is not None else None,
        scheduled_at=sale.scheduled_at,
        preloaded_at=sale.preloaded_at,
        ended_at=sale.ended_at,
        created_at=sale.created_at,
    )


def activity_line(row: Any) -> ActivityLine:
    """A row of ``repository.activity_of``."""
    return ActivityLine(
        id=row.id,
        at=row.at,
        actor=row.actor,
        kind=row.kind,
        reason=row.reason,
        before=row.before,
        after=row.after,
        outcome=_outcome(row),
    )


def _outcome(row: Any) -> Literal["done", "refused", "open", "alarm"]:
    if row.alarm:
        return "alarm"
    if row.response_status is None:
        return "open"
    return "done" if row.response_status < 400 else "refused"


def stored(view: SaleView | SkuView) -> dict[str, Any]:
    """An answer as a command keeps it: JSON's types, nothing null."""
    return view.model_dump(mode="json", exclude_none=True)


def _sent(body: Any) -> dict[str, Any]:
    """The fields of a body that the caller sent, as they are in Python."""
    return {name: getattr(body, name) for name in body.model_fields_set}


def throttle_changes(body: ThrottleFields) -> dict[str, Any]:
    return {name: value for name, value in _sent(body).items() if name not in ("sku", "reason")}


def _item_terms(items: Sequence[ItemBody]) -> tuple[ItemTerms, ...]:
    return tuple(
        ItemTerms(item.sku, item.price.amount_minor, item.price.currency, item.allotment, item.per_shopper_limit)
        for item in items
    )


def terms_from(body: SaleBody, defaults: SaleDefaults) -> SaleTerms:
    """The terms of a new sale; what the body leaves out is as the merchant's defaults have it."""
    bare = SaleTerms(
        slug=body.slug,
        title=body.title,
        opens_at=body.opens_at,
        closes_at=body.closes_at,
        items=_item_terms(body.items),
    )
    return changed_terms(defaults.applied(bare), body)


def changed_terms(old: SaleTerms, body: SaleBody | SaleChange) -> SaleTerms:
    """The old terms with what the body sends in their place; nested objects merge field by field."""
    sent = _sent(body)
    changes: dict[str, Any] = {
        name: value for name, value in sent.items() if name not in ("items", "throttle", "link", "payment")
    }
    if "language" in sent:
        changes["language"] = Language(body.language)
    if "recovery" in sent:
        changes["recovery"] = RecoveryPolicy(body.recovery)
    if "durability" in sent:
        changes["durability"] = Durability(body.durability)
    if "items" in sent:
        changes["items"] = _item_terms(body.items)
    if "throttle" in sent:
        throttle: ThrottleTerms = replace(old.throttle, **_sent(body.throttle))
        changes["throttle"] = throttle
    if "link" in sent:
        names = {"ttl_s": "link_ttl_s", "overlap_s": "link_overlap_s"}
        changes |= {names[name]: value for name, value in _sent(body.link).items()}
    if "payment" in sent:
        names = {"required": "payment_required", "hold_s": "hold_s"}
        changes |= {names[name]: value for name, value in _sent(body.payment).items()}
    return replace(old, **changes)
