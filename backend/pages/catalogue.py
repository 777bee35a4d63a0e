"""Published sales for the shopper's API: from the ledger, remembered for a second, shared by all requests."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

from backend.models import Database, Sale
from backend.pages import repository
from backend.pages.phases import sale_phase, window
from backend.pages.repository import ItemRow, SaleRow
from backend.sales.status import SalePhase

LIST_MAX = 200
MAX_AGE_S = 1.0


@dataclass(frozen=True, slots=True)
class CataloguedItem:
    """An item that a shopper can see."""

    sku: str
    name: str
    description: str
    price_minor: int
    currency: str
    usual_price_minor: int | None
    per_shopper_limit: int
    available: int
    """For the phase alone: shoppers never see a number."""


@dataclass(frozen=True, slots=True)
class CataloguedSale:
    """A published sale."""

    sale: Sale
    merchant: str
    items: tuple[CataloguedItem, ...]

    @property
    def closes_at(self) -> datetime:
        """The stored closing time, or an operator's earlier end."""
        return window(self.sale)[1]

    def phase(self, now: datetime) -> SalePhase:
        """The phase at ``now``, computed when asked: it must not be a second old around the opening."""
        return sale_phase(self.sale, [item.available for item in self.items], now)


class PublishedSales:
    """One per process. However many shoppers ask, the ledger is read once a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sales: dict[str, CataloguedSale] = {}
        self._read_at_s = float("-inf")
        self._reading = asyncio.Lock()

    async def all(self) -> list[CataloguedSale]:
        """Sales to come and running first, then the latest over; at most ``LIST_MAX``."""
        await self._refresh()
        return list(self._sales.values())

    async def by_slug(self, slug: str) -> CataloguedSale | None:
        """A published sale."""
        await self._refresh()
        return self._sales.get(slug)

    async def _refresh(self) -> None:
        if time.monotonic() - self._read_at_s <= MAX_AGE_S:
            return
        async with self._reading:
            if time.monotonic() - self._read_at_s <= MAX_AGE_S:
                return
            async with self._database.transaction() as session:
                rows = await repository.published(session, limit=LIST_MAX)
            self._sales = {row.sale.slug: _catalogued(row) for row in rows}
            self._read_at_s = time.monotonic()


def _catalogued(row: SaleRow) -> CataloguedSale:
    return CataloguedSale(row.sale, row.merchant, tuple(_item(one) for one in row.items))


def _item(row: ItemRow) -> CataloguedItem:
    # A usual price in another currency than the sale's says nothing about what is saved.
    usual = row.sku.usual_price_minor if row.sku.currency == row.item.currency else None
    return CataloguedItem(
        row.item.sku,
        row.sku.name,
        row.sku.description,
        row.item.price_minor,
        row.item.currency,
        usual,
        row.item.per_shopper_limit,
        row.item.available,
    )
