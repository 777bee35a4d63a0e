"""A merchant's sale of one item over ledger and gate, made straight from the models: the tests of the ledger
need no API, no console and no clock."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis
from sqlalchemy import text

from backend.core.ids import new_id
from backend.gate import Gate
from backend.models import (
    Database,
    EntryKind,
    GateOutbox,
    JournalCursor,
    LedgerEntry,
    LinkSecret,
    Merchant,
    OutboxKind,
    Sale,
    SaleItem,
    SaleStage,
    Sku,
)
from backend.orders import Drain, Drained, cancel_sale, relay_lane
from tests.support.lane import GENEROUS, SECRET, Lane

CURRENCY = "EUR"
PRICE_MINOR = 1_900


@dataclass
class Counters:
    """The ledger's figures of the item."""

    allotment: int
    available: int
    reserved: int
    sold: int


@dataclass
class Shop:
    """One sale of one item, and its lane."""

    database: Database
    lane: Lane
    sale_id: UUID
    item_id: UUID
    slug: str

    @classmethod
    async def open(
        cls,
        database: Database,
        gate: Gate,
        admin: Redis,
        *,
        units: int = 10,
        limit: int = 1,
        hold_s: int | None = None,
        load: bool = True,
        **config: Any,
    ) -> "Shop":
        """``hold_s`` makes payment required. Records the preload as the product does, then loads the lane."""
        sale_id, item_id = new_id(), new_id()
        slug = f"sale-{secrets.token_hex(6)}"
        nonce = secrets.token_hex(16)
        now = datetime.now(UTC)
        async with database.transaction() as session:
            merchant = Merchant(name=f"Merchant of {slug}")
            session.add(merchant)
            await session.flush()
            sku = Sku(merchant_id=merchant.id, sku="TEE-M", name="Tee, size M")
            sale = Sale(
                id=sale_id,
                merchant_id=merchant.id,
                slug=slug,
                title="Friday tee",
                stage=SaleStage.SCHEDULED,
                opens_at=now - timedelta(minutes=1),
                closes_at=now + timedelta(hours=1),
                payment_required=hold_s is not None,
                hold_s=hold_s or 900,
                preloaded_at=now,
                link_epoch=1,
                rate_per_s=GENEROUS.rate_per_s,
                burst=GENEROUS.burst,
                wait_budget_ms=GENEROUS.wait_budget_ms,
                repeat_window_ms=GENEROUS.repeat_window_ms,
            )
            session.add_all([sku, sale])
            await session.flush()
            session.add(LinkSecret(sale_id=sale_id, epoch=1, secret=SECRET))
            session.add(
                SaleItem(
                    id=item_id,
                    sale_id=sale_id,
                    sku_id=sku.id,
                    sku=sku.sku,
                    price_minor=PRICE_MINOR,
                    currency=CURRENCY,
                    per_shopper_limit=limit,
                    allotment=units,
                    available=units,
                )
            )
            await session.flush()
            session.add(JournalCursor(item_id=item_id, sale_id=sale_id, nonce=nonce, loaded_units=units))
            session.add(
                LedgerEntry(
                    sale_id=sale_id,
                    item_id=item_id,
                    kind=EntryKind.ALLOT,
                    quantity=units,
                    allotment_delta=units,
                    available_delta=units,
                    generation=1,
                    seq=0,
                )
            )
        lane = Lane(gate, admin, nonce=nonce)
        lane.lane_id = type(lane.lane_id)(item_id)
        shop = cls(database, lane, sale_id, item_id, slug)
        if load:
            await lane.load(units, per_shopper_limit=limit, **config)
        return shop

    @property
    def gate(self) -> Gate:
        return self.lane.gate

    async def drain(self, drain: Drain | None = None) -> Drained:
        """One batch."""
        return await (drain or Drain(self.database, self.gate)).drain_lane(self.lane.lane_id)

    async def relay(self) -> int:
        return await relay_lane(self.database, self.gate, self.lane.lane_id)

    async def settle(self) -> None:
        """Drain, relay and drain until nothing is left to do."""
        for _ in range(100):
            drained = await self.drain()
            if not drained.applied and not await self.relay():
                return
        raise AssertionError("the sale does not come to rest")

    async def cancel(self) -> int:
        async with self.database.transaction() as session:
            return await cancel_sale(session, self.sale_id, uuid4())

    async def top_up(self, units: int) -> UUID:
        """As an operator's top-up does it: counters, entry and outbox row in one transaction."""
        outbox_id = new_id()
        async with self.database.transaction() as session:
            session.add(
                GateOutbox(
                    id=outbox_id,
                    sale_id=self.sale_id,
                    item_id=self.item_id,
                    kind=OutboxKind.ADJUST,
                    quantity=units,
                    generation=self.lane.generation,
                )
            )
            session.add(
                LedgerEntry(
                    sale_id=self.sale_id,
                    item_id=self.item_id,
                    kind=EntryKind.ADJUST,
                    quantity=units,
                    allotment_delta=units,
                    available_delta=units,
                    outbox_id=outbox_id,
                )
            )
            await session.execute(
                text("UPDATE sale_items SET allotment = allotment + :n, available = available + :n WHERE id = :item"),
                {"n": units, "item": self.item_id},
            )
        return outbox_id

    async def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.database.transaction() as session:
            bound = {"item": self.item_id, "sale": self.sale_id} | values
            statement = text(query)
            names = set(statement.compile().params)
            found = await session.execute(statement, {name: value for name, value in bound.items() if name in names})
            return [tuple(row) for row in found] if found.returns_rows else []

    async def one(self, query: str, **values: Any) -> Any:
        """The first column of the only row."""
        ((value,),) = await self.rows(query, **values)
        return value

    async def counters(self) -> Counters:
        (row,) = await self.rows("SELECT allotment, available, reserved, sold FROM sale_items WHERE id = :item")
        return Counters(*row)

    async def cursor(self) -> tuple[int | None, int | None]:
        """seq and left_units of the cursor."""
        (row,) = await self.rows("SELECT seq, left_units FROM journal_cursors WHERE item_id = :item")
        return row[0], row[1]

    async def fault(self) -> str | None:
        return await self.one("SELECT fault FROM sales WHERE id = :sale")

    async def alarms(self) -> list[str]:
        found = await self.rows("SELECT kind FROM sale_events WHERE sale_id = :sale AND alarm ORDER BY at, id")
        return [row[0] for row in found]

    async def reservations(self) -> dict[str, int]:
        """Reservations by status."""
        found = await self.rows("SELECT status, count(*) FROM reservations WHERE item_id = :item GROUP BY 1")
        return dict(found)

    async def outbox(self) -> dict[str, int]:
        """Outbox rows by status."""
        found = await self.rows("SELECT status, count(*) FROM gate_outbox WHERE item_id = :item GROUP BY 1")
        return dict(found)

    async def make_due(self) -> None:
        """Let every hold's time be up, by the database's clock."""
        await self.rows(
            "UPDATE reservations SET expires_at = now() - interval '1 second' "
            "WHERE item_id = :item AND status = 'reserved'"
        )

    async def forget_telling(self) -> None:
        """As if the ten seconds after which a relay tells the gate again were over."""
        await self.rows("UPDATE gate_outbox SET applied_at = applied_at - interval '1 minute' WHERE item_id = :item")
