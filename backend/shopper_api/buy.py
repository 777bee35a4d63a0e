"""``POST /api/v1/buy/{link}``: a plain ASGI endpoint, because a framework's route costs more than the gate.

    bearer token → Idempotency-Key → body → link → gate (batched with whoever arrives meanwhile) → 202 or a problem

Nothing here touches PostgreSQL or the broker. A route of the same address in the OpenAPI document describes it
(``backend.shopper_api.documentation``).
"""

import asyncio
from typing import Any
from uuid import UUID

import orjson

from backend.api import AppState
from backend.core.clock import now_ms
from backend.core.errors import STATUS, Code, Refused, invalid_field, problem, retry_after_s
from backend.core.log import get_logger
from backend.core.strict_json import MAX_BODY_BYTES, parse_object
from backend.core.text import IDEMPOTENCY_KEY
from backend.gate import (
    Admission,
    Attempt,
    Decision,
    GateUnavailable,
    LaneId,
    Outcome,
    Overloaded,
    Ticket,
    is_genuine,
    parse_link,
    reservation_id,
)
from backend.shopper_api.answers import DEGRADED, place_in_line, poll_after_ms, refusal

log = get_logger()

PREFIX = "/api/v1/buy/"
MAX_QUANTITY = 10_000
"""Above any per-shopper limit that makes sense; keeps every sum in the script far from a double's 2^53."""

_JSON_HEADERS = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
_PROBLEM_HEADERS = [(b"content-type", b"application/problem+json"), *_JSON_HEADERS[1:]]


class _Headers:
    """The few headers of interest, each at most once."""

    __slots__ = ("authorization", "content_type", "idempotency_key", "repeated")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.authorization = self.content_type = self.idempotency_key = b""
        self.repeated = False
        for name, value in headers:
            if name == b"authorization":
                self.repeated = self.repeated or bool(self.authorization)
                self.authorization = value
            elif name == b"idempotency-key":
                self.repeated = self.repeated or bool(self.idempotency_key)
                self.idempotency_key = value
            elif name == b"content-type":
                self.content_type = value


class BuyEndpoint:
    """The ASGI application for ``PREFIX``; one per process."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._admission = Admission(state.gate)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request. Every way in which it can be wrong is a 4xx, a gate that is down a 503."""
        try:
            status, headers, body = await self._answer(scope, receive)
        except Refused as refused:
            status, headers, body = _problem(refused)
        except (GateUnavailable, Overloaded):
            status, headers, body = _problem(DEGRADED)
        except Exception:
            log.exception("buy.failed")
            status, headers, body = _problem(Refused(Code.INTERNAL))
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Any, receive: Any) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if scope["method"] != "POST":
            raise Refused(Code.METHOD_NOT_ALLOWED, "Send a POST.")
        headers = _Headers(scope["headers"])
        shopper_id = self._shopper(headers)
        key = headers.idempotency_key.decode("latin-1")
        if headers.repeated or not IDEMPOTENCY_KEY.fullmatch(key):
            raise Refused(Code.INVALID, "Idempotency-Key takes 1 to 255 visible ASCII characters, once.")
        quantity = await _quantity(headers, receive)
        item_id, attempt = await self._attempt(scope["path"][len(PREFIX) :], shopper_id, key, quantity)
        lane_id = LaneId(item_id)
        decision = await self._admission.lane(lane_id).submit(attempt)
        if decision.entry_id is None:
            return _problem(refusal(decision))
        return await self._accepted(lane_id, attempt, decision)

    def _shopper(self, headers: _Headers) -> UUID:
        scheme, _, token = headers.authorization.decode("latin-1").partition(" ")
        shopper_id = None
        if scheme.lower() == "bearer":
            shopper_id = self._state.shopper_tokens.verify(token, now_ms())
        if shopper_id is None:
            raise Refused(Code.UNAUTHENTICATED)
        return shopper_id

    async def _attempt(self, text: str, shopper_id: UUID, key: str, quantity: int) -> tuple[UUID, Attempt]:
        """Who wants what; forged and foreign links end here, all with one answer."""
        link = parse_link(text)
        entry = await self._state.views.entry(link.item_id) if link else None
        if link is None or entry is None:
            raise Refused(Code.LINK_INVALID)
        lane_id = LaneId(entry.item_id)
        view = await self._state.views.view(lane_id, epoch=link.epoch)
        if not is_genuine(link, shopper_id, view.secrets):
            if not view.reading.loaded:
                raise DEGRADED
            self._admission.lane(lane_id).count_forged()
            raise Refused(Code.LINK_INVALID)
        return entry.item_id, Attempt(
            reservation_id=reservation_id(shopper_id, entry.item_id, key),
            shopper_id=shopper_id,
            quantity=quantity,
            link_epoch=link.epoch,
            replay_only=link.expires_at_ms <= view.now_ms,
        )

    async def _accepted(
        self, lane_id: LaneId, attempt: Attempt, decision: Decision
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        assert decision.entry_id is not None
        ticket = self._state.tickets.sign(
            Ticket(lane_id, attempt.reservation_id, decision.entry_id, decision.at_ms), attempt.shopper_id
        )
        # The bucket's wait was granted together with the unit; telling it early would spend the wait's point.
        wait_ms = decision.at_ms - decision.now_ms
        if wait_ms > 0:
            await asyncio.sleep(wait_ms / 1000)
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
        return 202, _JSON_HEADERS, body


async def _quantity(headers: _Headers, receive: Any) -> int:
    body = await _body(receive)
    if not body:
        return 1
    media_type, _, parameters = headers.content_type.decode("latin-1").lower().partition(";")
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


async def _body(receive: Any) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            raise Refused(Code.INVALID, "The body was cut off.")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            break
    if len(body) > MAX_BODY_BYTES:
        raise Refused(Code.TOO_LARGE, f"Send at most {MAX_BODY_BYTES} bytes.")
    return body


def _problem(refused: Refused) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    headers = _PROBLEM_HEADERS
    if refused.retry_after_ms is not None:
        headers = [*headers, (b"retry-after", retry_after_s(refused.retry_after_ms).encode())]
    if refused.code is Code.UNAUTHENTICATED:
        headers = [*headers, (b"www-authenticate", b'Bearer realm="stampede"')]
    if refused.code is Code.METHOD_NOT_ALLOWED:
        headers = [*headers, (b"allow", b"POST")]
    return STATUS[refused.code], headers, orjson.dumps(problem(refused))
