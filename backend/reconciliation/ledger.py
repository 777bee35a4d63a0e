"""The ledger's entries, all of them, in pages."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from backend.models import Database
from backend.reconciliation import repository

PAGE_ROWS = 1_000
"""About 300 kB as JSON: what a slow reader makes us keep in memory."""


async def entries(database: Database, sale_id: UUID) -> AsyncIterator[Sequence[Row[Any]]]:
    """A sale's ledger entries in pages, item by item, in the order in which each item's were committed.

    Every page is a short transaction of its own, so a slow reader holds no connection and no old snapshot. It is
    nevertheless a true prefix of each item's history: whoever writes an entry holds the item's row, so an item's
    ids are given out in the order of the commits, and none below a seen one can appear later.
    """
    async with database.transaction() as session:
        items = await repository.item_ids(session, sale_id)
    for item_id in items:
        after = 0
        while True:
            async with database.transaction() as session:
                page = await repository.ledger_page(session, item_id, after=after, limit=PAGE_ROWS)
            if page:
                yield page
                after = page[-1].id
            if len(page) < PAGE_ROWS:
                break
