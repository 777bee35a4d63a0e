"""Tickets' rows, read together: who asks while a query is under way goes into the next one.

An opening brings as many polls as it sold units; a query for each would be PostgreSQL's whole work.
"""

import asyncio
from collections.abc import Callable
from uuid import UUID

from backend.api import is_passing
from backend.core.log import get_logger
from backend.gate import Ticket
from backend.models import Database
from backend.orders import TicketRow, ticket_rows

log = get_logger()

READ_MAX = 500
Answered = Callable[[TicketRow | None], None]


class TicketReads:
    """One query at a time, of at most ``READ_MAX`` tickets."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Ticket, Answered]] = []
        self._reader: asyncio.Task[None] | None = None

    def read(self, ticket: Ticket, answered: Answered) -> None:
        """Have a ticket's row looked up. None: the ledger has it not yet, or is away."""
        self._waiting.append((ticket, answered))
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:READ_MAX], self._waiting[READ_MAX:]
                rows = await self._rows({ticket for ticket, _ in batch})
                for ticket, answered in batch:
                    try:
                        answered(rows.get(ticket.reservation_id))
                    except Exception:
                        # The others of this batch are still to be told.
                        log.exception("tickets.answer_failed")
        finally:
            self._reader = None

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
