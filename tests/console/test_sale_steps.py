"""The sale form's steps, suggestions and the words of a page's changes, without widgets."""

from dataclasses import replace
from datetime import date

import pytest

from console import page_changes, sale_draft, sale_steps, suggestions
from console.sale_draft import ItemDraft, SaleDraft
from tests.console.peer import make_sale
from tests.console.test_console_logic import draft


def test_every_error_belongs_to_a_step_that_asks_for_it() -> None:
    bad = draft(
        title=" ", slug="-", closes_clock="18:00", description="x" * 10_001,
        items=[ItemDraft(sku="A", price="x", allotment=0), ItemDraft(price="1", currency="USD")],
    )  # fmt: skip
    errors = sale_draft.check(bad)
    by_step = {name: set(sale_steps.within(errors, name)) for name in sale_steps.NAMES}
    assert by_step["what"] == {"title", "slug", "items.0.price", "items.1.sku", "items"}
    assert by_step["when"] == {"closes_at"}
    assert by_step["units"] == {"items.0.allotment"}
    assert by_step["page"] == {"description"}
    assert by_step["review"] == set(errors)
    assert sale_steps.step_of("throttle.burst") == sale_steps.step_of("durability") == "rules"
    assert [sale_steps.after(name) for name in sale_steps.NAMES] == [*sale_steps.NAMES[1:], "review"]
    assert sale_steps.step("../x").name == "what"


def test_only_what_was_touched_is_complained_about() -> None:
    before = draft(items=[ItemDraft(), ItemDraft()])
    assert sale_steps.touched(before, replace(before)) == frozenset()
    after = replace(before, opens_clock="25:00", items=[ItemDraft(), ItemDraft(price="x")])
    assert sale_steps.touched(before, after) == {"opens_at", "closes_at", "items.1.price", "items"}


@pytest.mark.parametrize(
    ("changes", "wrong", "left"),
    [
        ({"title": "Other", "description": "x" * 10_001}, "description", {"title"}),
        ({"title": "Other", "opens_clock": "25:00", "time_zone": "UTC"}, "opens_at", {"title"}),
        ({"title": "Other", "opens_on": date(2020, 1, 1), "closes_clock": "20:30"}, "opens_at", {"title"}),
        ({"title": "Other", "items": [ItemDraft(sku="A", price="x")]}, "items.0.price", {"title"}),
        ({"burst": 7, "slug": "-"}, "slug", {"throttle"}),
    ],
)
def test_what_is_wrong_stays_behind_and_the_rest_is_saved(
    changes: dict[str, object], wrong: str, left: set[str]
) -> None:
    stored = draft()
    after = replace(stored, **changes)  # type: ignore[arg-type]
    errors = sale_draft.check(after)
    assert wrong in errors
    assert set(sale_draft.changes(stored, after, wrong=errors)) == left


def test_a_body_is_not_made_of_half_a_window() -> None:
    with pytest.raises(ValueError, match="the draft has errors"):
        sale_draft.body(draft(closes_clock="18:00"))


def test_everything_stored_comes_through_the_form_and_a_duplicate() -> None:
    stored = make_sale(
        "1", description="**Hi**", language="ar", delivery_required=True, recovery="manual", durability="acknowledged",
        lead_s=60,
    )  # fmt: skip
    body = sale_draft.body(sale_draft.from_sale(stored))
    again = sale_draft.body(sale_draft.duplicate(stored, date(2030, 1, 1)))
    for name in sale_draft.PLAIN_FIELDS:
        assert body[name] == again[name] == stored[name]
    assert set(body) == sale_draft.MEMBERS


@pytest.mark.parametrize(
    ("units", "rate", "burst"), [(1, 1, 1), (100, 2, 2), (200, 2, 2), (1_500, 20, 20), (1_000_000, 20_000, 20_000)]
)
def test_the_suggested_pace_lets_the_units_last_about_a_minute(units: int, rate: float, burst: int) -> None:
    pace = suggestions.pace(units)
    assert (pace.rate_per_s, pace.burst) == (rate, burst)
    assert units <= 60 or 30 <= units / pace.rate_per_s <= 120
    assert f"{units:,} units" in pace.why


class TestChangesOfAPage:
    def test_a_sales_change_is_said_without_what_no_page_shows(self) -> None:
        line = {
            "kind": "sale.edit",
            "before": {"title": "Tee", "rate_per_s": 5, "opens_at": "2026-12-04T18:00:00Z", "description": "a"},
            "after": {"title": "Tee!", "rate_per_s": 9, "opens_at": "2026-12-04T19:00:00Z", "description": "b"},
        }
        assert page_changes.said(line, "Europe/Berlin") == [
            "Title: Tee → Tee!",
            "Opening: Fri 4 Dec 2026, 19:00:00 Berlin → Fri 4 Dec 2026, 20:00:00 Berlin",
            "Description changed",
        ]
        line["before"], line["after"] = {"rate_per_s": 5}, {"rate_per_s": 9}
        assert page_changes.said(line, "UTC") == []

    def test_a_products_change_names_the_product(self) -> None:
        line = {
            "kind": "sku.edit",
            "before": {"id": "1", "sku": "TEE-M", "name": "Tee"},
            "after": {"id": "1", "sku": "TEE-M", "name": "Tee", "usual_price": {"amount_minor": 100, "currency": "EUR"},
                      "options": [{"name": "Size", "value": "M"}]},
        }  # fmt: skip
        assert page_changes.said(line, "UTC") == ["TEE-M, options changed", "TEE-M, usual price: – → 1.00 EUR"]

    def test_pictures_are_said_by_what_they_show(self) -> None:
        added = {"kind": "sku.picture", "after": {"sku_id": "1", "alt": "From the front"}}
        assert page_changes.said(added, "UTC") == ["Picture added: From the front"]
        assert page_changes.said({"kind": "sku.picture_removed", "before": {"sku_id": "1"}}, "UTC") == [
            "Picture taken away"
        ]


def test_a_new_draft_is_complete_but_for_what_only_the_merchant_knows() -> None:
    fresh = sale_draft.fresh(date(2030, 1, 1))
    assert isinstance(fresh, SaleDraft)
    assert {sale_steps.step_of(field) for field in sale_draft.check(fresh)} == {"what"}
