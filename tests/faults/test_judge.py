"""What the judge calls oversold, stranded, undecided and broken: each fault by itself, and the same without it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from backend.gate import LaneId, LaneReading, reservation_id
from tests.faults.books import Ledger, Page
from tests.faults.drill import Result
from tests.faults.judge import Verdict, compare, units_amiss, units_by_shopper
from tests.faults.shop import RunningSale
from tests.faults.witness import Attempt, Waited, Witness, longest_gap_s

ITEM = uuid4()
SALE = RunningSale(uuid4(), ITEM, "drill", "DRILL", 0.0, 10)
LEDGER = Ledger(allotment=10, available=4, reserved=1, sold=5, fault=None, generation=1, seq=6, pending=0, unsettled=0)
GATE = LaneReading(LaneId(ITEM), loaded=True, read_at_ms=0, generation=1, seq=6, available=4, held=6, allotment=10)
PAGE = Page(LEDGER, GATE)


def _page(ledger: dict[str, Any] | None = None, **gate: Any) -> Page:
    return Page(replace(LEDGER, **(ledger or {})), replace(GATE, **gate))


def test_what_is_sold_and_offered_is_the_allotment() -> None:
    assert units_amiss(PAGE, live=6, witnessed=6) == (0, 0)
    assert PAGE.balanced


@pytest.mark.parametrize(
    ("page", "live", "witnessed", "amiss"),
    [
        (PAGE, 11, 6, (5, 0)),
        (PAGE, 6, 11, (1, 0)),
        (_page(available=5), 6, 6, (1, 0)),
        (_page({"sold": 11, "available": 0}, available=0), 10, 10, (2, 0)),
        (_page(available=3), 6, 6, (0, 1)),
        (PAGE, 5, 5, (0, 1)),
        (_page(loaded=False), 6, 6, (0, 4)),
        (_page(fault="regressed"), 6, 6, (0, 4)),
        (_page({"fault": "drift"}), 6, 6, (0, 4)),
        (_page(generation=2), 6, 6, (0, 4)),
    ],
)
def test_each_unit_too_many_is_oversold_and_each_that_nobody_can_get_is_stranded(
    page: Page, live: int, witnessed: int, amiss: tuple[int, int]
) -> None:
    assert units_amiss(page, live, witnessed) == amiss


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (_page(loaded=False), "the gate has no stock loaded"),
        (_page(fault="forked"), "the sale is stopped by a fault: ledger None, gate forked"),
        (_page(generation=2), "the gate is at generation 2, the ledger at 1"),
        (_page(seq=9), "3 entries are not applied"),
        (_page(available=5), "drift 1"),
        (_page({"pending": 2}), "drift 2"),
    ],
)
def test_books_that_are_not_balanced_say_why(page: Page, why: str) -> None:
    assert page.why_unbalanced() == why
    assert page.why_restless() == why


@pytest.mark.parametrize(
    ("ledger", "gate", "why"),
    [
        ({"pending": 1, "available": 5, "reserved": 0}, {}, "1 units are on their way to the gate"),
        ({"unsettled": 2}, {}, "2 captured payments are not settled"),
        ({}, {}, "1 units are held"),
        ({"reserved": 0, "sold": 6}, {}, ""),
    ],
)
def test_balanced_is_not_yet_at_rest(ledger: dict[str, Any], gate: dict[str, Any], why: str) -> None:
    page = _page(ledger, **gate)
    assert page.balanced
    assert page.why_restless() == why


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    witness = Witness(tmp_path / "witness.jsonl")
    yield witness
    witness.close()


def _buy(witness: Witness, *answers: tuple[int, dict[str, Any]], shopper: UUID | None = None) -> Attempt:
    """One key of one shopper, and what she was answered one time after the other."""
    shopper = shopper or uuid4()
    attempt = witness.asked(shopper, "key")
    for status, document in answers:
        attempt = witness.asked(shopper, "key")
        witness.answered(attempt, status, document)
    return attempt


def _row(attempt: Attempt, status: str = "confirmed") -> dict[str, Any]:
    return {
        "id": reservation_id(attempt.shopper, ITEM, attempt.key),
        "shopper_id": attempt.shopper,
        "quantity": 1,
        "status": status,
    }


TICKET = (202, {"outcome": "RESERVED", "ticket": "t"})
CUT = (0, {})
SOLD_OUT = (409, {"code": "SOLD_OUT"})


def test_a_ticket_and_its_order_agree(witness: Witness) -> None:
    attempt = _buy(witness, CUT, TICKET)
    witness.verdict(attempt, {"status": "confirmed"})
    assert compare(SALE, witness, [_row(attempt)]) == []
    assert (witness.broken, witness.undecided()) == ([], [])


def test_a_202_without_a_verdict_is_undecided(witness: Witness) -> None:
    attempt = _buy(witness, TICKET)
    witness.verdict(attempt, {"status": "queued"})
    assert witness.undecided() == [attempt]


def test_a_reservation_that_nobody_asked_for_is_found(witness: Witness) -> None:
    stranger = Attempt(uuid4(), "other")
    assert [one[:3] for one in compare(SALE, witness, [_row(stranger)])] == ["I6 "]


def test_a_unit_whose_shopper_was_told_that_there_is_none_is_found(witness: Witness) -> None:
    attempt = _buy(witness, CUT, SOLD_OUT)
    assert compare(SALE, witness, [_row(attempt)]) == [f"I7 {attempt.shopper} has a unit and was told SOLD_OUT"]
    assert compare(SALE, witness, [_row(attempt, "expired")]) == []


def test_a_winner_who_is_refused_under_the_same_key_is_found(witness: Witness) -> None:
    _buy(witness, TICKET, SOLD_OUT)
    assert [one[:3] for one in witness.broken] == ["I7 "]


def test_a_ticket_that_says_something_else_than_the_ledger_is_found(witness: Witness) -> None:
    attempt = _buy(witness, TICKET)
    witness.verdict(attempt, {"status": "confirmed"})
    assert [one[:3] for one in compare(SALE, witness, [_row(attempt, "expired")])] == ["I11"]
    assert [one[:3] for one in compare(SALE, witness, [])] == ["I4 "]


def test_a_lost_ticket_needs_no_row(witness: Witness) -> None:
    attempt = _buy(witness, TICKET)
    witness.verdict(attempt, {"status": "rejected", "reason": "lost_in_failover"})
    assert compare(SALE, witness, []) == []
    assert witness.lost_in_failover() == 1


def test_what_has_ended_stays_ended(witness: Witness) -> None:
    attempt = _buy(witness, TICKET)
    for status in ("reserved", "expired", "confirmed"):
        witness.verdict(attempt, {"status": status})
    assert [one[:4] for one in witness.broken] == ["I11 "]


def test_an_answer_500_is_found(witness: Witness) -> None:
    _buy(witness, (500, {"code": "INTERNAL"}))
    assert witness.broken == ["a buy was answered 500 INTERNAL"]


def test_the_record_is_on_disk_before_anything_else_happens(witness: Witness) -> None:
    _buy(witness, TICKET)
    lines = witness.path.read_text().splitlines()
    assert [line.split('"what": "')[1].split('"')[0] for line in lines] == ["buy", "buy", "answer"]


def test_live_units_are_counted_by_shopper() -> None:
    one, other = Attempt(uuid4(), "a"), Attempt(uuid4(), "b")
    rows = [_row(one), _row(one, "reserved"), _row(one, "expired"), _row(other, "rejected")]
    assert units_by_shopper(rows) == {one.shopper: 2}


@pytest.mark.parametrize(
    ("answers", "gap_s"),
    [
        ([], 0.0),
        ([(0, 1, True), (5, 6, True)], 1.0),  # nobody asked in between
        ([(0, 1, True), (2, 3, False), (9, 10, True)], 8.0),  # she who was refused would have bought from 2 on
        ([(0, 1, True), (2, 9, True)], 7.0),  # a hang that was answered in the end
        ([(0, 1, False), (3, 4, False)], 4.0),  # never a good answer
        ([(0, 9, True), (1, 2, True), (3, 4, True)], 5.0),  # others were served while one waited
    ],
)
def test_unavailable_is_the_time_in_which_somebody_waited_and_nobody_was_served(
    answers: list[tuple[float, float, bool]], gap_s: float
) -> None:
    assert longest_gap_s([Waited(sent, answered, good) for sent, answered, good in answers]) == gap_s


def test_a_drill_passes_when_nothing_is_amiss_and_there_was_a_fault() -> None:
    assert Result("kill.gate", 1, injected=1).passed
    assert not Result("kill.gate", 1, injected=0).passed
    for verdict in (Verdict(oversold=1), Verdict(stranded=1), Verdict(undecided=1), Verdict(findings=["I17"])):
        assert not Result("kill.gate", 1, injected=1, verdict=verdict).passed
