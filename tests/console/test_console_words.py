"""What the console says of faults, dependencies, findings and dead letters: every one has words that fit it."""

import inspect
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from backend.models import Fault
from backend.reconciliation import rules
from console import faults, figures, findings, happenings, health, letters, poller, strips
from console.history import Units
from console.poller import Reading
from tests.console.peer import NASTY, live_of, make_sale, stamp, throughput_series

NOW = datetime(2026, 12, 4, 19, tzinfo=UTC)


class TestFaults:
    def test_each_fault_of_the_platform_has_advice_of_its_own(self) -> None:
        said = {fault.value: faults.advice(fault.value) for fault in Fault}
        general = faults.advice("something new")
        assert all(one.do != general.do for one in said.values())
        assert len({one.what for one in said.values()}) == len(Fault)

    def test_what_mends_itself_says_so_and_the_rest_leads_to_where_it_is_mended(self) -> None:
        for fault in Fault:
            one = faults.advice(fault.value)
            assert bool(one.under_way) == (fault.value in faults.RECOVERING)
            assert bool(one.tab) == bool(one.way) == (fault.value not in faults.RECOVERING)
        assert "goes on by itself" in faults.advice("regressed", "automatic").under_way
        assert "then waits" in faults.advice("regressed", "manual").under_way

    def test_since_when_is_the_newest_alarm_of_that_kind(self) -> None:
        events = [{"kind": f"fault.{name}", "at": at} for name, at in (("drift", "1"), ("clock", "9"), ("drift", "5"))]
        assert faults.since("drift", events) == "5"
        assert faults.since("poison", events) is None


class TestHealth:
    def test_nothing_that_is_not_up_is_called_well(self) -> None:
        states = {"up": "good", "slow": "warn", "down": "bad", "unknown": "unknown", "new": "unknown"}
        for state, level in states.items():
            for name in (*health.NAMES, "new"):
                one = health.dependency(name, state)
                assert one.level == level
                assert bool(one.meaning and one.advice and one.state) == (state != "up")

    def test_what_is_down_is_said_before_what_is_slow_and_unknown_needs_no_words(self) -> None:
        found = health.all_of({"new": "down", "clock": "slow", "gate": "down", "workers": "unknown", "database": "up"})
        assert [one.name for one in found] == ["Ledger", "Gate", "Workers", "Clock", "New"]
        assert [one.name for one in health.complaints(found)] == ["Gate", "New", "Clock"]

    def test_a_dot_has_its_word_and_stored_text_is_text(self) -> None:
        markup = strips.health_html({"gate": "down", "<img src=x>": "up"})
        assert '<span class="sp-dot bad">Gate down</span>' in markup
        assert "<img" not in markup


class TestFindings:
    def test_every_rule_that_runs_has_words(self) -> None:
        codes = {
            kind.code
            for _, kind in inspect.getmembers(rules, inspect.isclass)
            if issubclass(kind, rules.LedgerRule | rules.BalanceRule) and not inspect.isabstract(kind)
        }
        assert len(codes) >= 10
        for code in codes:
            one = findings.of({"rule": code, "message": "x"})
            assert one.promise, code
            assert one.advice, code

    @pytest.mark.parametrize(
        ("ids", "order", "cause"),
        [
            ({"reservation_id": "r", "order_id": "o"}, "o", "r"),
            ({"what": "The order of reservation", "reference": "r"}, "r", "r"),
            ({"what": "Journal entry", "reference": "i 1-7"}, "", ""),
            ({"item_id": "i", "sku": "TEE", "shopper_id": "s"}, "s", ""),
            ({}, "", ""),
        ],
    )
    def test_a_finding_leads_to_what_it_names(self, ids: dict[str, str], order: str, cause: str) -> None:
        one = findings.of({"rule": "I4", "message": "twice", "ids": ids, "numbers": {"times": 2}})
        assert (one.order, one.cause) == (order, cause)
        assert "times 2" in one.figures


class TestLetters:
    @pytest.mark.parametrize("source", ["journal", "notification", "outbox", "new"])
    def test_each_source_says_what_it_means_and_what_to_do(self, source: str) -> None:
        one = letters.of({"source": source, "reference": "x", "error": NASTY})
        assert one.what
        assert one.meaning
        assert one.advice
        assert bool(one.resend) == (source == "notification")

    def test_only_a_reservation_leads_to_an_order(self) -> None:
        payload = {"entry": "1-7", "kind": "reserve", "cause": "abc", "quantity": "1", "digest": "not shown"}
        stored: dict[str, Any] = {"source": "journal", "reference": "i:0:1-7", "error": "", "payload": payload}
        one = letters.of(stored)
        assert (one.order, one.facts) == (
            "abc",
            "reference i:0:1-7 · entry 1-7 · kind reserve · quantity 1 · cause abc",
        )
        assert letters.of({**stored, "payload": {**payload, "kind": "adjust"}}).order == ""


class TestThrottleOverTime:
    def line(self, second: int, before: float, after: float, **more: object) -> dict[str, Any]:
        sides: dict[str, object] = {
            "before": {"throttle": {"rate_per_s": before}},
            "after": {"throttle": {"rate_per_s": after}},
        }
        at = stamp(NOW + timedelta(seconds=second))
        return {"kind": "sale.throttle", "outcome": "done", "at": at} | sides | more

    def test_a_replay_has_the_rate_of_each_moment(self) -> None:
        lines = [
            self.line(20, 8, 2),
            self.line(10, 4, 8),
            self.line(15, 8, 99, outcome="refused"),
            self.line(16, 8, 99) | {"after": {"sku": "TEE-M", "throttle": {"rate_per_s": 99}}},
        ]
        point = {"allotment": 1, "available": 1, "reserved": 0, "sold": 0}
        points = [{**point, "at": stamp(NOW + timedelta(seconds=s))} for s in (0, 10, 17, 30)]
        told = poller.replayed_units(points, happenings.rates(lines, 2.0))
        assert [one.rate_per_s for one in told] == [4, 8, 8, 2]
        assert [one.rate_per_s for one in poller.replayed_units(points, happenings.rates([], 5.0))] == [5.0] * 4


class TestStrips:
    def reading(self, **live: Any) -> Reading:
        now = live_of(make_sale("1", "live"), NOW) | live
        return Reading(now, throughput_series(NOW, 60), "", 0.0)

    def test_the_gates_answer_and_the_backlog_are_figures(self) -> None:
        told = self.reading(gate_call_p99_ms=11.0, gate_unanswered=3, backlog=12)
        markup = strips.figures_html(told, told.live or {}, "light")
        for words in ("11 ms", "unanswered 3", "backlog 12, oldest 84 ms", "146 of 200"):
            assert words in markup
        away = self.reading(backlog=None, order_lag_ms=None)
        assert "backlog –</small>" in strips.figures_html(away, away.live or {}, "light")

    def test_what_was_not_compared_is_neither_good_nor_bad(self) -> None:
        units = Units(0, 200, 54, 24, 122, None)
        assert "sp-unknown" in strips.equation_html(units, None, 0)
        assert "sp-good" in strips.equation_html(Units(0, 200, 54, 24, 122, 0), 54, 0)
        assert "sp-bad" in strips.equation_html(Units(0, 200, 55, 24, 122, None), 54, 0)

    def test_delays_fit_their_scale_and_backlog_has_a_row(self) -> None:
        points = [Units(s * 1_000, 1, 1, 0, 0, 0, 4.0, 2_500, s, 0.2) for s in range(3)]
        drawn: dict[str, Any] = figures.room([], {}, points, [], "UTC", "light", revision="live").to_dict()
        low, high = drawn["layout"]["yaxis3"]["range"]
        assert 10**low < 1.0
        assert 10**high > 2_500
        named = {trace["name"]: trace for trace in drawn["data"]}
        assert named["Backlog"]["yaxis"] == "y4"
        rows = [drawn["layout"][f"yaxis{n}"]["domain"] for n in ("", 2, 3, 4, 5)]
        assert all(lower[1] < upper[0] for upper, lower in pairwise(rows)), "no row covers another"
        assert rows[-1][0] >= 0
        past: dict[str, Any] = figures.room([], {}, points, [], "UTC", "light", revision="r", live=False).to_dict()
        assert "Backlog" not in {trace["name"] for trace in past["data"]}
        assert "yaxis4" not in past["layout"]
