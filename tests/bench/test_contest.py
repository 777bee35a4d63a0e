"""How targets are judged: within rounds, by the median, and never on a run that was wrong."""

from datetime import UTC, datetime

from bench.contest import Outcome, Sample, Scenario, Target
from bench.record import last_line, make_record, write_record

CHEAP = Target("cheap", "api_us", 1.3, reference="floor")
FAST = Target("fast", "rate_per_s", 100, at_least=True)


def _scenario() -> Scenario:
    return Scenario("sample", "A sample", lambda _: [], (CHEAP, FAST))


def _outcome(subject: list[Sample], floor: list[Sample]) -> Outcome:
    return Outcome(_scenario(), {"subject": subject, "floor": floor})


def _sample(api_us: float, rate_per_s: float = 200, *faults: str) -> Sample:
    return Sample({"api_us": api_us, "rate_per_s": rate_per_s}, {"202 RESERVED": 1}, list(faults))


def test_a_ratio_is_taken_within_each_round():
    # A slow minute doubles both: the median of the ratios does not see it, a ratio of medians would.
    cheap, fast = _outcome([_sample(12), _sample(24), _sample(12)], [_sample(10), _sample(20), _sample(8)]).verdicts
    assert cheap.values == [1.2, 1.2, 1.5]
    assert (cheap.value, cheap.word) == (1.2, "met")
    assert (fast.value, fast.word) == (200, "met")


def test_missing_the_bound_is_missed_in_both_directions():
    cheap, fast = _outcome([_sample(14, 99)], [_sample(10)]).verdicts
    assert (cheap.word, fast.word) == ("missed", "missed")


def test_a_void_run_of_the_subject_voids_its_targets():
    outcome = _outcome([_sample(11), _sample(5, 900, "2 units are oversold")], [_sample(10), _sample(10)])
    assert [verdict.word for verdict in outcome.verdicts] == ["void", "void"]
    assert outcome.faults == ["subject, round 2: 2 units are oversold"]


def test_a_void_reference_takes_its_round_out_of_the_ratio_alone():
    cheap, fast = _outcome([_sample(11), _sample(99)], [_sample(10), _sample(1, 1, "answers were 500")]).verdicts
    assert (cheap.values, cheap.word) == ([1.1], "met")
    assert fast.word == "met"


def test_an_error_voids_what_was_to_be_measured():
    outcome = Outcome(_scenario(), error="StackError: not drained")
    assert [verdict.word for verdict in outcome.verdicts] == ["void", "void"]
    assert outcome.faults == ["StackError: not drained"]


def test_the_last_line_names_what_was_missed(tmp_path):
    at = datetime(2026, 11, 20, tzinfo=UTC)
    good, bad = _outcome([_sample(11)], [_sample(10)]), _outcome([_sample(14)], [_sample(10)])
    record = make_record([good, bad], machine={}, commit="abc", dirty=True, quick=True, at=at)
    assert last_line(record) == "targets met: 3 of 4; missed: cheap"
    assert last_line(make_record([good], machine={}, commit="abc", dirty=False, quick=False, at=at)) == (
        "targets met: 2 of 2"
    )
    assert write_record(record, partial=False, folder=tmp_path).name == "2026-11-20-abc-dirty-quick.json"
