"""A shop on real servers: sales in the ledger and the gate, shoppers who get through, workers that run when told to."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from backend.gate import Attempt, Decision, EntryId, Gate, LaneId, Outcome, reservation_id
from backend.models import Database, Merchant, Order, Sale, SaleItem, SaleStage, Shopper, Sku, make_engine
from backend.orders import Drain, expire_due, relay_all
from backend.pages import clear_sold_out
from backend.sales import configure_lanes, preload
from backend.settings import Settings

SECRET_KEY = "tests-only-" + "0" * 32


@dataclass
class Bought:
    """An attempt that got through."""

    shopper_id: UUID
    reservation_id: UUID
    entry_id: EntryId


@dataclass
class Stall:
    """One sale with its items, by SKU."""

    sale_id: UUID
    merchant_id: UUID
    slug: str
    items: dict[str, UUID] = field(default_factory=dict)

    def lane(self, sku: str = "TEE-M") -> LaneId:
        return LaneId(self.items[sku])


class Shop:
    """Everything a test needs to run a sale by hand."""

    def __init__(self, settings: Settings, owner_url: str) -> None:
        self.settings = settings
        self.owner_url = owner_url
        self.database = Database(make_engine(settings, role="tests"))
        self.gate = Gate.connect(settings.gate_url, timeout_s=5, name="tests")
        self.drain_worker = Drain(self.database, self.gate)

    async def close(self) -> None:
        await self.gate.close()
        await self.database.close()

    async def sale(
        self,
        *,
        items: dict[str, int] | None = None,
        opens_in_s: float = -60.0,
        lasts_s: float = 3_600.0,
        payment_required: bool = False,
        hold_s: int = 900,
        limit: int = 1,
        loaded: bool = True,
        **columns: Any,
    ) -> Stall:
        """A scheduled sale, by default open for a minute, its stock loaded."""
        slug = f"sale-{uuid.uuid4().hex[:12]}"
        async with self.database.transaction() as session:
            now = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
            merchant = Merchant(name=f"Merchant of {slug}")
            session.add(merchant)
            await session.flush()
            opens_at = now + timedelta(seconds=opens_in_s)
            sale = Sale(
                merchant_id=merchant.id,
                slug=slug,
                title="Friday tee",
                stage=SaleStage.SCHEDULED,
                opens_at=opens_at,
                closes_at=opens_at + timedelta(seconds=lasts_s),
                time_zone="Europe/Berlin",
                rate_per_s=100_000.0,
                burst=100_000,
                repeat_window_ms=0,
                payment_required=payment_required,
                hold_s=hold_s,
                **columns,
            )
            session.add(sale)
            await session.flush()
            stall = Stall(sale.id, merchant.id, slug)
            for position, (code, allotment) in enumerate((items or {"TEE-M": 10}).items()):
                sku = Sku(
                    merchant_id=merchant.id, sku=code, name=f"Name of {code}", usual_price_minor=4_900, currency="EUR"
                )
                session.add(sku)
                await session.flush()
                item = SaleItem(
                    sale_id=sale.id,
                    sku_id=sku.id,
                    sku=code,
                    position=position,
                    price_minor=1_900,
                    currency="EUR",
                    per_shopper_limit=limit,
                    allotment=allotment,
                    available=allotment,
                )
                session.add(item)
                await session.flush()
                stall.items[code] = item.id
        if loaded:
            assert await preload(self.database, self.gate, self.settings, stall.sale_id) == []
        return stall

    async def shopper(self, contact: str | None = None) -> UUID:
        async with self.database.transaction() as session:
            shopper = Shopper(contact=contact or f"{uuid.uuid4().hex}@shop.example")
            session.add(shopper)
            await session.flush()
            return shopper.id

    async def attempt(
        self, stall: Stall, shopper_id: UUID, *, sku: str = "TEE-M", key: str = "one", quantity: int = 1
    ) -> tuple[UUID, Decision]:
        """One try at the gate."""
        lane_id = stall.lane(sku)
        one = reservation_id(shopper_id, lane_id.item_id, key)
        batch = await self.gate.admit(
            lane_id, [Attempt(one.bytes, shopper_id.bytes, quantity, 1)], generation=1, seen_seq=-1
        )
        return one, batch.decisions[0]

    async def buy(self, stall: Stall, **how: Any) -> Bought:
        """One try that gets through, of a new shopper."""
        shopper_id = how.pop("shopper_id", None) or await self.shopper()
        reservation, decision = await self.attempt(stall, shopper_id, **how)
        assert decision.outcome is Outcome.RESERVED, decision
        assert decision.entry_id is not None
        return Bought(shopper_id, reservation, decision.entry_id)

    async def drain(self, stall: Stall) -> int:
        """Apply everything that the lanes have."""
        total = 0
        for item_id in stall.items.values():
            more = True
            while more:
                drained = await self.drain_worker.drain_lane(LaneId(item_id))
                total, more = total + drained.applied, drained.more
        return total

    async def relay(self) -> int:
        async def before_giving(slug: str, sku: str) -> None:
            await clear_sold_out(self.settings, slug, sku)

        return await relay_all(self.database, self.gate, before_giving)

    async def expire(self) -> int:
        return await expire_due(self.database)

    async def settle(self, stall: Stall) -> None:
        """Let everything that is under way arrive."""
        await self.drain(stall)
        await self.relay()
        await self.drain(stall)

    async def order_of(self, bought: Bought) -> Order:
        async with self.database.transaction() as session:
            found = await session.execute(
                text("SELECT id FROM orders WHERE reservation_id = :id"), {"id": bought.reservation_id}
            )
            order = await session.get(Order, found.scalar_one())
            assert order is not None
            return order

    async def item(self, stall: Stall, sku: str = "TEE-M") -> SaleItem:
        async with self.database.transaction() as session:
            item = await session.get(SaleItem, stall.items[sku])
            assert item is not None
            return item

    async def row(self, sale_id: UUID) -> Sale:
        async with self.database.transaction() as session:
            sale = await session.get(Sale, sale_id)
            assert sale is not None
            return sale

    async def change(self, stall: Stall, **columns: Any) -> None:
        """Change the sale's row and tell its lanes."""
        sets = ", ".join(f"{name} = :{name}" for name in columns)
        await self.sql(
            f"UPDATE sales SET {sets}, config_version = config_version + 1 WHERE id = :sale",
            sale=stall.sale_id,
            **columns,
        )
        await configure_lanes(self.database, self.gate, self.settings, stall.sale_id)

    async def end(self, stall: Stall) -> None:
        """End the sale now, by both clocks."""
        async with self.database.transaction() as session:
            now = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
        await self.change(stall, ended_at=now)
        await asyncio.sleep(0.002)

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        """Anything, as the application's role."""
        async with self.database.transaction() as session:
            result = await session.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    async def as_owner(self, *statements: str, **values: Any) -> None:
        """Anything, as the owner of the schema: to break what the schema forbids."""
        engine = create_async_engine(self.owner_url)
        try:
            async with engine.begin() as connection:
                for statement in statements:
                    await connection.execute(text(statement), values)
        finally:
            await engine.dispose()


@pytest_asyncio.fixture(loop_scope="session")
async def shop(
    database_url: str, owner_database_url: str, gate_url: str, broker_url: str, tmp_path: Path
) -> AsyncIterator[Shop]:
    """A shop of this test alone."""
    settings = Settings(
        _env_file=None,
        environment="local",
        secret_key=SECRET_KEY,
        database_url=database_url,
        gate_url=gate_url,
        broker_url=broker_url,
        pages_dir=tmp_path / "pages",
    )
    opened = Shop(settings, owner_database_url)
    yield opened
    await opened.close()
