"""How fast the gate answers: what this process has measured of its calls in the last seconds.

The calls that decide attempts are measured anyway, for Prometheus (``stampede_gate_call_seconds``); here the same
buckets are read a second time. A console that asks several API processes in turn hears of each in turn, which is a
sample of all of them.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from backend.core.metrics import GATE_CALL_SECONDS, GATE_UNANSWERED

WINDOW_S = 10.0
"""One second alone may hold no attempt of this process; what is further back is no "now"."""


@dataclass(frozen=True, slots=True)
class GateAnswers:
    """What was measured in the window. ``p99_ms`` is None when no attempt was decided in it."""

    p99_ms: float | None = None
    unanswered: int = 0
    """Attempts that got no decision."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """The instruments at one moment."""

    at_s: float
    buckets: Mapping[float, float]
    lost: float


class GateAnswersReader:
    """Differences between readings of the process's instruments; the first after a pause tells nothing.

    Asked at most once a second, it holds about ``WINDOW_S`` readings.
    """

    def __init__(self, calls: Histogram = GATE_CALL_SECONDS, unanswered: Counter = GATE_UNANSWERED) -> None:
        self._calls = calls
        self._unanswered = unanswered
        self._taken: deque[_Taken] = deque()

    def read(self) -> GateAnswers:
        """What has happened in the window, since the oldest reading in it."""
        now = self._take()
        self._taken.append(now)
        while len(self._taken) > 1 and self._taken[0].at_s < now.at_s - WINDOW_S:
            self._taken.popleft()
        oldest = self._taken[0]
        within = {le: number - oldest.buckets[le] for le, number in now.buckets.items()}
        return GateAnswers(_quantile_ms(within, 0.99), round(now.lost - oldest.lost))

    def _take(self) -> _Taken:
        buckets = {
            float(sample.labels["le"]): sample.value
            for metric in self._calls.collect()
            for sample in metric.samples
            if sample.name.endswith("_bucket")
        }
        lost = sum(s.value for m in self._unanswered.collect() for s in m.samples if s.name.endswith("_total"))
        return _Taken(time.monotonic(), buckets, lost)


def _quantile_ms(cumulative: Mapping[float, float], quantile: float) -> float | None:
    """The quantile of a histogram, linear within its bucket, as Prometheus computes it; milliseconds.

    Beyond the last finite bucket its bound is all that is known.
    """
    total = max(cumulative.values(), default=0.0)
    if total <= 0:
        return None
    wanted = quantile * total
    lower_s, below = 0.0, 0.0
    for upper_s in sorted(cumulative):
        number = cumulative[upper_s]
        if number >= wanted:
            if upper_s == float("inf"):
                return round(lower_s * 1_000, 3)
            share = (wanted - below) / (number - below)
            return round((lower_s + (upper_s - lower_s) * share) * 1_000, 3)
        lower_s, below = upper_s, number
    return None
