"""Tickets' rows, read together: who asks while a query is under way goes into the next one.

An opening brings as many polls as it sold units; a query for each would be PostgreSQL's whole work.
"""

import asyncio
from collections.abc import Callable, Mapping
from uuid import UUID

from backend.api import is_passing
from backend.core.log import get_logger
from backend.gate import Ticket
from backend.models import Database
from backend.orders import TicketRow, ticket_rows

log = get_logger()

READ_MAX = 500
PATIENCE_S = 2.0
"""A database that is frozen keeps its callers for half a minute: shoppers are told what is known before that."""
Answered = Callable[[TicketRow | None], None]
_Asked = tuple[Ticket, Answered]


class TicketReads:
    """One query at a time, of at most ``READ_MAX`` tickets."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Asked] = []
        self._reader: asyncio.Task[None] | None = None
        self._overdue = False

    def read(self, ticket: Ticket, answered: Answered) -> None:
        """Have a ticket's row looked up. None: the ledger has it not yet, is away, or takes its time."""
        if self._overdue:
            answered(None)
            return
        self._waiting.append((ticket, answered))
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:READ_MAX], self._waiting[READ_MAX:]
                patience = loop.call_later(PATIENCE_S, self._lose_patience, batch)
                try:
                    rows = await self._rows({ticket for ticket, _ in batch})
                finally:
                    patience.cancel()
                    self._overdue = False
                _answer(batch, rows)
        finally:
            self._reader = None

    def _lose_patience(self, batch: list[_Asked]) -> None:
        """The query goes on, and nobody waits for it any more, nor for one of its own, until it has ended."""
        self._overdue = True
        late = batch + self._waiting
        batch.clear()
        self._waiting.clear()
        log.warning("tickets.database_slow", tickets=len(late))
        _answer(late, {})

    async def _rows(self, tickets: set[Ticket]) -> dict[UUID, TicketRow]:
        try:
            return await ticket_rows(self._database, tickets)
        except Exception as error:
            # "Queued" is what is known; the next poll asks again.
            if is_passing(error):
                log.warning("tickets.database_down", error=type(error).__name__)
            else:
                log.exception("tickets.read_failed")
            return {}


def _answer(batch: list[_Asked], rows: Mapping[UUID, TicketRow]) -> None:
    for ticket, answered in batch:
        try:
            answered(rows.get(ticket.reservation_id))
        except Exception:
            # The others of this batch are still to be told.
            log.exception("tickets.answer_failed")
