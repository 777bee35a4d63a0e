"""``POST /api/v1/sales/{slug}/items/{sku}/link``: a shopper's own secret link, issued only while the sale is open.

Answered from this process's view of the lane (at most a quarter of a second old) and the secret of the current
epoch; the gate decides everything again when the link is used.
"""

import time
from collections.abc import Callable

import orjson

from backend.api import AppState, shopper_of
from backend.core.clock import from_ms, rfc3339, to_ms
from backend.core.errors import Code, Refused
from backend.core.hot import Head, HotRequest, Reply
from backend.core.text import SKU, SLUG
from backend.gate import LaneId, LaneView, issue_link_bytes
from backend.orders import opening_of
from backend.shopper_api.answers import DEGRADED_RETRY_MS, JSON, PAUSED_RETRY_MS
from backend.shopper_api.hot import Endpoint

PREFIX = "/api/v1/sales/"
SUFFIX = "/link"
SOLD_OUT_RETRY_MS = 5_000
ISSUE_MAX = 60
ISSUE_WINDOW_S = 10
"""Links one shopper may ask one process for: a page needs one each repeat window, twenty tabs need twenty."""

_CREATED = Head(201, JSON)


class IssueLimit:
    """Counts links per shopper in windows of fixed length; emptied with each window, so it cannot grow."""

    def __init__(self) -> None:
        self._window = -1
        self._issued: dict[bytes, int] = {}

    def take(self, shopper: bytes) -> None:
        """Count one. Raises ``Refused`` with the rest of the window when there were too many."""
        now = time.monotonic()
        window = int(now / ISSUE_WINDOW_S)
        if window != self._window:
            self._window, self._issued = window, {}
        issued = self._issued.get(shopper, 0) + 1
        if issued > ISSUE_MAX:
            left_ms = int(((window + 1) * ISSUE_WINDOW_S - now) * 1000)
            raise Refused(Code.RATE_LIMITED, retry_after_ms=left_ms)
        self._issued[shopper] = issued


class LinkEndpoint(Endpoint):
    """Issues links; one per process, because it counts them."""

    def __init__(self, state: AppState) -> None:
        super().__init__()
        self._state = state
        self._limit = IssueLimit()

    def answer(self, request: HotRequest, reply: Callable[[Reply], None]) -> None:
        """403 before opening, 409 when sold out or paused, 410 after the end."""
        shopper = shopper_of(request, self._state.shopper_tokens)
        slug, sku = _names(request.path)
        self._limit.take(shopper)
        entry = self._state.views.known_entry_by_sku(slug, sku)
        view = self._state.views.known_view(LaneId(entry.item_id)) if entry else None
        if view is None:
            self.later(self._look_up(slug, sku, shopper, reply), reply)
        else:
            reply(_issue(view, shopper))

    async def _look_up(self, slug: str, sku: str, shopper: bytes, reply: Callable[[Reply], None]) -> None:
        entry = await self._state.views.entry_by_sku(slug, sku)
        if entry is None:
            raise await self._not_in_the_gate(slug, sku)
        reply(_issue(await self._state.views.view(LaneId(entry.item_id)), shopper))

    async def _not_in_the_gate(self, slug: str, sku: str) -> Refused:
        """An item without a lane: not preloaded yet, or not there at all."""
        opens_at, now = await opening_of(self._state.database, slug, sku)
        if opens_at is None:
            return Refused(Code.NOT_FOUND)
        if now < opens_at:
            return Refused(Code.NOT_OPEN, retry_after_ms=to_ms(opens_at) - to_ms(now))
        return Refused(Code.DEGRADED, retry_after_ms=DEGRADED_RETRY_MS)


def _names(path: str) -> tuple[str, str]:
    slug, _, rest = path[len(PREFIX) : -len(SUFFIX)].partition("/items/")
    if not SLUG.fullmatch(slug) or not SKU.fullmatch(rest):
        raise Refused(Code.NOT_FOUND)
    return slug, rest


def _issue(view: LaneView, shopper: bytes) -> Reply:
    _require_open(view)
    reading = view.reading
    expires_at_ms = min(view.now_ms + reading.link_ttl_s * 1000, reading.closes_at_ms)
    link = issue_link_bytes(
        view.secrets[reading.link_epoch],
        item=reading.lane_id.item_id.bytes,
        shopper=shopper,
        epoch=reading.link_epoch,
        expires_at_ms=expires_at_ms,
    )
    body = {"buy_path": f"/api/v1/buy/{link}", "expires_at": rfc3339(from_ms(expires_at_ms))}
    return Reply(_CREATED, orjson.dumps(body))


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
