"""``GET /me/claims``: a shopper's claims in a sale, from the gate while queued, from the ledger afterwards."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy.exc import SQLAlchemyError

from backend.api import AppState, SignedInShopper, State, is_passing
from backend.core.clock import to_ms
from backend.core.errors import Code, Refused
from backend.core.fields import View
from backend.core.http import StrictRoute
from backend.core.text import SLUG_PATTERN
from backend.gate import GateUnavailable, LaneEntry, LaneId, Ticket
from backend.models import Database
from backend.orders import claims_of_shopper, sale_exists
from backend.shopper_api.answers import Status

router = APIRouter(prefix="/api/v1", tags=["shopper"], route_class=StrictRoute)


class ClaimView(View):
    sku: str
    ticket: str
    ticket_path: str
    status: Status


class ClaimsView(View):
    claims: list[ClaimView]


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
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        if not is_passing(error):
            raise
        away += 1
    if away == 2:
        raise Refused(Code.DEGRADED, "Your claims are kept; they cannot be shown now.", retry_after_ms=2_000)
    return ClaimsView(claims=[_claim_view(state, claim, shopper_id) for claim in claims.values()])


def _claim_view(state: AppState, claim: _Claim, shopper_id: UUID) -> ClaimView:
    text = state.tickets.sign(claim.ticket, shopper_id)
    status: Any = claim.status
    return ClaimView(sku=claim.sku, ticket=text, ticket_path=f"/api/v1/tickets/{text}", status=status)
