"""``GET /api/v1/tickets/{ticket}``: what became of an accepted attempt.

ticket ─► genuine, and this shopper's? ─► queued, says the lane's view ─► place in line
                                       └► decided: the ledger's row, read together with whoever asks meanwhile
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from backend.api import AppState, shopper_of
from backend.core.clock import rfc3339
from backend.core.errors import Code, Refused
from backend.core.hot import Head, HotRequest, Reply
from backend.core.log import get_logger
from backend.gate import EntryId, GateUnavailable, LaneView, Ticket
from backend.orders import TicketRow
from backend.shopper_api.answers import JSON, Status, eta_ms, place_in_line, poll_after_ms
from backend.shopper_api.hot import Endpoint
from backend.shopper_api.ticket_reads import TicketReads

log = get_logger()

PREFIX = "/api/v1/tickets/"
CACHE_MAX = 10_000
"""Final answers that are remembered."""
POLL_RESERVED_MS = 3_000
"""A hold changes by its own shopper's payment or its end: no need to ask more often."""

POLL_BLIND_MS = 2_000
"""While the gate is away."""

# A confirmed reservation can still be cancelled with its sale.
_FINAL = frozenset({"expired", "cancelled", "rejected"})
_OK = Head(200, JSON)


class TicketEndpoint(Endpoint):
    """Answers tickets; one per process, because it remembers final answers and reads in batches."""

    def __init__(self, state: AppState) -> None:
        super().__init__()
        self._state = state
        self._reads = TicketReads(state.database)
        self._final: OrderedDict[tuple[str, bytes], Reply] = OrderedDict()

    def answer(self, request: HotRequest, reply: Callable[[Reply], None]) -> None:
        """404 for a forged ticket and for another shopper's."""
        shopper = shopper_of(request, self._state.shopper_tokens)
        text = request.path[len(PREFIX) :]
        known = self._final.get((text, shopper))
        if known is not None:
            reply(known)
            return
        ticket = self._state.tickets.read_bytes(text, shopper)
        if ticket is None:
            raise Refused(Code.NOT_FOUND)

        def tell(answer: Reply, *, final: bool = False) -> None:
            if final:
                self._remember((text, shopper), answer)
            reply(answer)

        view = self._state.views.known_view(ticket.lane_id)
        if view is None or (view.reading.loaded and view.reading.last < ticket.entry_id):
            self.later(self._look_up(ticket, tell, reply), reply)
        else:
            self._tell(view, ticket, tell, reply)

    def _remember(self, key: tuple[str, bytes], answer: Reply) -> None:
        self._final[key] = answer
        while len(self._final) > CACHE_MAX:
            self._final.popitem(last=False)

    async def _look_up(self, ticket: Ticket, tell: Callable[..., None], reply: Callable[[Reply], None]) -> None:
        self._tell(await self._view(ticket), ticket, tell, reply)

    async def _view(self, ticket: Ticket) -> LaneView | None:
        views = self._state.views
        try:
            view = await views.view(ticket.lane_id)
            if not view.reading.loaded or ticket.entry_id <= view.reading.last:
                return view
            # The view may be older than the ticket. Read again, and if the gate still has not the entry that it
            # signed for, it has lost its tail: the one way to notice that when nothing new was written since.
            view = await views.reread(ticket.lane_id)
            if view.reading.loaded and view.reading.last < ticket.entry_id:
                await self._look_for_loss(ticket)
            return view
        except GateUnavailable:
            return None

    async def _look_for_loss(self, ticket: Ticket) -> None:
        """Stop the lane if the store that takes writes has not the entry either."""
        reading = await self._state.gate.read(ticket.lane_id, sure=True)
        if reading.loaded and reading.last < ticket.entry_id:
            log.error("gate.regressed", item_id=str(ticket.lane_id.item_id), last=str(reading.last))
            await self._state.gate.latch(ticket.lane_id, "regressed", generation=reading.generation)

    def _tell(
        self, view: LaneView | None, ticket: Ticket, tell: Callable[..., None], reply: Callable[[Reply], None]
    ) -> None:
        if view is not None and _is_queued(ticket.entry_id, view):
            tell(_queued(ticket.entry_id, view))
            return

        def read(row: TicketRow | None) -> None:
            # None: the ledger will have it. A ticket is never called failed because a database is away.
            try:
                if row is None:
                    tell(_queued(ticket.entry_id, view))
                else:
                    tell(_decided(row), final=row.status in _FINAL)
            except Exception as error:  # noqa: BLE001 - whoever asked gets an answer, whatever went wrong
                self.failed(error, reply)

        self._reads.read(ticket, read)


def _is_queued(entry_id: EntryId, view: LaneView) -> bool:
    reading = view.reading
    if not reading.loaded or entry_id.generation != reading.generation:
        return False
    return reading.applied is None or reading.applied < entry_id


def _queued(entry_id: EntryId, view: LaneView | None) -> Reply:
    if view is None:
        # The gate is away: how many are before it, nobody knows, and nobody makes up.
        return _reply(status="queued", poll_after_ms=POLL_BLIND_MS)
    position = place_in_line(entry_id, view.reading.applied)
    return _reply(status="queued", position=position, eta_ms=eta_ms(position), poll_after_ms=poll_after_ms(position))


def _decided(row: TicketRow) -> Reply:
    reserved = row.status == "reserved"
    status: Any = row.status
    return _reply(
        status=status,
        order_id=row.order_id,
        pay_by=row.expires_at if reserved else None,
        reason=row.reason,
        poll_after_ms=POLL_RESERVED_MS if reserved else None,
    )


def _reply(
    *,
    status: Status,
    position: int | None = None,
    eta_ms: int | None = None,
    order_id: UUID | None = None,
    pay_by: datetime | None = None,
    reason: str | None = None,
    poll_after_ms: int | None = None,
) -> Reply:
    """The fields of ``hot_routes.TicketView``, those that are None left out."""
    fields = {
        "status": status,
        "position": position,
        "eta_ms": eta_ms,
        "order_id": None if order_id is None else str(order_id),
        "pay_by": None if pay_by is None else rfc3339(pay_by),
        "reason": reason,
        "poll_after_ms": poll_after_ms,
    }
    return Reply(_OK, orjson.dumps({name: value for name, value in fields.items() if value is not None}))
