"""Outcomes of the gate as answers: the one place that maps them."""

from collections.abc import Mapping
from typing import Literal

from backend.core.errors import Code, Refused
from backend.gate import Decision, EntryId, Outcome

Status = Literal["queued", "reserved", "confirmed", "expired", "cancelled", "rejected"]
"""Of a ticket or claim."""
DEGRADED_RETRY_MS = 2_000
JSON = ((b"content-type", b"application/json"),)
BACKLOG_RETRY_MS = 3_000
PAUSED_RETRY_MS = 5_000

CODES: Mapping[Outcome, Code] = {
    Outcome.KEY_REUSED: Code.KEY_REUSED,
    Outcome.LINK_INVALID: Code.LINK_INVALID,
    Outcome.LINK_REVOKED: Code.LINK_INVALID,
    Outcome.NOT_LOADED: Code.DEGRADED,
    Outcome.REGRESSED: Code.DEGRADED,
    Outcome.STALE_GENERATION: Code.DEGRADED,
    Outcome.PAUSED: Code.PAUSED,
    Outcome.NOT_OPEN: Code.NOT_OPEN,
    Outcome.ENDED: Code.ENDED,
    Outcome.LIMIT_REACHED: Code.LIMIT_REACHED,
    Outcome.REPEATED: Code.REPEATED,
    Outcome.SOLD_OUT: Code.SOLD_OUT,
    Outcome.NOT_ENOUGH: Code.NOT_ENOUGH,
    Outcome.BACKLOG: Code.BACKLOG,
    Outcome.THROTTLED: Code.THROTTLED,
}

_RETRY_MS: Mapping[Code, int] = {
    Code.DEGRADED: DEGRADED_RETRY_MS,
    Code.BACKLOG: BACKLOG_RETRY_MS,
    Code.PAUSED: PAUSED_RETRY_MS,
}


def refusal(decision: Decision) -> Refused:
    """The problem for an attempt that was not reserved."""
    code = CODES[decision.outcome]
    retry_after_ms = decision.retry_after_ms or _RETRY_MS.get(code)
    return Refused(code, retry_after_ms=retry_after_ms)


def place_in_line(entry_id: EntryId, applied: EntryId | None) -> int:
    """How many entries of the journal, this one included, are still to be decided; 0 when it is."""
    if applied is None or applied.generation != entry_id.generation:
        return entry_id.seq
    return max(0, entry_id.seq - applied.seq)


def eta_ms(position: int) -> int:
    """When the place in line should have been decided.

    A drain applies well over 5,000 entries a second (15,000 is the target) and wakes within a second when idle;
    half a second is the usual answer, and the honest one is the next poll.
    """
    return 500 + position // 5


def poll_after_ms(position: int) -> int:
    """When to ask again: soon when near, at most 5 s, so that 100,000 waiting pages ask 20,000 times a second."""
    return min(5_000, 300 + position // 5)
