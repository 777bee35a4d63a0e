"""Reference (d): the rows of an order straight into the product's own tables, by ``unnest`` or by COPY.

    python -m bench.references.bare_sql unnest|copy ROWS        (REFERENCE_DATABASE_URL in the environment)

Reservation, order, two ledger entries and a notification a unit, one UPDATE of the item and one transaction a batch:
what the drain writes, without reading a journal, checking a chain, or deciding anything. The rows are made before the
clock starts. Prints one line of JSON: orders, seconds, own CPU-µs.
"""

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import uvloop
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from backend.core.ids import new_id
from backend.models import Merchant, Sale, SaleItem, SaleStage, Sku
from bench.references.names import DATABASE_URL

BATCH = 2_000
PRICE_MINOR, CURRENCY, SKU = 1_900, "EUR", "TEE-M"


@dataclass(frozen=True, slots=True)
class Row:
    """One unit sold."""

    reservation: UUID
    order: UUID
    shopper: UUID
    seq: int


@dataclass(frozen=True, slots=True)
class Where:
    """The sale and the item that the rows belong to."""

    sale: UUID
    item: UUID


_RESERVATIONS = """
    INSERT INTO reservations (id, sale_id, item_id, lane, generation, seq, shopper_id, quantity, status, admitted_at,
                              ended_at)
    SELECT id, $1, $2, 0, 1, seq, shopper, 1, 'confirmed', now(), now()
    FROM unnest($3::uuid[], $4::bigint[], $5::uuid[]) AS t (id, seq, shopper)
"""
_ORDERS = """
    INSERT INTO orders (id, reservation_id, sale_id, item_id, shopper_id, sku, quantity, status, price_minor, currency)
    SELECT id, reservation, $1, $2, shopper, 'TEE-M', 1, 'confirmed', 1900, 'EUR'
    FROM unnest($3::uuid[], $4::uuid[], $5::uuid[]) AS t (id, reservation, shopper)
"""
_ENTRIES = """
    INSERT INTO ledger_entries (sale_id, item_id, kind, quantity, allotment_delta, available_delta, reserved_delta,
                                sold_delta, reservation_id, generation, seq)
    SELECT $1, $2, k.kind, 1, 0, k.available, k.reserved, k.sold, t.reservation, 1, t.seq
    FROM unnest($3::uuid[], $4::bigint[]) AS t (reservation, seq)
    CROSS JOIN (VALUES ('reserve', -1, 1, 0), ('sell', 0, -1, 1)) AS k (kind, available, reserved, sold)
"""
_NOTIFICATIONS = """
    INSERT INTO notifications (id, kind, status, sale_id, order_id)
    SELECT gen_random_uuid(), 'order_confirmed', 'pending', $1, id FROM unnest($2::uuid[]) AS t (id)
"""
_TAKE = """
    UPDATE sale_items SET available = available - $2, sold = sold + $2, version = version + 1
    WHERE id = $1 AND available >= $2
"""


async def by_unnest(database: asyncpg.Connection, where: Where, rows: Sequence[Row]) -> None:
    """Four statements a batch."""
    reservations = [row.reservation for row in rows]
    orders = [row.order for row in rows]
    shoppers = [row.shopper for row in rows]
    seqs = [row.seq for row in rows]
    await database.execute(_RESERVATIONS, where.sale, where.item, reservations, seqs, shoppers)
    await database.execute(_ORDERS, where.sale, where.item, orders, reservations, shoppers)
    await database.execute(_ENTRIES, where.sale, where.item, reservations, seqs)
    await database.execute(_NOTIFICATIONS, where.sale, orders)


async def by_copy(database: asyncpg.Connection, where: Where, rows: Sequence[Row]) -> None:
    """Four COPYs a batch."""
    now = datetime.now(UTC)
    sale, item = where.sale, where.item
    tables: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
        "reservations": (
            "id sale_id item_id lane generation seq shopper_id quantity status admitted_at ended_at",
            [(r.reservation, sale, item, 0, 1, r.seq, r.shopper, 1, "confirmed", now, now) for r in rows],
        ),
        "orders": (
            "id reservation_id sale_id item_id shopper_id sku quantity status price_minor currency",
            [(r.order, r.reservation, sale, item, r.shopper, SKU, 1, "confirmed", PRICE_MINOR, CURRENCY) for r in rows],
        ),
        "ledger_entries": (
            (
                "sale_id item_id kind quantity allotment_delta available_delta reserved_delta sold_delta "
                "reservation_id generation seq"
            ),
            [
                (sale, item, kind, 1, 0, available, reserved, sold, r.reservation, 1, r.seq)
                for r in rows
                for kind, available, reserved, sold in (("reserve", -1, 1, 0), ("sell", 0, -1, 1))
            ],
        ),
        "notifications": (
            "id kind status sale_id order_id",
            [(new_id(), "order_confirmed", "pending", sale, r.order) for r in rows],
        ),
    }
    for table, (columns, records) in tables.items():
        await database.copy_records_to_table(table, records=records, columns=columns.split())


METHODS: dict[str, Callable[[asyncpg.Connection, Where, Sequence[Row]], Awaitable[None]]] = {
    "unnest": by_unnest,
    "copy": by_copy,
}


async def write(method: str, count: int) -> dict[str, float]:
    """All rows, batch by batch."""
    url = os.environ[DATABASE_URL]
    where = await _make_sale(url, count)
    rows = [Row(UUID(bytes=os.urandom(16)), new_id(), UUID(bytes=os.urandom(16)), seq) for seq in range(count)]
    database = await asyncpg.connect(url)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for at in range(0, count, BATCH):
        batch = rows[at : at + BATCH]
        async with database.transaction():
            await METHODS[method](database, where, batch)
            taken = await database.execute(_TAKE, where.item, len(batch))
            assert taken == "UPDATE 1", taken
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    await database.close()
    return {"orders": count, "seconds": took_s, "cpu_us": cpu_s * 1e6}


async def _make_sale(url: str, units: int) -> Where:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    now = datetime.now(UTC)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        merchant = Merchant(name=f"Reference {new_id().hex}")
        session.add(merchant)
        await session.flush()
        sku = Sku(merchant_id=merchant.id, sku=SKU, name=SKU)
        sale = Sale(
            merchant_id=merchant.id,
            slug=f"reference-{new_id().hex}",
            title="Reference",
            stage=SaleStage.SCHEDULED,
            opens_at=now,
            closes_at=now + timedelta(hours=1),
        )
        session.add_all([sku, sale])
        await session.flush()
        item = SaleItem(
            sale_id=sale.id,
            sku_id=sku.id,
            sku=SKU,
            price_minor=PRICE_MINOR,
            currency=CURRENCY,
            per_shopper_limit=1,
            allotment=units,
            available=units,
        )
        session.add(item)
        await session.commit()
        where = Where(sale.id, item.id)
    await engine.dispose()
    return where


if __name__ == "__main__":
    print(json.dumps(uvloop.run(write(sys.argv[1], int(sys.argv[2])))))
