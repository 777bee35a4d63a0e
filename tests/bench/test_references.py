"""The references do what they claim: a reference that oversold, or wrote other rows, would be no measure."""

import asyncio

import asyncpg
import pytest

from bench.references.bare_sql import write
from bench.references.lua_claim import flood
from bench.references.names import BUCKET, CLAIM_TERMS, CLAIMS, DATABASE_URL, GATE_URL, JOURNAL, STOCK
from bench.references.pipelined import CLAIM, Pipelined

UNITS, SHOPPERS = 20, 100


async def test_the_claim_sells_its_stock_once_a_shopper(gate_url):
    redis = await Pipelined.connect(gate_url)
    try:
        sha = await redis.call("SCRIPT", "LOAD", CLAIM.read_bytes())
        await redis.call("SET", STOCK, UNITS)

        def claim(shopper: int) -> asyncio.Future[int]:
            return redis.call(
                "EVALSHA", sha, 4, STOCK, CLAIMS, BUCKET, JOURNAL, f"shopper-{shopper}", f"r-{shopper}", *CLAIM_TERMS
            )

        first = await asyncio.gather(*(claim(number) for number in range(SHOPPERS)))
        again = await claim(0)
        assert sorted(left for left in first if left >= 0) == list(range(UNITS))
        assert [left for left in first if left < 0] == [-2] * (SHOPPERS - UNITS)
        assert again == -1
        assert await redis.call("XLEN", JOURNAL) == UNITS
        assert await redis.call("GET", STOCK) == b"0"
    finally:
        redis.close()


async def test_the_flood_gets_what_it_asks_for(gate_url, monkeypatch):
    monkeypatch.setenv(GATE_URL, gate_url)
    assert (await flood(150))["accepted"] == 150


@pytest.mark.parametrize("method", ["unnest", "copy"])
async def test_bare_sql_writes_the_rows_of_an_order(method, owner_database_url, monkeypatch):
    url = owner_database_url.replace("+asyncpg", "")
    monkeypatch.setenv(DATABASE_URL, url)
    result = await write(method, UNITS)
    assert result["orders"] == UNITS
    connection = await asyncpg.connect(url)
    try:
        counts = {
            table: await connection.fetchval(f"SELECT count(*) FROM {table}")
            for table in ("reservations", "orders", "ledger_entries", "notifications")
        }
        item = await connection.fetchrow("SELECT available, reserved, sold, allotment FROM sale_items")
        moved = await connection.fetchrow("SELECT sum(available_delta), sum(sold_delta) FROM ledger_entries")
    finally:
        await connection.close()
    assert counts == {
        "reservations": UNITS, "orders": UNITS, "ledger_entries": 2 * UNITS, "notifications": UNITS,
    }  # fmt: skip
    assert tuple(item) == (0, 0, UNITS, UNITS)
    assert tuple(moved) == (-UNITS, UNITS)
