"""``POST /api/v1/buy/{link}``: one attempt.

    bearer token → Idempotency-Key → body → link → gate (batched with whoever arrives meanwhile) → 202 or a problem

A hot endpoint (``backend.core.hot``), because a framework's route costs more than the gate. Nothing here touches
PostgreSQL or the broker.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from uuid import UUID

import orjson

from backend.api import AppState, shopper_of
from backend.core.errors import Code, Refused, invalid_field
from backend.core.hot import Head, HotRequest, Reply
from backend.core.strict_json import parse_object
from backend.core.text import IDEMPOTENCY_KEY
from backend.gate import (
    FIRST_LANE,
    Admission,
    Attempt,
    Decision,
    GateUnavailable,
    LaneAdmission,
    LaneId,
    LaneView,
    Link,
    Outcome,
    is_genuine,
    parse_link,
    reservation_bytes,
)
from backend.shopper_api.answers import JSON, place_in_line, poll_after_ms, refusal
from backend.shopper_api.hot import Endpoint

PREFIX = "/api/v1/buy/"
MAX_QUANTITY = 10_000
"""Above any per-shopper limit that makes sense; keeps every sum in the script far from a double's 2^53."""

HOLD_MAX_MS = 25_000
"""No answer is held back for longer, whatever the gate's clock has done: nginx waits 30 s."""
QUANTITY_CACHED_MAX = 64
"""Bytes of a body, or of a content type, that are worth remembering: 256 large ones would be 16 MB."""

_ACCEPTED = Head(202, JSON)


class BuyEndpoint(Endpoint):
    """Answers attempts; one per process, because it holds the lanes' queues."""

    # Nobody knows whether the attempt got through, so this never says "failed".
    degraded_detail = "Your try may still have got through. Send it again with the same Idempotency-Key."

    def __init__(self, state: AppState) -> None:
        super().__init__()
        self._state = state
        self._admission = Admission(state.gate)

    def answer(self, request: HotRequest, reply: Callable[[Reply], None]) -> None:
        """Every way in which an attempt can be wrong is a 4xx, a gate that is down a 503."""
        shopper = shopper_of(request, self._state.shopper_tokens)
        key = request.field(b"idempotency-key")
        if not IDEMPOTENCY_KEY.fullmatch(key):
            raise Refused(Code.INVALID, "Idempotency-Key takes 1 to 255 visible ASCII characters, once.")
        quantity = _quantity_of(request.field(b"content-type"), request.body) if request.body else 1
        link = parse_link(request.path[len(PREFIX) :])
        if link is None:
            raise Refused(Code.LINK_INVALID)
        attempt = Attempt(reservation_bytes(shopper, link.item, key), shopper, quantity, link.epoch)
        view = self._state.views.known_by_item(link.item, link.epoch)
        if view is None:
            self.later(self._look_up(link, attempt, reply), reply)
        else:
            self._try(view, link, attempt, reply)

    async def _look_up(self, link: Link, attempt: Attempt, reply: Callable[[Reply], None]) -> None:
        """The first attempt on a lane, or one with an epoch that this process has not met."""
        views = self._state.views
        item_id = UUID(bytes=link.item)
        if await views.entry(item_id) is None:
            raise Refused(Code.LINK_INVALID)
        self._try(await views.view(LaneId(item_id), epoch=link.epoch), link, attempt, reply)

    def _try(self, view: LaneView, link: Link, attempt: Attempt, reply: Callable[[Reply], None]) -> None:
        """Forged and foreign links end here, all with one answer; the rest is the gate's to decide."""
        lane = self._admission.lane(view.reading.lane_id)
        if not is_genuine(link, attempt.shopper, view.secrets):
            if not view.reading.loaded:
                self.refuse_degraded(reply)
                return
            lane.count_forged()
            raise Refused(Code.LINK_INVALID)
        attempt.replay_only = link.expires_at_ms <= view.now_ms
        self._decide(lane, link, attempt, reply)

    def _decide(self, lane: LaneAdmission, link: Link, attempt: Attempt, reply: Callable[[Reply], None]) -> None:
        def answered(decision: Decision | GateUnavailable) -> None:
            try:
                self._tell(decision, link, attempt, reply)
            except Exception as error:  # noqa: BLE001 - the others of this batch are still to be told
                self.failed(error, reply)

        lane.decide(attempt, answered)

    def _tell(
        self, decision: Decision | GateUnavailable, link: Link, attempt: Attempt, reply: Callable[[Reply], None]
    ) -> None:
        if isinstance(decision, GateUnavailable):
            self.refuse_degraded(reply)
            return
        if decision.entry_id is None:
            self.refuse(refusal(decision), reply)
            return
        # The bucket's wait was granted together with the unit; telling it early would spend the wait's point.
        wait_ms = min(decision.at_ms - decision.now_ms, HOLD_MAX_MS)
        if wait_ms > 0:
            self.later(self._hold(wait_ms, link, attempt, decision, reply), reply)
        else:
            self._accept(link, attempt, decision, reply)

    async def _hold(
        self, wait_ms: int, link: Link, attempt: Attempt, decision: Decision, reply: Callable[[Reply], None]
    ) -> None:
        await asyncio.sleep(wait_ms / 1000)
        self._accept(link, attempt, decision, reply)

    def _accept(self, link: Link, attempt: Attempt, decision: Decision, reply: Callable[[Reply], None]) -> None:
        assert decision.entry_id is not None
        ticket = self._state.tickets.sign_bytes(
            link.item, FIRST_LANE, attempt.reservation, decision.entry_id, decision.at_ms, attempt.shopper
        )
        position = place_in_line(decision.entry_id, decision.applied)
        body = orjson.dumps(
            {
                "outcome": "REPLAYED" if decision.outcome is Outcome.REPLAYED else "RESERVED",
                "ticket": ticket,
                "ticket_path": f"/api/v1/tickets/{ticket}",
                "position": position,
                "poll_after_ms": poll_after_ms(position),
            }
        )
        reply(Reply(_ACCEPTED, body))


def _quantity_of(content_type: str, body: bytes) -> int:
    if len(body) <= QUANTITY_CACHED_MAX and len(content_type) <= QUANTITY_CACHED_MAX:
        return _known_quantity(content_type, body)
    return _quantity(content_type, body)


def _quantity(content_type: str, body: bytes) -> int:
    media_type, _, parameters = content_type.lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if media_type.strip() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise Refused(Code.UNSUPPORTED_MEDIA_TYPE, "Send application/json in UTF-8, or no body.")
    document = parse_object(body)
    for name in document:
        if name != "quantity":
            raise invalid_field(name if name.isidentifier() and len(name) <= 64 else "?", "There is no such field.")
    quantity = document.get("quantity", 1)
    # bool is an int to Python; 1.0 and "1" are somebody's mistake that must not become a purchase.
    if type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
        raise invalid_field("quantity", f"A whole number from 1 to {MAX_QUANTITY}.")
    return quantity


# Nearly every body is one of a few, and reading one strictly takes 5 µs.
_known_quantity = lru_cache(maxsize=256)(_quantity)
