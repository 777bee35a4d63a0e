"""What the control room is told of the gate's answers: differences of a real histogram, as Prometheus computes them."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from backend.operator_api import gate_answers
from backend.operator_api.gate_answers import GateAnswers, GateAnswersReader


@pytest.fixture
def instruments() -> tuple[Histogram, Counter]:
    registry = CollectorRegistry()
    return (
        Histogram("calls", "calls", buckets=(0.001, 0.01, 0.1), registry=registry),
        Counter("lost", "lost", registry=registry),
    )


def test_a_reading_tells_of_the_last_seconds(instruments: tuple[Histogram, Counter]) -> None:
    calls, lost = instruments
    calls.observe(0.09)  # before anybody looked: of no reading
    reader = GateAnswersReader(calls, lost)
    assert reader.read() == GateAnswers()
    assert reader.read() == GateAnswers(None, 0)
    for _ in range(100):
        calls.observe(0.0005)
    # 99 of 100 lie within the first bucket of a millisecond; so does the quantile.
    assert reader.read() == GateAnswers(0.99, 0)
    for _ in range(90):
        calls.observe(0.0005)
    for _ in range(10):
        calls.observe(0.05)
    lost.inc(7)
    # The 198th of 200 is the eighth of ten in the bucket from 10 to 100 ms: 10 + 90 × 0.8.
    assert reader.read() == GateAnswers(82.0, 7)
    assert reader.read() == GateAnswers(82.0, 7), "a second look in the same moment takes nothing away"


def test_beyond_the_last_bucket_its_bound_is_all_that_is_known(instruments: tuple[Histogram, Counter]) -> None:
    calls, lost = instruments
    reader = GateAnswersReader(calls, lost)
    reader.read()
    calls.observe(3.0)
    assert reader.read().p99_ms == 100.0


def test_what_is_long_ago_is_no_now(instruments: tuple[Histogram, Counter], monkeypatch: pytest.MonkeyPatch) -> None:
    calls, lost = instruments
    reader = GateAnswersReader(calls, lost)
    reader.read()
    calls.observe(0.05)
    monkeypatch.setattr(gate_answers, "WINDOW_S", -1.0)
    assert reader.read() == GateAnswers()
