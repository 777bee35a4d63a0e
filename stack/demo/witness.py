"""The witness: the crowd's own record of every request and answer, against which the platform is judged.

It knows nothing of Redis or PostgreSQL. What it asserts is what a shopper could hold up afterwards: "you told me
202, and here is my ticket".
"""

import time
from collections import Counter
from dataclasses import dataclass, field

from stack.demo.http import Answer

FINAL = frozenset({"confirmed", "expired", "cancelled", "rejected"})


@dataclass(slots=True)
class Accepted:
    """A 202 as a shopper got it."""

    shopper: int
    ticket: str
    at_s: float
    status: str = "queued"
    replays: int = 0


@dataclass(slots=True)
class Witness:
    """Counts answers, keeps every ticket, and remembers what must not have happened."""

    opens_at_s: float
    outcomes: Counter[str] = field(default_factory=Counter)
    tickets: dict[str, Accepted] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    first_accepted_s: float | None = None
    unknown: int = 0

    def answered(self, what: str, answer: Answer) -> str:
        """Record an answer; returns its code (``RESERVED``, ``SOLD_OUT`` …)."""
        document = answer.json()
        code = str(document.get("outcome") or document.get("code") or answer.status)
        self.outcomes[code] += 1
        if answer.status >= 500 and code not in ("DEGRADED", "BACKLOG"):
            self.broken.append(f"{what}: answered {answer.status}")
        return code

    def accepted(self, shopper: int, ticket: str, *, sent_at_s: float) -> Accepted:
        """A 202. Wall-clock seconds; gate, crowd and database share this machine's clock."""
        now_s = time.time()
        if now_s < self.opens_at_s:
            self.broken.append(f"shopper {shopper} was accepted {self.opens_at_s - now_s:.3f} s before opening")
        if self.first_accepted_s is None:
            self.first_accepted_s = now_s
        known = self.tickets.get(ticket)
        if known is not None:
            known.replays += 1
            if known.shopper != shopper:
                self.broken.append(f"shoppers {known.shopper} and {shopper} have the same ticket")
            return known
        self.tickets[ticket] = Accepted(shopper, ticket, sent_at_s)
        return self.tickets[ticket]

    def refused_as_expected(self, what: str, code: str, *allowed: str) -> None:
        """A forged or foreign try that got any other answer than these is a break."""
        if code not in allowed:
            self.broken.append(f"{what}: answered {code}, expected {' or '.join(allowed)}")

    def undecided(self) -> list[Accepted]:
        """Tickets that have not been told what became of them."""
        return [one for one in self.tickets.values() if one.status == "queued"]

    def live_by_shopper(self) -> Counter[int]:
        """Units that each shopper holds for good."""
        return Counter(one.shopper for one in self.tickets.values() if one.status in ("confirmed", "reserved"))

    def check(self, *, stock: int, limit: int) -> None:
        """Everything that can be judged at rest."""
        live = self.live_by_shopper()
        if sum(live.values()) > stock:
            self.broken.append(f"{sum(live.values())} units were sold of {stock}")
        self.broken += [f"shopper {who} has {n} units of {limit}" for who, n in live.items() if n > limit]
        self.broken += [f"the ticket of shopper {one.shopper} was never decided" for one in self.undecided()]
