"""A bounded record of readings over time, for charts of what the API only says about now."""

import threading
from dataclasses import dataclass

POINT_LIMIT = 300
"""The whole figure is sent at each tick: 300 points are as many as a chart of 800 px can show."""


@dataclass(frozen=True, slots=True)
class Units:
    """The oversell audit's equation at one moment (milliseconds since the epoch, units)."""

    at_ms: int
    allotment: int
    available: int
    reserved: int
    sold: int
    drift: int | None
    """None while the gate does not answer: nothing was compared."""
    rate_per_s: float | None = None
    """The sale's throttle at that moment."""
    delay_ms: int | None = None
    """p95 from the gate's yes to the order; None when nobody was admitted."""
    backlog: int | None = None
    """Entries of the journal that the ledger has not decided."""
    gate_call_ms: float | None = None
    """p99 of the gate's answer to a batch of attempts; None when none was asked."""


class UnitsHistory:
    """Readings of one sale in order of time, from the first viewer on.

    When the limit is reached every second reading goes and the spacing doubles, so the chart always
    reaches back to the beginning and never holds more than `POINT_LIMIT`. Readings with drift stay
    as they are the ones to be looked at. Several viewers' threads may add at once.
    """

    def __init__(self, limit: int = POINT_LIMIT) -> None:
        self._limit = limit
        self._spacing_ms = 0
        self._points: list[Units] = []
        self._lock = threading.Lock()

    def add(self, units: Units) -> None:
        """Append a reading; one older than the last, or too close to the one before it, is dropped.

        The newest reading always ends the series: it replaces the last while that is closer than
        the spacing to the last but one.
        """
        with self._lock:
            points = self._points
            if points and units.at_ms <= points[-1].at_ms:
                return
            if len(points) >= 2 and not points[-1].drift and (points[-1].at_ms - points[-2].at_ms < self._spacing_ms):
                points[-1] = units
                return
            points.append(units)
            if len(points) > self._limit:
                self._thin()

    def points(self) -> list[Units]:
        """A copy of what is held, oldest first."""
        with self._lock:
            return list(self._points)

    def _thin(self) -> None:
        span = self._points[-1].at_ms - self._points[0].at_ms
        kept = [p for i, p in enumerate(self._points) if i % 2 == 0 or p.drift]
        # A sale that drifts all the time keeps the newest readings: the bound holds whatever comes.
        self._points = kept[-self._limit :]
        self._spacing_ms = 2 * span // self._limit
