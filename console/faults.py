"""Why the platform stopped a sale, and what fits that fault: what goes on by itself, and what a person does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from console import wording

RECOVERING = frozenset({"regressed", "forked", "rebuild"})
"""Faults after which a worker writes the gate anew from the ledger without being asked."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to say about a stopped sale."""

    what: str
    under_way: str
    """What the platform does about it by itself; empty when it waits for a person."""
    do: str
    before_resuming: str
    """What has to be true before somebody resumes; empty while nobody needs to."""
    tab: str = ""
    """Where on the sale's page it is done, and the words of the way there."""
    way: str = ""


_REBUILT = "Its gate is being written anew from the ledger, with everybody's claims."
_BY_ITSELF = "The sale then goes on by itself."
_BY_HAND = "The sale then waits: “Recovered” appears in the events below, and a resume lets it go on."

_UNEXPLAINED = "Resume only when the findings are explained: a sale that goes on promises what the gate says it has."

_FITTING: dict[str, tuple[str, str, str, str]] = {
    "regressed": (
        (
            "Look why meanwhile: is the right volume mounted, does the store keep its file? When it comes again and "
            "again, pause the sale first."
        ),
        "Wait for “Recovered” in the events below before you resume it.",
        "",
        "",
    ),
    "forked": (
        "Find the second store meanwhile: two of them took turns, or the ledger was restored to an earlier moment.",
        "Wait for “Recovered” in the events below before you resume it.",
        "",
        "",
    ),
    "rebuild": ("Nothing needs to be done.", "Wait for “Recovered” in the events below before you resume it.", "", ""),
    "drift": (
        "Run a reconciliation and read its findings. Rebuild the gate when they say that the ledger is right.",
        _UNEXPLAINED,
        "Reconciliation",
        "Read the findings",
    ),
    "no_stock": (
        (
            "The shopper was refused and told so; nothing is oversold. Run a reconciliation and read its findings, as "
            "for a drift."
        ),
        _UNEXPLAINED,
        "Reconciliation",
        "Read the findings",
    ),
    "poison": (
        (
            "Everything before the entry is applied; the orders behind it wait. The alarm below names it and says why: "
            "“of a kind that this version does not know” means that an upgrade is half done, anything else is a fault "
            "of the platform, whose log is worth keeping."
        ),
        "Resume when the upgrade is finished, or the fault mended: the drain meets the same entry again.",
        "Activity",
        "Look at what was put aside",
    ),
    "clock": (
        (
            "The clocks of the gate's host and of the ledger's are more than a second apart. Mend the time service on "
            "both; the pre-flight list's “clocks” says when they agree."
        ),
        "Resume when the clocks agree: opening and closing are judged by the gate's.",
        "Preparation",
        "Look at the clocks",
    ),
}


def advice(fault: str, recovery: str = "automatic") -> Advice:
    """The words for a fault of a sale whose recovery is `automatic` or `manual`."""
    do, before, tab, way = _FITTING.get(
        fault,
        (
            "Run a reconciliation, and look at the alarm below.",
            "Resume when somebody knows why it was stopped.",
            "Reconciliation",
            "Read the findings",
        ),
    )
    under_way = ""
    if fault in RECOVERING:
        under_way = f"{_REBUILT} {_BY_HAND if recovery == 'manual' else _BY_ITSELF}"
    return Advice(wording.fault(fault), under_way, do, before, tab, way)


def since(fault: str, events: list[Mapping[str, Any]]) -> str | None:
    """When the sale was stopped for it: the time of the newest alarm of that kind, if it is among `events`."""
    return max((str(e["at"]) for e in events if e["kind"] == f"fault.{fault}"), default=None)
