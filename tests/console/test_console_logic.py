"""The console's rules without widgets: money, time, text, keys, drafts, charts."""

import base64
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import figures, money, palette, sale_actions, sale_draft, wording, zones
from console.guard import origin_allowed
from console.history import Units, UnitsHistory
from console.intents import Intents
from console.settings import Settings
from console.sign_in import safe_next
from tests.console.peer import NASTY, make_sale, stamp, throughput_series


class TestMoney:
    @pytest.mark.parametrize(
        ("typed", "currency", "minor"),
        [
            ("19.99", "EUR", 1999), ("19,9", "EUR", 1990), ("19", "EUR", 1900), ("1900", "JPY", 1900),
            ("1.234", "KWD", 1234), ("0.29", "USD", 29), ("999999999999.99", "EUR", 99_999_999_999_999),
        ],
    )  # fmt: skip
    def test_typed_amounts_are_exact(self, typed: str, currency: str, minor: int) -> None:
        assert money.to_minor(typed, currency) == minor

    @pytest.mark.parametrize(
        ("typed", "currency"),
        [("1,900.00", "EUR"), ("1.999", "EUR"), ("19.5", "JPY"), ("-1", "EUR"), ("", "EUR"), ("1e3", "EUR"),
         ("١٩", "EUR"), ("NaN", "EUR")],
    )  # fmt: skip
    def test_what_is_not_plainly_an_amount_is_refused(self, typed: str, currency: str) -> None:
        with pytest.raises(money.AmountError):
            money.to_minor(typed, currency)

    @given(st.integers(0, 10**11), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
    def test_what_is_shown_is_read_back_as_the_same(self, minor: int, currency: str) -> None:
        assert money.to_minor(money.to_major(minor, currency), currency) == minor


class TestZones:
    def test_a_local_time_is_the_instant_the_zone_says(self) -> None:
        moment = zones.to_utc(date(2026, 12, 4), time(19), "Europe/Berlin")
        assert zones.wire(moment.utc) == "2026-12-04T18:00:00Z"
        assert not moment.ambiguous

    def test_a_time_the_clocks_skip_is_refused(self) -> None:
        with pytest.raises(zones.TimeError, match="skip 02:30"):
            zones.to_utc(date(2026, 3, 29), time(2, 30), "Europe/Berlin")

    def test_a_time_that_comes_twice_takes_the_first_and_says_so(self) -> None:
        moment = zones.to_utc(date(2026, 10, 25), time(2, 30), "Europe/Berlin")
        assert moment.ambiguous
        assert zones.wire(moment.utc) == "2026-10-25T00:30:00Z"

    @pytest.mark.parametrize("typed", ["24:00", "7", "19:60", "19:00:61", "noon", ""])
    def test_a_clock_that_is_none_is_refused(self, typed: str) -> None:
        with pytest.raises(zones.TimeError):
            zones.parse_clock(typed)

    def test_seconds_are_kept(self) -> None:
        assert zones.parse_clock("20:00:05") == time(20, 0, 5)


class TestText:
    def test_markdown_of_a_stored_name_is_escaped(self) -> None:
        shown = wording.literal(NASTY)
        assert not re.search(r"(?<!\\)[\[\]<>`*_{}$:!]", shown)
        assert "//" not in shown
        assert shown.replace("\\", "").replace("\u2060", "") == NASTY

    def test_invisible_characters_are_shown_not_obeyed(self) -> None:
        assert wording.plain("pay\u202egnp\u200b\x1b[31m\nx") == "pay�gnp��[31m x"

    def test_every_outcome_has_a_group_and_every_group_a_colour(self) -> None:
        assert wording.outcome_group("SOMETHING_NEW") == "other"
        assert set(wording.OUTCOME_GROUPS) == set(palette.OUTCOME_COLOURS)


class TestIntents:
    def test_a_rerun_keeps_the_key_and_a_changed_value_does_not(self) -> None:
        state: dict[str, object] = {}
        first = Intents(state).key("sale 1: top-up", "POST", "/x", {"quantity": 10, "sku": "A"})
        assert Intents(state).key("sale 1: top-up", "POST", "/x", {"sku": "A", "quantity": 10}) == first
        assert Intents(state).key("sale 1: top-up", "POST", "/x", {"quantity": 11, "sku": "A"}) != first
        assert Intents(state).key("sale 2: top-up", "POST", "/x", {"quantity": 10, "sku": "A"}) != first

    def test_a_settled_action_gets_a_new_turn(self) -> None:
        state: dict[str, object] = {}
        intents = Intents(state)
        turn, key = intents.turn("s"), intents.key("s", "POST", "/x", None)
        intents.settle("s")
        assert intents.turn("s") != turn
        assert intents.key("s", "POST", "/x", None) != key

    def test_two_sessions_never_share_a_key(self) -> None:
        assert Intents({}).key("s", "POST", "/x", None) != Intents({}).key("s", "POST", "/x", None)


def draft(**changes: object) -> sale_draft.SaleDraft:
    values = {
        "title": "Friday tee", "slug": "friday-tee", "opens_on": date(2030, 12, 4), "opens_clock": "19:00",
        "closes_on": date(2030, 12, 4), "closes_clock": "20:00",
        "items": [sale_draft.ItemDraft(sku="TEE-M", price="19.00")],
    }  # fmt: skip
    return sale_draft.SaleDraft(**{**values, **changes})  # type: ignore[arg-type]


class TestDraft:
    def test_a_good_draft_becomes_the_contracts_body(self) -> None:
        good = draft()
        assert sale_draft.check(good) == {}
        body = sale_draft.body(good)
        assert body["opens_at"] == "2030-12-04T18:00:00Z"
        assert body["items"][0]["price"] == {"amount_minor": 1900, "currency": "EUR"}
        assert set(body) == {
            "slug", "title", "opens_at", "closes_at", "time_zone", "items", "throttle", "link", "payment", "lead_s",
            "recovery", "durability", "description", "language", "delivery_required",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"title": " "}, "title"), ({"slug": "Friday Tee"}, "slug"), ({"slug": "-a"}, "slug"),
            ({"closes_clock": "18:59"}, "closes_at"), ({"opens_clock": "25:00"}, "opens_at"),
            ({"opens_on": date(2020, 1, 1)}, "opens_at"), ({"items": []}, "items"),
            ({"items": [sale_draft.ItemDraft(sku="A", price="1.999")]}, "items.0.price"),
            ({"items": [sale_draft.ItemDraft(sku="A", price="1", allotment=0)]}, "items.0.allotment"),
            ({"items": [sale_draft.ItemDraft(sku="A", price="1", allotment=1, per_shopper_limit=2)]},
             "items.0.per_shopper_limit"),
            ({"items": [sale_draft.ItemDraft(sku="A", price="1"), sale_draft.ItemDraft(sku="A", price="1")]},
             "items.1.sku"),
        ],
    )  # fmt: skip
    def test_each_fault_is_named_at_its_field(self, changes: dict[str, object], field: str) -> None:
        assert list(sale_draft.check(draft(**changes))) == [field]

    def test_a_patch_sends_only_what_was_touched(self) -> None:
        stored = sale_draft.from_sale(make_sale("1"))
        touched = sale_draft.from_sale(make_sale("1"))
        touched.title, touched.lead_s = "Other", 60
        assert sale_draft.changes(stored, touched) == {"title": "Other", "lead_s": 60}

    def test_editing_round_trips_the_stored_seconds(self) -> None:
        sale = make_sale("1", opens_at="2030-12-04T18:00:37Z", closes_at="2030-12-04T19:00:00Z")
        assert sale_draft.body(sale_draft.from_sale(sale))["opens_at"] == "2030-12-04T18:00:37Z"

    def test_the_apis_price_members_land_on_the_price(self) -> None:
        assert sale_draft.form_field("items.3.price.amount_minor") == "items.3.price"
        assert sale_draft.form_field("throttle.burst") == "throttle.burst"

    def test_a_slug_is_suggested(self) -> None:
        assert sale_draft.suggest_slug("  Friday Tée! ") == "friday-t-e"
        assert sale_draft.SLUG.fullmatch(sale_draft.suggest_slug("x" * 62 + " y"))


class TestActions:
    def test_before_and_after_of_a_top_up(self) -> None:
        rows = sale_actions.before_after("top-up", make_sale("1", "live"), {"sku": "TEE-M", "quantity": 10})
        assert rows == [("Allotment", "200", "210"), ("Available", "54", "64")]

    def test_an_items_own_throttle_is_the_one_shown(self) -> None:
        sale = make_sale("1", "live")
        sale["items"][0]["throttle"] = {**sale["throttle"], "rate_per_s": 7.0}
        rows = sale_actions.before_after("throttle", sale, {"sku": "TEE-M", "rate_per_s": 0.5})
        assert rows[0] == ("Admitted a second", "7", "0.5")

    def test_before_and_after_of_a_rebuild_say_how_the_sale_goes_on(self) -> None:
        sale = {**make_sale("1", "live"), "recovery": "automatic"}
        assert sale_actions.before_after("rebuild", sale, {}) == [
            ("Status", "live", "paused"), ("Goes on", "–", "by itself")
        ]  # fmt: skip
        stopped = {**make_sale("1", "paused"), "recovery": "manual", "fault": "drift"}
        assert [row[2] for row in sale_actions.before_after("rebuild", stopped, {})][:2] == [
            "paused", "when somebody resumes it"
        ]  # fmt: skip

    def test_every_dangerous_action_asks(self) -> None:
        assert all(a.asks and a.explains for a in sale_actions.ACTIONS.values() if a.dangerous)
        assert {"end", "cancel", "top-up", "reduce", "throttle", "rotate-links", "resume", "rebuild"} == {
            name for name, a in sale_actions.ACTIONS.items() if a.asks
        }

    def test_a_role_that_may_not_is_told_who_may(self) -> None:
        assert sale_actions.refusal("owner") == ""
        assert "auditor" in sale_actions.refusal("auditor")
        assert sale_actions.refusal("operator", sale_actions.RECONCILERS)


def units(second: float, drift: int = 0) -> Units:
    return Units(int(second * 1_000), 200, 54, 24, 122, drift)


class TestHistory:
    def test_it_is_bounded_ordered_and_reaches_back(self) -> None:
        history = UnitsHistory(limit=50)
        for second in range(5_000):
            history.add(units(second))
        points = history.points()
        assert len(points) <= 51
        assert points[0].at_ms == 0
        assert points[-1].at_ms == 4_999_000
        assert points == sorted(points, key=lambda p: p.at_ms)

    def test_a_moment_of_drift_is_never_thinned_out(self) -> None:
        history = UnitsHistory(limit=50)
        for second in range(1_000):
            history.add(units(second, drift=-1 if second == 333 else 0))
        assert [p.at_ms for p in history.points() if p.drift] == [333_000]

    def test_it_is_bounded_even_when_all_drifts(self) -> None:
        history = UnitsHistory(limit=50)
        for second in range(1_000):
            history.add(units(second, drift=1))
        assert len(history.points()) <= 51

    def test_an_older_reading_is_dropped(self) -> None:
        history = UnitsHistory()
        history.add(units(5))
        history.add(units(4))
        assert [p.at_ms for p in history.points()] == [5_000]


def room(
    series: list[dict[str, Any]],
    *,
    now: datetime,
    mode: palette.Mode = "light",
    events: list[tuple[str, str, bool]] | None = None,
    points: list[Units] | None = None,
) -> dict[str, Any]:
    """The control room's figure as it is sent."""
    axis, groups = figures.live_axis(series, now)
    drawn: dict[str, Any] = figures.room(
        axis, groups, points or [], events or [], "Europe/Berlin", mode, revision="live"
    ).to_dict()
    return drawn


def decoded(values: Any) -> Any:
    """An array of a figure, as it was before Plotly packed it for the wire."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])
    return values


class TestFigures:
    def test_seconds_without_attempts_are_drawn_as_zero(self) -> None:
        at = datetime(2026, 12, 4, 19, tzinfo=UTC)
        axis, groups = figures.per_second(
            [{"at": stamp(at), "RESERVED": 5, "NEW_ONE": 2}, {"at": stamp(at + timedelta(seconds=3)), "REPLAYED": 7}]
        )
        assert len(axis) == 4
        assert groups["reserved"] == [5, 0, 0, 0]
        assert groups["repeated"] == [0, 0, 0, 7]
        assert groups["other"] == [2, 0, 0, 0]

    def test_a_chart_holds_at_most_300_seconds_and_keeps_its_zoom(self) -> None:
        now = datetime.now(UTC)
        drawn = room(throughput_series(now, 900), now=now)
        assert max(len(decoded(t["x"])) for t in drawn["data"]) <= 300
        assert drawn["layout"]["uirevision"] == "live"

    def test_outcome_colours_are_fixed_in_both_themes(self) -> None:
        now = datetime.now(UTC)
        for mode in ("light", "dark"):
            drawn = room(throughput_series(now, 300), now=now, mode=mode)
            colours = {
                t["name"]: t.get("fillcolor") for t in drawn["data"] if t["name"] != "Reserved" or "yaxis" not in t
            }
            assert colours["Reserved"] == "#1f8a5b"
            assert colours["Throttled"] == "#e0a021"

    def test_the_opening_is_marked_and_stored_text_cannot_make_a_link(self) -> None:
        now = datetime.now(UTC)
        events = [(stamp(now - timedelta(seconds=100)), '<a href="//evil.test">x</a>', True)]
        layout = room(throughput_series(now, 300), now=now, events=events)["layout"]
        assert layout["annotations"][0]["text"].startswith("&lt;a href=")
        assert layout["shapes"][0]["line"]["color"] == palette.roles("light")["accent"]

    def test_a_young_sale_is_not_a_spike_and_the_running_second_is_left_out(self) -> None:
        now = datetime(2026, 12, 4, 19, 0, 10, 500_000, tzinfo=UTC)
        series = [{"at": stamp(now - timedelta(seconds=s)), "RESERVED": 9 if s < 3 else 0} for s in range(299, -1, -1)]
        trace = room(series, now=now)["data"][0]
        assert len(decoded(trace["x"])) == figures.SPAN_MIN_S
        assert list(decoded(trace["y"])[-4:]) == [0, 0, 9, 9]

    def test_attempts_are_those_of_the_last_whole_second(self) -> None:
        now = datetime(2026, 12, 4, 19, 0, 10, 500_000, tzinfo=UTC)
        series = [{"at": stamp(now - timedelta(seconds=s)), "RESERVED": s} for s in (3, 2, 1, 0)]
        assert figures.last_whole_second(series, now)["reserved"] == 1

    def test_drift_is_drawn(self) -> None:
        drawn = room([], now=datetime.now(UTC), points=[units(1), units(2, drift=-3)])
        assert drawn["data"][-1]["name"] == "Drift"
        assert "Drift" not in [t["name"] for t in room([], now=datetime.now(UTC), points=[units(1)])["data"]]

    def test_a_shared_figure_is_made_once_and_read_by_streamlit_as_any_other(self) -> None:
        """What it is for: a second reading is the very same object, and it is what a plain figure would say."""
        figure = figures.Shared({"data": [{"type": "scatter", "x": [1], "y": [2]}], "layout": {"height": 90}})
        assert figure.to_dict() is figure.to_dict()
        plain = go.Figure({"data": [{"type": "scatter", "x": [1], "y": [2]}], "layout": {"height": 90}}).to_dict()
        assert {name: figure.to_dict()[name] for name in ("data", "layout")} == {
            "data": plain["data"], "layout": {"height": 90}
        }  # fmt: skip

    def test_a_replay_tells_outcomes_a_second(self) -> None:
        at = datetime(2026, 12, 4, 19, tzinfo=UTC)
        point = {"at": stamp(at), "outcomes": {"RESERVED": 50, "SOLD_OUT": 20, "NOT_ENOUGH": 10}}
        axis, groups = figures.replayed([point], step_s=10)
        assert axis == [at]
        assert (groups["reserved"], groups["sold_out"], groups["throttled"]) == ([5], [3], [0])


LOCAL = Settings(environment="local", api_url="http://127.0.0.1:1", public_url="http://127.0.0.1:8000/x")
LIVE = Settings(environment="production", api_url="http://api", public_url="https://shop.example")


@pytest.mark.parametrize(
    ("origin", "host", "settings", "allowed"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", LOCAL, True),
        ("http://localhost:8000", "localhost:8000", LOCAL, True),
        ("http://localhost:9999", "localhost:8000", LOCAL, False),
        ("http://evil.test", "evil.test", LOCAL, False),
        (None, "127.0.0.1:8000", LOCAL, False),
        ("null", "127.0.0.1:8000", LOCAL, False),
        ("https://shop.example", "shop.example", LIVE, True),
        ("http://shop.example", "shop.example", LIVE, False),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", LIVE, False),
        ("https://shop.example.evil.test", "shop.example", LIVE, False),
    ],
)
def test_origins(origin: str | None, host: str, settings: Settings, allowed: bool) -> None:
    assert origin_allowed(origin, host, settings) is allowed


@pytest.mark.parametrize(
    ("value", "safe"),
    [
        ("/console/sale?sale=01-ab", "/console/sale?sale=01-ab"), ("/console/", "/console/"),
        ("//evil.test", "/console/"), ("/console//evil.test", "/console/"), ("https://evil.test", "/console/"),
        ("/console/\\evil", "/console/"), ("/console/sign-out", "/console/"), ("/api/v1", "/console/"),
        ("/console/../x", "/console/"), (None, "/console/"), ("/console/a\r\nSet-Cookie: x=1", "/console/"),
    ],
)  # fmt: skip
def test_only_pages_of_the_console_are_gone_to(value: str | None, safe: str) -> None:
    assert safe_next(value) == safe
