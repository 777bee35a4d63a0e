"""Published sales, from the ledger, at most a second old: they stay up while the gate is down."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path

from backend.core.clock import from_ms
from backend.core.errors import Code, Refused
from backend.core.fields import Moment, Money, View
from backend.core.http import StrictRoute
from backend.core.text import SLUG_PATTERN
from backend.pages import CataloguedItem, CataloguedSale
from backend.shopper_api.deps import SharedState

router = APIRouter(prefix="/api/v1", tags=["shopper"], route_class=StrictRoute)

Phase = Literal["upcoming", "live", "paused", "sold_out", "ended", "cancelled"]


class SaleItemView(View):
    sku: str
    name: str
    description: str
    price: Money
    usual_price: Money | None = None
    per_shopper_limit: int
    phase: Literal["live", "sold_out"]


class SaleLine(View):
    slug: str
    title: str
    merchant: str
    phase: Phase
    opens_at: Moment
    closes_at: Moment
    time_zone: str


class SaleView(SaleLine):
    now_ms: int
    items: list[SaleItemView]


class SalesView(View):
    sales: list[SaleLine]
    now_ms: int


def _line(sale: CataloguedSale, now: datetime) -> dict[str, Any]:
    row = sale.sale
    return {
        "slug": row.slug,
        "title": row.title,
        "merchant": sale.merchant,
        "phase": sale.phase(now).value,
        "opens_at": row.opens_at,
        "closes_at": sale.closes_at,
        "time_zone": row.time_zone,
    }


def _item(item: CataloguedItem) -> SaleItemView:
    usual = item.usual_price_minor
    return SaleItemView(
        sku=item.sku,
        name=item.name,
        description=item.description,
        price=Money(amount_minor=item.price_minor, currency=item.currency),
        usual_price=None if usual is None else Money(amount_minor=usual, currency=item.currency),
        per_shopper_limit=item.per_shopper_limit,
        phase="live" if item.available > 0 else "sold_out",
    )


@router.get("/sales")
async def list_sales(shared: SharedState) -> SalesView:
    """Published sales: those to come and running first, then the latest that are over."""
    sales = await shared.sales.all()
    now_ms = await shared.clock.now_ms()
    return SalesView(sales=[SaleLine(**_line(sale, from_ms(now_ms))) for sale in sales], now_ms=now_ms)


@router.get("/sales/{slug}")
async def read_sale(slug: Annotated[str, Path(pattern=SLUG_PATTERN)], shared: SharedState) -> SaleView:
    """One published sale, with the gate's clock to count down by."""
    sale = await shared.sales.by_slug(slug)
    if sale is None:
        raise Refused(Code.NOT_FOUND)
    now_ms = await shared.clock.now_ms()
    return SaleView(**_line(sale, from_ms(now_ms)), now_ms=now_ms, items=[_item(item) for item in sale.items])
