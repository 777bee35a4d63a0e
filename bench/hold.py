"""Hold a lane's drain: the bench has the lane's cursor row, and the drain passes on, as for another drain's lane.

So a journal can be filled before it is drained, and tickets stay queued for as long as they are polled.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.shop import OpenSale, Shop


@asynccontextmanager
async def held(shop: Shop, sale: OpenSale) -> AsyncIterator[None]:
    """Nothing of this sale is applied to the ledger within the block."""
    connection = await shop.ledger()
    try:
        # The server ends transactions that wait for their client; this one is meant to.
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        async with connection.transaction():
            ids = [item.item_id for item in sale.items]
            await connection.fetch("SELECT 1 FROM journal_cursors WHERE item_id = ANY($1) FOR UPDATE", ids)
            yield
    finally:
        await connection.close()
