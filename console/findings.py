"""What a reconciliation found, in words: the promise that does not hold, what it means, and where to look."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from console import wording

_RULES: dict[str, tuple[str, str]] = {
    "I1": (
        "Each item's counters add up to its allotment.",
        "Somebody wrote to the ledger past the platform, or a restore was partial: compare with a backup.",
    ),
    "I2": (
        "The gate's units add up to the allotment.",
        "A fault of the gate's scripts: pause the sale and keep the store's file.",
    ),
    "I3": (
        "Ledger, units on their way and journal make what the gate has.",
        "This is drift, and the sale is stopped for it. Rebuild the gate when the ledger is right.",
    ),
    "I4": ("Each reservation was decided once.", "Refund one of the two; the order says who has it."),
    "I8": ("Nobody holds more than the limit.", "Cancel what is above it, with a reason."),
    "I9": (
        "The gate's journal is the one that was applied.",
        "The gate has lost history, or has another one: its sale is stopped and rebuilt.",
    ),
    "I10": ("Units go back once, and only those that ended.", "Pause the sale before they are sold again."),
    "I11": ("Orders and reservations say the same.", "Settle the order that is named by hand, and keep the log."),
    "I12": ("Each payment is one paid order or one refund due.", "Settle or refund the payment that is named by hand."),
    "I13": ("Nothing is reserved before the opening.", "Compare the clocks. The orders are valid."),
    "I17": (
        "The ledger's entries add up to its counters.",
        "Somebody wrote to the ledger past the platform, or a restore was partial: compare with a backup.",
    ),
    "I20": (
        "What is given back can be bought again soon.",
        "Do the workers run, and does the gate answer? They bring it back by themselves.",
    ),
}
"""Rule → (what is promised, what to do when it does not hold); docs/operations.md has the same rows."""

_ORDERS = ("order_id", "reservation_id", "shopper_id")
"""What the search for orders takes; a shopper's finds all that the shopper has."""
_CAUSES = ("reservation_id", "order_id")


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding as it is shown. `order` and `cause` are ids to look it up by, empty when it names none."""

    rule: str
    message: str
    promise: str
    advice: str
    order: str
    cause: str
    figures: str


def of(finding: Mapping[str, Any]) -> Finding:
    """The words and the ways for one finding of a run (`{rule, message, ids, numbers}`)."""
    rule = str(finding.get("rule", ""))
    ids: Mapping[str, Any] = finding.get("ids") or {}
    if "reservation" in str(ids.get("what", "")).lower():
        # A duplicate is named by what it is one of: "The order of reservation", and that reservation's id.
        ids = {**ids, "reservation_id": ids.get("reference", "")}
    promise, advice = _RULES.get(rule, ("", ""))
    figures = [f"{wording.kind(name).lower()} {wording.said(value)}" for name, value in ids.items()]
    figures += [
        f"{wording.kind(name).lower()} {wording.said(value)}" for name, value in (finding.get("numbers") or {}).items()
    ]
    return Finding(
        rule=wording.plain(rule, 20),
        message=wording.plain(finding.get("message", ""), 400),
        promise=promise,
        advice=advice,
        order=_first(ids, _ORDERS),
        cause=_first(ids, _CAUSES),
        figures=" · ".join(figures),
    )


def _first(ids: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((str(ids[name]) for name in names if ids.get(name)), "")
