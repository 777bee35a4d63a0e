"""What the screens are made from: items from a CSV, the timeline, a throttle's effect, an order's story."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from console import admission, item_csv, sale_draft, timeline
from console.views import orders
from tests.console.peer import NASTY, make_sale, stamp

NOW = datetime(2026, 12, 4, 19, tzinfo=UTC)
KNOWN = frozenset({"TEE-M", "TEE-L", "MUG"})


class TestItemCsv:
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_good_lines_become_items_and_each_bad_line_says_why(self, separator: str) -> None:
        price = "19.00" if separator == "," else "19,00"
        lines = [
            ("sku", "price", "currency", "allotment", "per_shopper_limit"),
            ("TEE-M", price, "EUR", "100", "2"),
            ("NOPE", price, "EUR", "1", "1"),
            ("TEE-L", "cheap", "EUR", "1", "1"),
            ("MUG", price, "XXX", "1", "1"),
            ("TEE-L", price, "", "0", ""),
            ("TEE-M", price, "EUR", "1", "1"),
            ("", "", "", "", ""),
            ("MUG", price, "", "7", ""),
        ]
        raw = "\n".join(separator.join(line) for line in lines).encode("utf-8-sig")
        items, bad = item_csv.read(raw, KNOWN)
        assert [(i.sku, i.allotment, i.per_shopper_limit, i.currency) for i in items] == [
            ("TEE-M", 100, 2, "EUR"), ("MUG", 7, 1, "EUR"),
        ]  # fmt: skip
        assert [one.line for one in bad] == [3, 4, 5, 6, 7]
        for one, word in zip(bad, ("NOPE", "amount", "XXX", "allotment", "twice"), strict=True):
            assert word in one.why

    @pytest.mark.parametrize(
        ("raw", "word"),
        [
            (b"", "empty"),
            (b"sku;price\nTEE-M;1", "allotment"),
            ("sku;price;allotment\nT\xc9E;1;1".encode("latin-1"), "UTF-8"),
            (b"x" * (item_csv.BYTES_LIMIT + 1), "larger"),
            (b"sku,price,allotment\n" + b"NOPE,1,1\n" * (item_csv.LINES_LIMIT + 1), "at most"),
        ],
    )
    def test_a_file_that_is_none_is_refused_as_a_whole(self, raw: bytes, word: str) -> None:
        with pytest.raises(item_csv.CsvError, match=word):
            item_csv.read(raw, KNOWN)

    def test_the_example_that_is_shown_is_taken(self) -> None:
        items, bad = item_csv.read(item_csv.EXAMPLE.encode(), KNOWN)
        assert (len(items), bad) == (1, [])

    @pytest.mark.parametrize(
        "raw", [b"\x00\xff", b'sku,price,allotment\n"TEE-M,1,1', b"sku,price,allotment\nTEE-M,1,1,5,6"]
    )
    def test_odd_files_are_answered_and_not_crashed_on(self, raw: bytes) -> None:
        try:
            items, bad = item_csv.read(raw, KNOWN)
        except item_csv.CsvError:
            return
        assert len(items) + len(bad) == 1


def sale(title: str, opens_in_h: float, lasts_h: float, status: str = "scheduled") -> dict[str, Any]:
    opens = NOW + timedelta(hours=opens_in_h)
    return make_sale(
        title, status, title=title, opens_at=stamp(opens), closes_at=stamp(opens + timedelta(hours=lasts_h))
    )


class TestTimeline:
    def test_bars_lie_where_the_sales_do_and_never_on_one_another(self) -> None:
        found = timeline.spans([sale("a", 0, 24), sale("b", 12, 24), sale("c", 24 * 20, 24)], NOW)
        assert [span.row for span in found] == [0, 1, 0]
        assert found[0].left == pytest.approx(25.0), "now is a quarter into four weeks"
        assert found[0].width == pytest.approx(100 / 28)
        assert all(span.left + span.width <= 100 for span in found)

    def test_what_lies_outside_or_was_cancelled_is_left_out(self) -> None:
        far = [sale("past", -24 * 30, 1), sale("far", 24 * 60, 1), sale("off", 1, 1, "cancelled")]
        assert timeline.spans(far, NOW) == []
        assert timeline.picture(far, NOW, "Europe/Berlin") == ""

    def test_overlaps_are_those_of_time_and_of_what_will_open(self) -> None:
        sales = [sale("a", 1, 2), sale("b", 2, 2), sale("c", 3, 1), sale("d", 1, 9, "draft"), sale("e", -5, 1, "ended")]
        # a ends at the second in which c opens: that is no overlap.
        assert timeline.overlaps(sales, NOW) == [("a", "b"), ("b", "c")]

    def test_stored_text_is_text(self) -> None:
        markup = timeline.picture([sale(NASTY, 1, 1)], NOW, "Europe/Berlin")
        assert "<img" not in markup
        assert "&lt;img" in markup


class TestAdmission:
    def series(self, throttled: int) -> list[dict[str, Any]]:
        return [{"at": stamp(NOW + timedelta(seconds=s)), "RESERVED": 5, "THROTTLED": throttled} for s in range(30)]

    def test_the_crowd_is_tries_a_second_times_the_window(self) -> None:
        assert admission.waiting(self.series(40), repeat_window_s=10) == 400
        assert admission.waiting([], repeat_window_s=10) == 0

    def test_the_second_that_still_counts_is_left_out(self) -> None:
        series = self.series(40)
        series[-1]["THROTTLED"] = 100_000
        assert admission.waiting(series, repeat_window_s=10) == 400

    def test_the_effect_names_what_ends_first(self) -> None:
        assert "38 s to clear the crowd" in admission.effect(10, 380, 5_000)
        assert "20 s until the 200 available" in admission.effect(10, 5_000, 200)
        assert "Nothing is available" in admission.effect(10, 5_000, 0)
        assert "at least 20 s" in admission.effect(10, 0, 200)

    def test_a_burst_that_takes_all_is_said(self) -> None:
        assert "first burst" in admission.pace(500, 1_000, 100)
        assert "18 s or longer" in admission.pace(50, 100, 1_000)


class TestDuplicate:
    @pytest.mark.parametrize("today", [date(2026, 12, 4), date(2027, 3, 1)])
    def test_it_lies_ahead_on_the_same_weekday_at_the_same_time(self, today: date) -> None:
        past = sale("Friday tee", 1, 2, "reconciled") | {"slug": "friday-tee"}
        draft = sale_draft.duplicate(past, today)
        before = sale_draft.from_sale(past)
        assert draft.opens_on > today
        assert draft.opens_on.weekday() == before.opens_on.weekday()
        assert draft.closes_on - draft.opens_on == before.closes_on - before.opens_on
        assert (draft.opens_clock, draft.items) == (before.opens_clock, before.items)
        assert draft.slug != "friday-tee"
        assert sale_draft.SLUG.fullmatch(draft.slug)


def test_an_orders_story_is_told_in_the_order_of_time() -> None:
    def at(seconds: int) -> str:
        return stamp(NOW + timedelta(seconds=seconds))

    life = {
        "attempt": {"admitted_at": at(0), "journal_entry": "1-7"},
        "ledger": [
            {"at": at(1), "kind": "reserve", "id": 9, "available_delta": -1, "reserved_delta": 1, "sold_delta": 0},
            {"at": at(60), "kind": "release", "id": 12, "available_delta": 1, "reserved_delta": -1, "sold_delta": 0},
        ],
        "releases": [{"created_at": at(60), "done_at": at(61), "quantity": 1}],
        "notifications": [
            {"kind": "order_reserved", "status": "sent", "attempts": 1, "created_at": at(1), "sent_at": at(3)}
        ],
        "payment": {"created_at": at(20), "amount": {"amount_minor": 1900, "currency": "EUR"}, "provider": "sandbox"},
    }
    told = orders.story(life, "Europe/Berlin")
    assert [line["What"] for line in told] == [
        "Admitted at the gate", "Ledger: reserve", "Message: order reserved", "Message sent: order reserved",
        "Payment begun", "Ledger: release", "Units to be given back", "Units back on sale",
    ]  # fmt: skip
    assert told[1]["Record"] == "entry 9: available -1, reserved +1"
