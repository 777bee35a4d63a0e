"""What the shoppers hold in their hands: every request and every answer, written down before it is acted upon.

The file is append-only, one JSON line an event; the judge reads nothing of the platform's from here, and nothing of
this from the platform.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

FINAL = frozenset({"confirmed", "expired", "cancelled", "rejected"})
EXPECTED = frozenset(
    {"SOLD_OUT", "NOT_ENOUGH", "THROTTLED", "REPEATED", "LIMIT_REACHED", "ENDED", "PAUSED", "NOT_OPEN", "LINK_INVALID"}
)
"""Refusals by which the platform is at work; ``DEGRADED``, ``BACKLOG`` and a bare 5xx say that it is not."""
LOST = "lost_in_failover"


@dataclass(slots=True)
class Attempt:
    """One ``Idempotency-Key`` of one shopper, and all she was told of it."""

    shopper: UUID
    key: str
    last: str = ""
    """The newest answer's code; ``cut`` for none."""
    unknown: bool = False
    """Some try of it went without an answer, or with a 5xx: it may have got through."""
    ticket: str | None = None
    sent_s: float = 0.0
    """When its newest try was sent."""
    accepted_s: float = 0.0
    verdict_s: float | None = None
    """When she first heard something else than ``queued``."""
    status: str = "queued"
    reason: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether she ever got a 202."""
        return self.ticket is not None


@dataclass(frozen=True, slots=True)
class Waited:
    """One request, from its sending to its answer; good: what a shopper came for, or an expected refusal."""

    sent_s: float
    answered_s: float
    good: bool


@dataclass
class Witness:
    """The record of one drill. Times are ``time.monotonic``."""

    path: Path
    attempts: dict[tuple[UUID, str], Attempt] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    """Answers to buys, and refusals of links, by status and code."""
    broken: list[str] = field(default_factory=list)
    answers: list[Waited] = field(default_factory=list)
    """Of each buy and each link."""

    def __post_init__(self) -> None:
        self._file = self.path.open("a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        """No more is written."""
        self._file.close()

    def note(self, what: str, **facts: Any) -> None:
        """Append an event."""
        self._file.write(json.dumps({"at": round(time.time(), 4), "what": what, **facts}, default=str) + "\n")

    def asked(self, shopper: UUID, key: str) -> Attempt:
        """A try is about to be sent."""
        self.note("buy", shopper=shopper, key=key)
        attempt = self.attempts.setdefault((shopper, key), Attempt(shopper, key))
        attempt.sent_s = time.monotonic()
        return attempt

    def answered(self, attempt: Attempt, status: int, document: dict[str, Any]) -> str:
        """A try's answer; 0 for none. Returns its code."""
        now_s = time.monotonic()
        code = str(document.get("outcome") or document.get("code") or (status or "cut"))
        self.note("answer", shopper=attempt.shopper, key=attempt.key, status=status, code=code)
        self.told[f"{status} {code}" if status else "cut"] += 1
        attempt.last = code
        attempt.unknown |= status == 0 or status >= 500
        self.answers.append(Waited(attempt.sent_s, now_s, good=status == 202 or code in EXPECTED))
        if status == 202:
            self._accepted(attempt, str(document["ticket"]), now_s)
        elif status == 500:
            self.broken.append(f"a buy was answered 500 {code}")
        elif attempt.accepted and code == "SOLD_OUT":
            self.broken.append(f"I7 shopper {attempt.shopper} had a ticket and was told SOLD_OUT under the same key")
        return code

    def link_answered(self, shopper: UUID, sent_s: float, status: int, document: dict[str, Any]) -> str:
        """Whoever gets no link cannot try to buy. Returns the answer's code."""
        code = "LINK" if status == 201 else _code(status, document)
        self.note("link", shopper=shopper, status=status, code=code)
        self.answers.append(Waited(sent_s, time.monotonic(), good=status == 201 or code in EXPECTED))
        if status != 201:
            self.told[f"link {status} {code}" if status else "link cut"] += 1
        if status == 500:
            self.broken.append(f"a link was answered 500 {code}")
        return code

    def _accepted(self, attempt: Attempt, ticket: str, now_s: float) -> None:
        if attempt.ticket is None:
            attempt.accepted_s = now_s
        attempt.ticket = ticket

    def verdict(self, attempt: Attempt, document: dict[str, Any]) -> None:
        """What the ticket says now."""
        status = str(document["status"])
        if status == attempt.status:
            return
        self.note("ticket", shopper=attempt.shopper, key=attempt.key, status=status, reason=document.get("reason"))
        if attempt.status in FINAL and not (attempt.status == "confirmed" and status == "cancelled"):
            self.broken.append(f"I11 a ticket of {attempt.shopper} went from {attempt.status} to {status}")
        if status == "queued":
            return  # a queued ticket may become undecided again by no rule; it is judged by what it says last
        if attempt.verdict_s is None:
            attempt.verdict_s = time.monotonic()
        attempt.status, attempt.reason = status, document.get("reason")

    def tickets(self) -> list[Attempt]:
        """Everybody who got a 202."""
        return [one for one in self.attempts.values() if one.accepted]

    def undecided(self) -> list[Attempt]:
        """202s without a verdict."""
        return [one for one in self.tickets() if one.verdict_s is None]

    def lost_in_failover(self) -> int:
        """202s that ended by the honest words for a reservation that went down with its store."""
        return sum(one.reason == LOST for one in self.tickets())

    def longest_to_verdict_s(self) -> float:
        """From the 202 to the verdict; what is still undecided does not count (it counts as undecided)."""
        return max((one.verdict_s - one.accepted_s for one in self.tickets() if one.verdict_s is not None), default=0.0)

    def longest_unavailable_s(self) -> float:
        """The longest time in which shoppers waited for a link or a buy, and none was answered as it should be."""
        return longest_gap_s(self.answers)


def _code(status: int, document: dict[str, Any]) -> str:
    return str(document.get("outcome") or document.get("code") or (status or "cut"))


def longest_gap_s(answers: Sequence[Waited]) -> float:
    """The longest time in which somebody was waiting, and nobody got a good answer. 0 without any answer.

    Between two good answers, in a row by time, it begins with the first request that was under way or sent then. Time
    in which nobody asked is nobody's loss.
    """
    longest = 0.0
    goods = sorted(one.answered_s for one in answers if one.good)
    ends = [*goods, max((one.answered_s for one in answers), default=0.0)]
    for before_s, after_s in zip([float("-inf"), *goods], ends, strict=True):
        waiting = [max(one.sent_s, before_s) for one in answers if one.sent_s <= after_s and one.answered_s > before_s]
        if waiting:
            longest = max(longest, after_s - min(waiting))
    return longest
