"""Reference (f)'s other half: journal entries into PostgreSQL, a batch a transaction, by ``unnest``.

python -m bench.references.consumer        (REFERENCE_GATE_URL, REFERENCE_DATABASE_URL in the environment)
"""

import asyncio
import os
import signal
from typing import Any

import asyncpg
import uvloop

from bench.references.names import APPLIED, DATABASE_URL, GATE_URL, JOURNAL
from bench.references.pipelined import Pipelined

BATCH_MAX = 2_000
BLOCK_MS = 500
_INSERT = """
    INSERT INTO orders (reservation, shopper, price_minor)
    SELECT reservation, shopper, 1900 FROM unnest($1::text[], $2::text[]) AS t (reservation, shopper)
    ON CONFLICT (reservation) DO NOTHING
"""
_TAKE = "UPDATE stock SET available = available - $1 WHERE id = 1 AND available >= $1"


async def consume() -> None:
    """Until SIGTERM."""
    redis = await Pipelined.connect(os.environ[GATE_URL])
    database = await asyncpg.connect(os.environ[DATABASE_URL])
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    while not stopping.is_set():
        # Asked for anew each time: a run of the bench begins with an empty journal.
        after = await redis.call("GET", APPLIED) or b"0-0"
        read = await redis.call("XREAD", "COUNT", BATCH_MAX, "BLOCK", BLOCK_MS, "STREAMS", JOURNAL, after)
        if read:
            entries = read[0][1]
            await _apply(database, entries)
            await redis.call("SET", APPLIED, entries[-1][0])
    await database.close()
    redis.close()


async def _apply(database: asyncpg.Connection, entries: list[Any]) -> None:
    # An entry: its id, and the four words s, shopper, r, reservation.
    rows = [fields for _, fields in entries]
    async with database.transaction():
        await database.execute(_INSERT, [row[3].decode() for row in rows], [row[1].decode() for row in rows])
        taken = await database.execute(_TAKE, len(rows))
        assert taken == "UPDATE 1", taken


if __name__ == "__main__":
    uvloop.run(consume())
