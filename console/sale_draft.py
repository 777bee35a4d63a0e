"""The sale form without its widgets: from what was entered to the body of the API, or to errors.

Field names in errors are those of the API (`items.0.allotment`), so its own refusals land beside
the same widgets as ours.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from console import money, zones

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
UNITS_LIMIT = 10_000_000
RATE_MIN_PER_S = 0.01

THROTTLE_FIELDS = {
    "rate_per_s": "Admitted a second",
    "burst": "Burst",
    "wait_budget_ms": "Wait budget, ms",
    "repeat_window_ms": "Repeat window, ms",
}


PLAIN_FIELDS = ("lead_s", "recovery", "durability", "description", "language", "delivery_required")
"""Members that are the same in the form and in the API."""
DESCRIPTION_LIMIT = 10_000
LANGUAGES = {"en": "English", "de": "German (Deutsch)", "ar": "Arabic (العربية)"}
"""What pages can be written in, as the API spells it."""


@dataclass(slots=True)
class ItemDraft:
    """One row of the items editor."""

    sku: str = ""
    price: str = ""
    currency: str = "EUR"
    allotment: int = 100
    per_shopper_limit: int = 1


@dataclass(slots=True)
class SaleDraft:
    """Everything the form holds, as entered."""

    title: str = ""
    slug: str = ""
    time_zone: str = "Europe/Berlin"
    opens_on: date = date.min
    opens_clock: str = "20:00"
    closes_on: date = date.min
    closes_clock: str = "21:00"
    items: list[ItemDraft] = field(default_factory=lambda: [ItemDraft()])
    rate_per_s: float = 500
    """May be a fraction: one every two seconds is 0.5."""
    burst: int = 1_000
    wait_budget_ms: int = 0
    repeat_window_ms: int = 10_000
    ttl_s: int = 300
    overlap_s: int = 0
    payment_required: bool = False
    hold_s: int = 900
    lead_s: int = 600
    recovery: str = "automatic"
    durability: str = "everysec"
    description: str = ""
    language: str = "en"
    delivery_required: bool = False


def fresh(today: date) -> SaleDraft:
    """A new draft: it opens in a week, at eight in the evening, for an hour."""
    day = today + timedelta(days=7)
    return SaleDraft(opens_on=day, closes_on=day)


def from_sale(sale: dict[str, Any]) -> SaleDraft:
    """The draft that shows a stored sale on its own clocks."""
    zone_name = sale["time_zone"]
    opens, closes = zones.local(sale["opens_at"], zone_name), zones.local(sale["closes_at"], zone_name)
    return SaleDraft(
        title=sale["title"],
        slug=sale["slug"],
        time_zone=zone_name,
        opens_on=opens.date(),
        opens_clock=_clock(opens),
        closes_on=closes.date(),
        closes_clock=_clock(closes),
        items=[
            ItemDraft(
                sku=i["sku"],
                price=money.to_major(i["price"]["amount_minor"], i["price"]["currency"]),
                currency=i["price"]["currency"],
                allotment=i["allotment"],
                per_shopper_limit=i["per_shopper_limit"],
            )
            for i in sale["items"]
        ],
        **{name: sale["throttle"][name] for name in THROTTLE_FIELDS},
        ttl_s=sale["link"]["ttl_s"],
        overlap_s=sale["link"]["overlap_s"],
        payment_required=sale["payment"]["required"],
        hold_s=sale["payment"]["hold_s"],
        **{name: sale[name] for name in PLAIN_FIELDS},
    )


def duplicate(sale: dict[str, Any], today: date) -> SaleDraft:
    """The same sale again: a week after it was, or a week or more from today; same weekday, same times of the day."""
    draft = from_sale(sale)
    # Whole weeks, so that it stays the weekday that people plan by.
    weeks = max(1, -(-(today + timedelta(days=7) - draft.opens_on).days // 7))
    draft.opens_on += timedelta(weeks=weeks)
    draft.closes_on += timedelta(weeks=weeks)
    draft.title = f"{sale['title']} (again)"[:200]
    draft.slug = f"{sale['slug'][:58].rstrip('-')}-{draft.opens_on:%m%d}"
    return draft


def suggest_slug(title: str) -> str:
    """An address for a title: "Friday Tee!" is `friday-tee`."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower(), flags=re.ASCII).strip("-")[:63].rstrip("-")


def window(draft: SaleDraft) -> tuple[zones.Moment | None, zones.Moment | None, dict[str, str]]:
    """Opening and closing as instants, and what is wrong with them."""
    errors: dict[str, str] = {}
    moments: list[zones.Moment | None] = []
    for name, day, clock in (
        ("opens_at", draft.opens_on, draft.opens_clock),
        ("closes_at", draft.closes_on, draft.closes_clock),
    ):
        try:
            moments.append(zones.to_utc(day, zones.parse_clock(clock), draft.time_zone))
        except (zones.TimeError, OverflowError) as error:
            errors[name] = str(error)
            moments.append(None)
    opens, closes = moments
    if opens and closes and closes.utc <= opens.utc:
        errors["closes_at"] = "The sale must close after it opens."
    return opens, closes, errors


def check(draft: SaleDraft, *, was: SaleDraft | None = None, now: datetime | None = None) -> dict[str, str]:
    """What the API would refuse, by field, before it is asked; empty when nothing is known to be wrong.

    `was` is the stored sale while editing: an opening that passed meanwhile is no error as long as
    it is not the opening that is edited.
    """
    errors: dict[str, str] = {}
    if not draft.title.strip():
        errors["title"] = "Give the sale a title; shoppers see it."
    if not SLUG.fullmatch(draft.slug):
        errors["slug"] = "Use small letters, digits and hyphens, such as friday-tee."
    opens, _, wrong = window(draft)
    errors |= wrong
    moved = was is None or (was.opens_on, was.opens_clock) != (draft.opens_on, draft.opens_clock)
    if moved and opens and opens.utc <= (now or datetime.now(UTC)):
        errors.setdefault("opens_at", "The opening is in the past.")
    if not draft.items:
        errors["items"] = "A sale needs at least one item."
    seen: set[str] = set()
    for index, item in enumerate(draft.items):
        errors |= {f"items.{index}.{name}": text for name, text in _check_item(item, seen).items()}
    if len({item.currency for item in draft.items}) > 1:
        errors.setdefault("items", "All items of a sale are sold in one currency.")
    if len(draft.description) > DESCRIPTION_LIMIT:
        errors["description"] = f"At most {DESCRIPTION_LIMIT:,} characters."
    return errors


def form_field(api_field: str) -> str:
    """The form's field for one of the API's: a price's members belong to the price."""
    match = re.match(r"(items\.\d+\.price)\.", api_field)
    return match[1] if match else api_field


def _check_item(item: ItemDraft, seen: set[str]) -> dict[str, str]:
    errors: dict[str, str] = {}
    if not item.sku:
        errors["sku"] = "Choose a product."
    elif item.sku in seen:
        errors["sku"] = "This product is already in the sale."
    seen.add(item.sku)
    try:
        money.to_minor(item.price, item.currency)
    except money.AmountError as error:
        errors["price"] = str(error)
    if not 1 <= item.allotment <= UNITS_LIMIT:
        errors["allotment"] = f"Between 1 and {UNITS_LIMIT:,} units."
    elif item.per_shopper_limit > item.allotment:
        errors["per_shopper_limit"] = "More than the whole allotment."
    return errors


def body(draft: SaleDraft) -> dict[str, Any]:
    """The whole sale as `POST operator/sales` takes it. Only for a draft that `check` finds nothing in."""
    members = _members(draft, frozenset())
    if members.keys() < MEMBERS:
        raise ValueError("the draft has errors")
    return members


MEMBERS = frozenset(
    {"slug", "title", "opens_at", "closes_at", "time_zone", "items", "throttle", "link", "payment", *PLAIN_FIELDS}
)
_WINDOW = frozenset({"opens_at", "closes_at", "time_zone"})


def changes(before: SaleDraft, after: SaleDraft, *, wrong: Iterable[str] = ()) -> dict[str, Any]:
    """The members that differ, for `PATCH`: what was not touched is not sent, so it cannot be undone.

    `wrong` are fields in which `check` found errors: their members stay behind, the others are saved.
    """
    left_out = {field.partition(".")[0] for field in wrong}
    if left_out & _WINDOW:
        left_out |= _WINDOW
    old, new = body(before), _members(after, frozenset(left_out))
    return {name: value for name, value in new.items() if value != old[name]}


def _members(draft: SaleDraft, left_out: frozenset[str]) -> dict[str, Any]:
    """The members of the API's body that can be made of the draft, without those in `left_out`."""
    opens, closes, errors = window(draft)
    members: dict[str, Any] = {
        "slug": draft.slug,
        "title": draft.title.strip(),
        "throttle": {name: getattr(draft, name) for name in THROTTLE_FIELDS},
        "link": {"ttl_s": draft.ttl_s, "overlap_s": draft.overlap_s},
        "payment": {"required": draft.payment_required, "hold_s": draft.hold_s},
        **{name: getattr(draft, name) for name in PLAIN_FIELDS},
    }
    if opens is not None and closes is not None and not errors:
        members |= {
            "opens_at": zones.wire(opens.utc),
            "closes_at": zones.wire(closes.utc),
            "time_zone": draft.time_zone,
        }
    if "items" not in left_out:
        members["items"] = [_item_body(item) for item in draft.items]
    return {name: value for name, value in members.items() if name not in left_out}


def _item_body(item: ItemDraft) -> dict[str, Any]:
    return {
        "sku": item.sku,
        "price": {"amount_minor": money.to_minor(item.price, item.currency), "currency": item.currency},
        "allotment": item.allotment,
        "per_shopper_limit": item.per_shopper_limit,
    }


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"
