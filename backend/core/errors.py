"""Refusals that cross the HTTP edge, each with its stable code.

A service raises ``Refused`` when a request cannot be carried out; ``backend.app`` turns it into an RFC 9457
problem once, for all routes. Outcomes of the gate are values (``backend.gate.Outcome``), not exceptions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Every code an error answer can carry. The spelling is a contract with independent clients."""

    INVALID = "INVALID"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    CHALLENGE_REQUIRED = "CHALLENGE_REQUIRED"
    NOT_FOUND = "NOT_FOUND"
    LINK_INVALID = "LINK_INVALID"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    CONFLICT = "CONFLICT"
    WRONG_STATE = "WRONG_STATE"
    PREFLIGHT_FAILED = "PREFLIGHT_FAILED"
    BELOW_COMMITTED = "BELOW_COMMITTED"
    STALE = "STALE"
    TOO_LARGE = "TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    INVALID_FIELD = "INVALID_FIELD"
    KEY_REUSED = "KEY_REUSED"
    RATE_LIMITED = "RATE_LIMITED"
    NOT_OPEN = "NOT_OPEN"
    ENDED = "ENDED"
    PAUSED = "PAUSED"
    SOLD_OUT = "SOLD_OUT"
    NOT_ENOUGH = "NOT_ENOUGH"
    LIMIT_REACHED = "LIMIT_REACHED"
    REPEATED = "REPEATED"
    THROTTLED = "THROTTLED"
    BACKLOG = "BACKLOG"
    DEGRADED = "DEGRADED"
    INTERNAL = "INTERNAL"


STATUS: Mapping[Code, int] = {
    Code.INVALID: 400,
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.CHALLENGE_REQUIRED: 403,
    Code.NOT_FOUND: 404,
    Code.LINK_INVALID: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.CONFLICT: 409,
    Code.WRONG_STATE: 409,
    Code.PREFLIGHT_FAILED: 409,
    Code.BELOW_COMMITTED: 409,
    Code.STALE: 412,
    Code.TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.INVALID_FIELD: 422,
    Code.KEY_REUSED: 422,
    Code.RATE_LIMITED: 429,
    Code.NOT_OPEN: 403,
    Code.ENDED: 410,
    Code.PAUSED: 409,
    Code.SOLD_OUT: 409,
    Code.NOT_ENOUGH: 409,
    Code.LIMIT_REACHED: 409,
    Code.REPEATED: 429,
    Code.THROTTLED: 429,
    Code.BACKLOG: 503,
    Code.DEGRADED: 503,
    Code.INTERNAL: 500,
}

TITLE: Mapping[Code, str] = {
    Code.INVALID: "The request cannot be read",
    Code.UNAUTHENTICATED: "Sign in first",
    Code.FORBIDDEN: "Your role does not allow this",
    Code.CHALLENGE_REQUIRED: "Prove first that you are a person",
    Code.NOT_FOUND: "There is no such thing here",
    Code.LINK_INVALID: "This link is not valid for you",
    Code.METHOD_NOT_ALLOWED: "This address does not take that method",
    Code.CONFLICT: "That name is taken",
    Code.WRONG_STATE: "The sale's state does not allow this",
    Code.PREFLIGHT_FAILED: "Something is missing before this sale can run",
    Code.BELOW_COMMITTED: "Fewer units are free than you want to take away",
    Code.STALE: "Somebody changed this in the meantime",
    Code.TOO_LARGE: "The request is too large",
    Code.UNSUPPORTED_MEDIA_TYPE: "Send JSON",
    Code.INVALID_FIELD: "A field is not valid",
    Code.KEY_REUSED: "This Idempotency-Key was used for another request",
    Code.RATE_LIMITED: "Too many requests",
    Code.NOT_OPEN: "The sale has not opened yet",
    Code.ENDED: "The sale has ended",
    Code.PAUSED: "The sale is paused",
    Code.SOLD_OUT: "Sold out",
    Code.NOT_ENOUGH: "Fewer pieces are left than you asked for",
    Code.LIMIT_REACHED: "You already hold as many as one person may",
    Code.REPEATED: "You tried a moment ago",
    Code.THROTTLED: "Not through this time",
    Code.BACKLOG: "Orders are being caught up with",
    Code.DEGRADED: "The shop is catching its breath",
    Code.INTERNAL: "Something went wrong on our side",
}


@dataclass(slots=True)
class Refused(Exception):
    """A request that cannot be carried out, and what to do about it.

    ``errors`` names fields (``{"field", "message"}``); ``extra`` goes into the problem as it is.
    """

    code: Code
    detail: str | None = None
    retry_after_ms: int | None = None
    errors: Sequence[Mapping[str, str]] = ()
    extra: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.detail or TITLE[self.code]}"


def invalid_field(field: str, message: str) -> Refused:
    """422 for one field."""
    return Refused(Code.INVALID_FIELD, message, errors=({"field": field, "message": message},))


def problem(refusal: Refused) -> dict[str, Any]:
    """The RFC 9457 members of a refusal; optional ones are left out, never null."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": TITLE[refusal.code],
        "status": STATUS[refusal.code],
        "code": refusal.code.value,
    }
    if refusal.detail:
        body["detail"] = refusal.detail
    if refusal.retry_after_ms is not None:
        body["retry_after_ms"] = refusal.retry_after_ms
    if refusal.errors:
        body["errors"] = [dict(error) for error in refusal.errors]
    if refusal.extra:
        body.update(refusal.extra)
    return body


def retry_after_s(retry_after_ms: int) -> str:
    """The ``Retry-After`` header: whole seconds, rounded up, so that nobody comes back too early."""
    return str(max(1, -(-retry_after_ms // 1000)))
