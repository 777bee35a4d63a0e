"""The snapshot as Prometheus metrics. Names and labels: ``docs/operations.md`` says what each is for."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import TimeoutError as NotInTime
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from backend.monitoring.snapshot import Snapshot

KEPT_S = 2.0
"""Scrapes within this are answered from the last look: a second Prometheus costs nothing."""
ANSWER_WITHIN_S = 8.0
"""Below the ten seconds that Prometheus waits."""


class SalesCollector(Collector):
    """Takes a snapshot on the event loop that owns database and gate, whenever it is scraped."""

    def __init__(
        self,
        take: Callable[[], Coroutine[Any, Any, Snapshot]],
        loop: asyncio.AbstractEventLoop,
        *,
        backlog_max: int,
    ) -> None:
        self._take = take
        self._loop = loop
        self._backlog_max = backlog_max
        self._lock = threading.Lock()
        self._kept: tuple[float, Snapshot] | None = None

    def collect(self) -> Iterator[Metric]:
        """Everything, or only that both stores are down when the loop did not answer in time."""
        yield from _families(self._snapshot(), self._backlog_max)

    def describe(self) -> Iterator[Metric]:
        """Names alone: registering must not ask ledger and gate."""
        yield from _families(Snapshot(), self._backlog_max)

    def _snapshot(self) -> Snapshot:
        with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > KEPT_S:
                asked = asyncio.run_coroutine_threadsafe(self._take(), self._loop)
                try:
                    found = asked.result(ANSWER_WITHIN_S)
                except NotInTime:
                    asked.cancel()
                    found = Snapshot()
                self._kept = time.monotonic(), found
            return self._kept[1]


def _families(snapshot: Snapshot, backlog_max: int) -> Iterator[Metric]:
    up = GaugeMetricFamily("stampede_dependency_up", "1 when it answered.", labels=["dependency"])
    up.add_metric(["ledger"], float(snapshot.ledger_up))
    up.add_metric(["gate"], float(snapshot.gate_up))
    yield up
    yield GaugeMetricFamily(
        "stampede_gate_unfit_reasons", "Why the gate's store must not carry a sale: how many.", value=snapshot.unfit
    )
    skew = GaugeMetricFamily("stampede_clock_skew_seconds", "The gate's clock minus the database's.")
    if snapshot.clock_skew_s is not None:
        skew.add_metric([], snapshot.clock_skew_s)
    yield skew
    yield from _sales(snapshot)
    yield from _items(snapshot)
    yield from _lanes(snapshot)
    yield GaugeMetricFamily(
        "stampede_backlog_max_entries", "Undecided entries of an item above which buys are refused.", value=backlog_max
    )
    yield from _waiting(snapshot)


def _sales(snapshot: Snapshot) -> Iterator[Metric]:
    stopped = GaugeMetricFamily("stampede_sale_stopped", "1: the platform stopped the sale.", labels=["sale", "fault"])
    figures = {
        "oversold": GaugeMetricFamily("stampede_sale_oversold_units", "By the newest reconciliation.", labels=["sale"]),
        "stranded": GaugeMetricFamily("stampede_sale_stranded_units", "By the newest reconciliation.", labels=["sale"]),
        "drift": GaugeMetricFamily("stampede_sale_drift_units", "By the newest reconciliation.", labels=["sale"]),
        "audit_age_s": GaugeMetricFamily(
            "stampede_sale_audit_age_seconds", "Since the newest reconciliation.", labels=["sale"]
        ),
    }
    for row in snapshot.sales:
        if row.fault is not None:
            stopped.add_metric([row.slug, row.fault], 1)
        for name, family in figures.items():
            value = getattr(row, name)
            if value is not None:
                family.add_metric([row.slug], float(value))
    yield stopped
    yield from figures.values()


def _items(snapshot: Snapshot) -> Iterator[Metric]:
    units = GaugeMetricFamily("stampede_item_units", "By the ledger.", labels=["sale", "sku", "state"])
    seen = set()
    for row in snapshot.items:
        if (row.slug, row.sku) in seen:  # once an item, however many lanes it has
            continue
        seen.add((row.slug, row.sku))
        for state in ("available", "reserved", "sold"):
            units.add_metric([row.slug, row.sku, state], getattr(row, state))
    yield units


def _lanes(snapshot: Snapshot) -> Iterator[Metric]:
    names = ["sale", "sku"]
    gate_units = GaugeMetricFamily("stampede_gate_units", "Available by the gate.", labels=names)
    backlog = GaugeMetricFamily("stampede_backlog_entries", "Journal entries not applied yet.", labels=names)
    lag = GaugeMetricFamily("stampede_drain_lag_seconds", "Age of the oldest of them.", labels=names)
    attempts = CounterMetricFamily(
        "stampede_attempts", "Attempts decided, by outcome; the gate's own counts.", labels=[*names, "outcome"]
    )
    available: Counter[tuple[str, str]] = Counter()
    undecided: Counter[tuple[str, str]] = Counter()
    oldest: dict[tuple[str, str], float] = {}
    outcomes: Counter[tuple[str, str, str]] = Counter()
    for one in snapshot.lanes:
        item = one.slug, one.sku
        available[item] += one.reading.available
        undecided[item] += one.undecided
        oldest[item] = max(oldest.get(item, 0.0), one.lag_s)
        for outcome, count in one.reading.outcomes.items():
            outcomes[*item, outcome.lower()] += count
    for item in undecided:
        gate_units.add_metric(item, available[item])
        backlog.add_metric(item, undecided[item])
        lag.add_metric(item, oldest[item])
    for labels, count in outcomes.items():
        attempts.add_metric(labels, count)
    yield from (gate_units, backlog, lag, attempts)


def _waiting(snapshot: Snapshot) -> Iterator[Metric]:
    outbox = GaugeMetricFamily("stampede_outbox_rows", "Gifts the gate has not confirmed.", labels=["status"])
    outbox_age = GaugeMetricFamily("stampede_outbox_oldest_seconds", "Age of the oldest.", labels=["status"])
    for row in snapshot.outbox:
        outbox.add_metric([row.status], row.rows)
        outbox_age.add_metric([row.status], float(row.oldest_s))
    waiting = GaugeMetricFamily("stampede_notifications_due", "Messages that are due and not sent.")
    waiting_age = GaugeMetricFamily("stampede_notifications_oldest_seconds", "Age of the oldest of them.")
    for row in snapshot.notifications:
        waiting.add_metric([], row.rows)
        waiting_age.add_metric([], float(row.oldest_s))
    dead = GaugeMetricFamily("stampede_dead_letters", "What was given up and nobody has dealt with.", labels=["source"])
    for row in snapshot.dead_letters:
        dead.add_metric([row.source], row.rows)
    yield from (outbox, outbox_age, waiting, waiting_age, dead)
