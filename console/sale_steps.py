"""The steps of the sale form: their order, what each asks, and which field belongs to which."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from console.sale_draft import SaleDraft

_UNITS_FIELDS = frozenset({"allotment", "per_shopper_limit"})
_BY_FIELD = {
    **dict.fromkeys(("opens_at", "closes_at", "time_zone"), "when"),
    **dict.fromkeys(("throttle", "link", "payment", "lead_s", "recovery", "durability"), "rules"),
    **dict.fromkeys(("description", "language", "delivery_required"), "page"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the form."""

    name: str
    title: str
    asks: str
    """One sentence under the title."""


STEPS = (
    Step("what", "What", "What you sell, and for how much."),
    Step("when", "When", "The second it opens and the second it closes, on the clocks of one place."),
    Step("units", "How many", "How many units of each product, and how many one shopper may have."),
    Step("rules", "Rules", "How fast shoppers get through, how they pay, and what happens when something fails."),
    Step("page", "Page", "What shoppers read before they buy."),
    Step("review", "Review", "All of it once more, with the page as shoppers will see it."),
)
NAMES = tuple(step.name for step in STEPS)


def step(name: str) -> Step:
    """The step of that name; the first for a name that is none."""
    return next((one for one in STEPS if one.name == name), STEPS[0])


def after(name: str) -> str:
    """The name of the next step; the last stays."""
    return NAMES[min(NAMES.index(name) + 1, len(NAMES) - 1)]


def step_of(field: str) -> str:
    """The step in which a field of the form (`items.0.allotment`) is entered."""
    first, _, rest = field.partition(".")
    if first == "items":
        return "units" if rest.rpartition(".")[2] in _UNITS_FIELDS else "what"
    return _BY_FIELD.get(first, "what")


def within(errors: Mapping[str, str], name: str) -> dict[str, str]:
    """The errors of one step; the review has them all."""
    return {field: text for field, text in errors.items() if name in ("review", step_of(field))}


def touched(before: SaleDraft, after: SaleDraft) -> frozenset[str]:
    """Fields whose value is not the one the form began with: their errors are said at once, those of fields that
    nobody has come to yet are not."""
    found = {name for name in ("title", "slug", "description") if getattr(before, name) != getattr(after, name)}
    for name in ("opens", "closes"):
        if any(getattr(before, f"{name}_{one}") != getattr(after, f"{name}_{one}") for one in ("on", "clock")):
            found.add(f"{name}_at")
    if "opens_at" in found:
        found.add("closes_at")  # which may now come before the opening
    for index, item in enumerate(after.items):
        was: Any = before.items[index] if index < len(before.items) else None
        for name in ("sku", "price", "allotment", "per_shopper_limit"):
            if was is not None and getattr(was, name) != getattr(item, name):
                found |= {f"items.{index}.{name}", "items"}
                if name == "allotment":
                    found.add(f"items.{index}.per_shopper_limit")
    return frozenset(found)
