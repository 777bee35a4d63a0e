"""What each process measures, for Prometheus, and the port on which it says so.

One catalogue: every instrument of a process stands here; what concerns a sale as a whole is read when it is asked for
(``backend.monitoring``). Labels are names of ours (a job, an outcome, a dependency), never an id, a contact or a
token, so their number is bounded. Observations are made once a batch or a job, never once an attempt.
"""

from collections.abc import Callable

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server

from backend.core.breaker import CircuitState

_CALL_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_WORK_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

GATE_CALL_SECONDS = Histogram(
    "stampede_gate_call_seconds", "One call of the gate that decides a batch of attempts.", buckets=_CALL_BUCKETS_S
)
GATE_BATCH_ATTEMPTS = Histogram(
    "stampede_gate_batch_attempts", "Attempts decided by one call.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
GATE_UNANSWERED = Counter(
    "stampede_gate_unanswered_attempts", "Attempts that got no decision: the gate did not answer."
)
DRAIN_BATCH_SECONDS = Histogram(
    "stampede_drain_batch_seconds", "One transaction of the drain that applied entries.", buckets=_WORK_BUCKETS_S
)
DRAIN_ENTRIES = Counter("stampede_drain_entries", "Journal entries applied to the ledger.")
JOB_SECONDS = Histogram(
    "stampede_job_seconds", "One run of a job, whether it succeeded or not.", ["job"], buckets=_WORK_BUCKETS_S
)
JOB_FAILURES = Counter("stampede_job_failures", "Runs of a job that raised.", ["job"])
JOBS_OUTDATED = Counter("stampede_jobs_outdated", "Nudges dropped because they were too old.", ["job"])
NUDGES = Counter("stampede_nudges", "Nudges offered to the broker.", ["job", "outcome"])
CLOCK_TICKS = Counter("stampede_clock_ticks", "Seconds in which the clock asked for what was due.")
CLOCK_TICKS_MISSED = Counter("stampede_clock_ticks_missed", "Seconds that passed without: the clock was late.")
CIRCUIT_OPEN = Gauge(
    "stampede_circuit_open", "1 while a dependency is not asked because it did not answer.", ["dependency"]
)


def watch_circuit(dependency: str, state: Callable[[], CircuitState]) -> None:
    """Export a circuit breaker; ``state`` is called at each scrape, from another thread."""
    CIRCUIT_OPEN.labels(dependency).set_function(lambda: float(state() is not CircuitState.CLOSED))


def serve_metrics(listen: str | None) -> None:
    """Answer ``GET /metrics`` on ``host:port``, from a thread of its own; None: not at all.

    It must be a private address: nobody is asked who they are. Raises OSError when the port is taken.
    """
    if listen is None:
        return
    host, _, port = listen.rpartition(":")
    start_http_server(int(port), addr=host, registry=REGISTRY)
