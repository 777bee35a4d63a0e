"""What became of a ticket, and a shopper's claims: from the gate while queued, from the ledger afterwards."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from backend.api import AppState, SignedInShopper, State
from backend.core.clock import to_ms
from backend.core.errors import Code, Refused
from backend.core.fields import Moment, View
from backend.core.http import StrictRoute
from backend.core.log import get_logger
from backend.core.text import SLUG_PATTERN
from backend.gate import EntryId, GateUnavailable, LaneEntry, LaneId, LaneView, Ticket
from backend.models import Database
from backend.orders import TicketRow, claims_of_shopper, sale_exists, ticket_row
from backend.shopper_api.answers import eta_ms, place_in_line, poll_after_ms

log = get_logger()
router = APIRouter(prefix="/api/v1", tags=["shopper"], route_class=StrictRoute)

CACHE_MAX = 50_000
POLL_RESERVED_MS = 3_000
"""A hold changes by its own shopper's payment or its end: no need to ask more often."""

Status = Literal["queued", "reserved", "confirmed", "expired", "cancelled", "rejected"]
# A confirmed reservation can still be cancelled with its sale.
_FINAL = frozenset({"expired", "cancelled", "rejected"})

# What asyncpg and the pool raise when PostgreSQL is away.
LEDGER_AWAY = (DBAPIError, PoolTimeoutError, OSError)


class TicketView(View):
    status: Status
    position: int | None = None
    eta_ms: int | None = None
    order_id: UUID | None = None
    pay_by: Moment | None = None
    reason: str | None = None
    poll_after_ms: int | None = None


class ClaimView(View):
    sku: str
    ticket: str
    ticket_path: str
    status: Status


class ClaimsView(View):
    claims: list[ClaimView]


class TicketStates:
    """Answers tickets. Final answers are remembered, at most ``CACHE_MAX`` of them (about 15 MB)."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._final: OrderedDict[UUID, TicketView] = OrderedDict()

    async def of(self, ticket: Ticket) -> TicketView:
        """``queued`` while its entry is above what the ledger has applied, then what the ledger says."""
        known = self._final.get(ticket.reservation_id)
        if known is not None:
            return known
        view = await self._view(ticket)
        applied = view.reading.applied if view else None
        if view is not None and _is_queued(ticket.entry_id, view):
            return _queued(ticket.entry_id, applied)
        try:
            row = await ticket_row(self._state.database, ticket.reservation_id, ticket.lane_id, ticket.entry_id)
        except LEDGER_AWAY:
            # The ledger has it, or will: a ticket is never called failed because a database is away.
            return _queued(ticket.entry_id, applied)
        if row is None:
            return _queued(ticket.entry_id, applied)
        answer = _answer(row)
        if row.status in _FINAL:
            self._final[ticket.reservation_id] = answer
            while len(self._final) > CACHE_MAX:
                self._final.popitem(last=False)
        return answer

    async def _view(self, ticket: Ticket) -> LaneView | None:
        views = self._state.views
        try:
            view = await views.view(ticket.lane_id)
            if not view.reading.loaded or ticket.entry_id <= view.reading.last:
                return view
            # The view may be older than the ticket. Read again, and if the gate still has not the entry that it
            # signed for, it has lost its tail: the one way to notice that when nothing new was written since.
            view = await views.reread(ticket.lane_id)
            last = view.reading.last
            if view.reading.loaded and last.generation == ticket.entry_id.generation and last < ticket.entry_id:
                log.error("gate.regressed", item_id=str(ticket.lane_id.item_id), last=str(last))
                await self._state.gate.latch(ticket.lane_id, "regressed", generation=last.generation)
            return view
        except GateUnavailable:
            return None


def _is_queued(entry_id: EntryId, view: LaneView) -> bool:
    reading = view.reading
    if not reading.loaded or entry_id.generation != reading.generation:
        return False
    return reading.applied is None or reading.applied < entry_id


def _queued(entry_id: EntryId, applied: EntryId | None) -> TicketView:
    position = place_in_line(entry_id, applied)
    return TicketView(
        status="queued", position=position, eta_ms=eta_ms(position), poll_after_ms=poll_after_ms(position)
    )


def _answer(row: TicketRow) -> TicketView:
    status: Any = row.status
    return TicketView(
        status=status,
        order_id=row.order_id,
        pay_by=row.expires_at if row.status == "reserved" else None,
        reason=row.reason,
        poll_after_ms=POLL_RESERVED_MS if row.status == "reserved" else None,
    )


def _ticket_states(request: Request, state: State) -> TicketStates:
    held = request.app.state
    if not hasattr(held, "ticket_states"):
        held.ticket_states = TicketStates(state)
    states: TicketStates = held.ticket_states
    return states


@router.get("/tickets/{ticket}")
async def get_ticket(
    ticket: str,
    shopper_id: SignedInShopper,
    state: State,
    states: Annotated[TicketStates, Depends(_ticket_states)],
) -> TicketView:
    """What became of an accepted attempt. 404 for a forged ticket and for another shopper's."""
    read = state.tickets.read(ticket, shopper_id)
    if read is None:
        raise Refused(Code.NOT_FOUND)
    return await states.of(read)


@dataclass(frozen=True, slots=True)
class _Claim:
    sku: str
    ticket: Ticket
    status: str


async def _queued_claims(state: AppState, entries: list[LaneEntry], shopper_id: UUID) -> dict[UUID, _Claim]:
    found = {}
    for entry in entries:
        lane_id = LaneId(entry.item_id)
        for reservation, entry_id, at_ms in await state.gate.claims_of(lane_id, shopper_id):
            found[reservation] = _Claim(entry.sku, Ticket(lane_id, reservation, entry_id, at_ms), "queued")
    return found


async def _ledger_claims(database: Database, slug: str, shopper_id: UUID) -> dict[UUID, _Claim]:
    rows = await claims_of_shopper(database, slug, shopper_id)
    return {
        row.reservation_id: _Claim(
            row.sku,
            Ticket(row.lane_id, row.reservation_id, row.entry_id, _at_ms(row.admitted_at)),
            row.status,
        )
        for row in rows
    }


def _at_ms(moment: datetime) -> int:
    """The millisecond that was stored: ``to_ms`` rounds down, and a float may be a hair below."""
    return to_ms(moment.replace(microsecond=0)) + round(moment.microsecond / 1000)


@router.get("/me/claims")
async def my_claims(
    shopper_id: SignedInShopper,
    state: State,
    sale: Annotated[str, Query(pattern=SLUG_PATTERN, description="The sale's slug")],
) -> ClaimsView:
    """Every claim of the shopper in a sale, also when its answer was lost or the tab was closed."""
    claims: dict[UUID, _Claim] = {}
    away = 0
    try:
        entries = await state.views.entries_of_sale(sale)
        claims |= await _queued_claims(state, entries, shopper_id)
    except GateUnavailable:
        away, entries = 1, []
    try:
        claims |= await _ledger_claims(state.database, sale, shopper_id)
        if not entries and not await sale_exists(state.database, sale):
            raise Refused(Code.NOT_FOUND)
    except LEDGER_AWAY:
        away += 1
    if away == 2:
        raise Refused(Code.DEGRADED, "Your claims are kept; they cannot be shown now.", retry_after_ms=2_000)
    return ClaimsView(claims=[_claim_view(state, claim, shopper_id) for claim in claims.values()])


def _claim_view(state: AppState, claim: _Claim, shopper_id: UUID) -> ClaimView:
    text = state.tickets.sign(claim.ticket, shopper_id)
    status: Any = claim.status
    return ClaimView(sku=claim.sku, ticket=text, ticket_path=f"/api/v1/tickets/{text}", status=status)
