"""What came of a load: every answer counted by status and outcome, every latency kept."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go."""

    port: int
    host: str = "127.0.0.1"

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer kept whole: which request it is to, when it came (monotonic), and its body."""

    index: int
    at_s: float
    body: bytes


@dataclass(slots=True)
class Tally:
    """One load. ``due_s`` and ``latency_s`` run in parallel, an answer each, in the order of the answers."""

    answers: Counter[tuple[int, str]] = field(default_factory=Counter)
    """By status and outcome."""
    due_s: "array[float]" = field(default_factory=lambda: array("d"))
    """When a request was to be sent (open loop) or was sent (closed loop), in seconds after the start."""
    latency_s: "array[float]" = field(default_factory=lambda: array("d"))
    kept: list[Kept] = field(default_factory=list)
    unanswered: int = 0
    """Cut off, or without an answer in time: nobody knows whether they were carried out."""
    started_s: float = 0.0
    """Monotonic."""
    elapsed_s: float = 0.0
    late_s: float = 0.0
    """Open loop: the longest time by which the generator itself was late. It is part of the latencies."""

    @property
    def answered(self) -> int:
        return self.answers.total()

    @property
    def rate_per_s(self) -> float:
        """Answers a second, of whatever kind."""
        return self.answered / self.elapsed_s if self.elapsed_s else 0.0

    def count(self, outcome: str) -> int:
        """Answers of that outcome, whatever their status."""
        return sum(count for (_, found), count in self.answers.items() if found == outcome)

    @property
    def accepted(self) -> int:
        return sum(count for (status, _), count in self.answers.items() if status == ACCEPTED)

    def by_name(self) -> dict[str, int]:
        """For reports: ``{"202 RESERVED": n, …}``, the most frequent first."""
        named = {f"{status} {outcome}".strip(): count for (status, outcome), count in self.answers.most_common()}
        return named | ({"unanswered": self.unanswered} if self.unanswered else {})


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of all values lie, by nearest rank; every value is kept, so this is
    exact. 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]
