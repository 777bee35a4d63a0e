"""The command line: which drills it takes, what it says last, and what the page says of them."""

import pytest

from tests.faults.__main__ import choose, last_line, parser
from tests.faults.catalogue import CI_KILL_POINTS, DRILLS
from tests.faults.drill import Result
from tests.faults.judge import Verdict
from tests.faults.report import document
from tests.faults.seams import POINTS


def _chosen(*arguments: str) -> list[tuple[str, int]]:
    return [(turn.drill.name, turn.seed) for turn in choose(parser().parse_args(arguments))]


def test_ci_takes_five_kill_points_with_three_seeds_and_one_drill_of_each_kind() -> None:
    turns = _chosen("--ci")
    assert len(CI_KILL_POINTS) == 5
    assert {(name, seed) for name, seed in turns if name in POINTS} == {
        (name, seed) for name in CI_KILL_POINTS for seed in (1, 2, 3)
    }
    kinds = {name.partition(".")[0] for name, _ in turns if name not in POINTS}
    assert kinds == {"kill", "lost", "freeze", "silent", "reply-lost", "lock", "disk", "failover"}
    assert {DRILLS[name].shape.topology for name, _ in turns} == {"standalone", "sentinel", "cluster"}
    assert {DRILLS[name].shape.broker for name, _ in turns} == {"redis", "rabbitmq"}
    assert _chosen() == turns


def test_long_takes_every_drill_with_twenty_seeds() -> None:
    turns = _chosen("--long")
    assert set(turns) == {(name, seed) for name in DRILLS for seed in range(1, 21)}
    assert len(turns) == len(set(turns))


def test_every_kill_point_has_a_drill() -> None:
    assert set(POINTS) <= set(DRILLS)


def test_drills_are_chosen_by_pattern_seeds_and_repetition() -> None:
    assert _chosen("--only", "drain.*") == [(name, 1) for name in POINTS if name.startswith("drain.")]
    assert _chosen("--only", "kill.gate", "--seeds", "2") == [("kill.gate", 1), ("kill.gate", 2)]
    assert _chosen("--repeat", "kill.gate:17") == [("kill.gate", 17)]


@pytest.mark.parametrize("arguments", [("--only", "kill.nobody"), ("--repeat", "kill.gate"), ("--repeat", "no:1")])
def test_a_name_that_no_drill_has_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="--list"):
        _chosen(*arguments)


def test_the_last_line_adds_up() -> None:
    results = [
        Result("kill.gate", 1, injected=1),
        Result("kill.gate", 2, injected=1, verdict=Verdict(oversold=1, stranded=2, undecided=3)),
        Result("kill.edge", 1, injected=1, verdict=Verdict(stranded=5)),
    ]
    assert last_line(results) == "drills: 3, oversold 1, stranded 7, undecided 3"
    assert last_line([]) == "drills: 0, oversold 0, stranded 0, undecided 0"


def test_the_page_has_a_row_a_drill_with_sums_and_worst_times_and_names_what_failed() -> None:
    results = [
        Result("kill.gate", 1, injected=1, recovered_s=0.5, longest_verdict_s=2.0, told={"202 RESERVED": 60}),
        Result("kill.gate", 2, injected=1, recovered_s=1.5, longest_verdict_s=1.0, told={"202 RESERVED": 40, "cut": 3}),
        Result("kill.edge", 7, injected=2, verdict=Verdict(stranded=5, findings=["drift -5"]), lost_in_failover=4),
    ]
    page = document(results, {"units-kept": Result("units-kept", 1, verdict=Verdict(stranded=7))}, size="ci")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    assert ["kill -9 of the gate, append-only file kept", "`kill.gate`", "2", "0", "0", "0", "0",
            "2.0 s", "0.0 s", "1.5 s", "1–2"] in rows  # fmt: skip
    assert ["kill -9 of nginx", "`kill.edge`", "2", "0", "5", "0", "4", "0.0 s", "0.0 s", "never", "7"] in rows
    assert ["`kill.gate`", "100 × `202 RESERVED`, 3 × `cut`"] in rows
    assert ["the relay marks units as given back and tells no gate", "0", "7", "0"] in rows
    assert "**drills: 3, oversold 0, stranded 5, undecided 0**; 1 failed" in page
    assert "- `kill.edge:7`: stranded 5; drift -5" in page
