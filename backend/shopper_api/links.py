"""``POST /sales/{slug}/items/{sku}/link``: a shopper's own secret link, issued only while the sale is open.

Answered from this process's view of the lane (at most a quarter of a second old) and the secret of the current
epoch; the gate decides everything again when the link is used.
"""

import time
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from backend.api import AppState, SignedInShopper, State
from backend.core.clock import from_ms, to_ms
from backend.core.errors import Code, Refused
from backend.core.fields import Moment, View
from backend.core.http import StrictRoute
from backend.core.text import SKU_PATTERN, SLUG_PATTERN
from backend.gate import GateUnavailable, LaneId, LaneView, issue_link
from backend.orders import opening_of
from backend.shopper_api.answers import DEGRADED_RETRY_MS, PAUSED_RETRY_MS

router = APIRouter(prefix="/api/v1", tags=["shopper"], route_class=StrictRoute)

SOLD_OUT_RETRY_MS = 5_000
ISSUE_MAX = 60
ISSUE_WINDOW_S = 10
"""Links one shopper may ask one process for: a page needs one each repeat window, twenty tabs need twenty."""


class LinkView(View):
    buy_path: str
    expires_at: Moment


class IssueLimit:
    """Counts links per shopper in windows of fixed length; emptied with each window, so it cannot grow."""

    def __init__(self) -> None:
        self._window = -1
        self._issued: dict[UUID, int] = {}

    def take(self, shopper_id: UUID) -> None:
        """Count one. Raises ``Refused`` with the rest of the window when there were too many."""
        now = time.monotonic()
        window = int(now / ISSUE_WINDOW_S)
        if window != self._window:
            self._window, self._issued = window, {}
        issued = self._issued.get(shopper_id, 0) + 1
        if issued > ISSUE_MAX:
            left_ms = int(((window + 1) * ISSUE_WINDOW_S - now) * 1000)
            raise Refused(Code.RATE_LIMITED, retry_after_ms=left_ms)
        self._issued[shopper_id] = issued


_limit = IssueLimit()


@router.post("/sales/{slug}/items/{sku}/link", status_code=201)
async def create_link(
    slug: Annotated[str, Path(pattern=SLUG_PATTERN)],
    sku: Annotated[str, Path(pattern=SKU_PATTERN)],
    shopper_id: SignedInShopper,
    state: State,
    response: Response,
) -> LinkView:
    """Issue a link: 403 before opening, 409 when sold out or paused, 410 after the end."""
    _limit.take(shopper_id)
    try:
        entry = await state.views.entry_by_sku(slug, sku)
        if entry is None:
            raise await _not_in_the_gate(state, slug, sku)
        view = await state.views.view(LaneId(entry.item_id))
    except GateUnavailable:
        raise Refused(Code.DEGRADED, retry_after_ms=DEGRADED_RETRY_MS) from None
    _require_open(view)
    reading = view.reading
    expires_at_ms = min(view.now_ms + reading.link_ttl_s * 1000, reading.closes_at_ms)
    link = issue_link(
        view.secrets[reading.link_epoch],
        item_id=entry.item_id,
        shopper_id=shopper_id,
        epoch=reading.link_epoch,
        expires_at_ms=expires_at_ms,
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    return LinkView(buy_path=f"/api/v1/buy/{link}", expires_at=from_ms(expires_at_ms))


def _require_open(view: LaneView) -> None:
    reading, now_ms = view.reading, view.now_ms
    if not reading.loaded or reading.link_epoch not in view.secrets:
        raise Refused(Code.DEGRADED, retry_after_ms=DEGRADED_RETRY_MS)
    if now_ms < reading.opens_at_ms:
        raise Refused(Code.NOT_OPEN, retry_after_ms=reading.opens_at_ms - now_ms)
    if now_ms >= reading.closes_at_ms:
        raise Refused(Code.ENDED)
    if reading.paused or reading.fault:
        raise Refused(Code.PAUSED, retry_after_ms=PAUSED_RETRY_MS)
    if reading.available <= 0:
        raise Refused(Code.SOLD_OUT, retry_after_ms=SOLD_OUT_RETRY_MS)


async def _not_in_the_gate(state: AppState, slug: str, sku: str) -> Refused:
    """An item without a lane: not preloaded yet, or not there at all."""
    opens_at, now = await opening_of(state.database, slug, sku)
    if opens_at is None:
        return Refused(Code.NOT_FOUND)
    if now < opens_at:
        return Refused(Code.NOT_OPEN, retry_after_ms=to_ms(opens_at) - to_ms(now))
    return Refused(Code.DEGRADED, retry_after_ms=DEGRADED_RETRY_MS)
