"""What an operator can do to a sale: one row an action, so that buttons, dialogs and roles agree.

The table decides what is *offered*. The API decides what is allowed, by the operator's own token.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from console import wording, zones
from console.sale_draft import THROTTLE_FIELDS

EDITORS = frozenset({"owner", "operator"})
RECONCILERS = frozenset({"owner", "auditor"})
EDITABLE = frozenset({"draft", "scheduled"})


@dataclass(frozen=True, slots=True)
class SaleAction:
    """One action of the operator API: `POST operator/sales/{id}/{name}`."""

    name: str
    label: str
    done: str
    """Said when it has succeeded."""
    states: frozenset[str]
    """States of a sale in which it is offered."""
    asks: bool = False
    """True opens a dialog with a reason and before/after first ("…" in the label)."""
    dangerous: bool = False
    explains: str = ""
    """What it will do, for the dialog."""


def _in(*states: str) -> frozenset[str]:
    return frozenset(states)


ACTIONS = {
    action.name: action
    for action in (
        SaleAction("schedule", "Schedule", "Scheduled. It opens by itself at the stored time.", _in("draft")),
        SaleAction("preload", "Preload stock", "Stock is loaded into the gate.", _in("scheduled")),
        SaleAction("publish", "Publish page", "The page is being published.",
                   _in("scheduled", "live", "paused", "ended")),
        SaleAction("rotate-links", "Rotate links …", "Links rotated.", _in("scheduled", "live", "paused"), asks=True,
                   explains="Makes a new secret. Links handed out before stop working when the overlap is over."),
        SaleAction("pause", "Pause sale", "Paused. Nobody is admitted until you resume.", _in("scheduled", "live")),
        SaleAction("resume", "Resume sale …", "Resumed.", _in("paused"), asks=True,
                   explains="Admits shoppers again: from this second on, or from the opening."),
        SaleAction("throttle", "Throttle …", "Throttle changed.", _in("scheduled", "live", "paused"), asks=True,
                   explains="Changes how many attempts a second get through. It holds for all servers at once."),
        SaleAction("top-up", "Top up stock …", "Units added.", _in("scheduled", "live", "paused"), asks=True,
                   explains="Adds units to the allotment. They can be bought a moment later."),
        SaleAction("reduce", "Reduce stock …", "Units taken back.", _in("scheduled", "live", "paused"), asks=True,
                   explains="Takes available units out of the sale. Reserved and sold units stay."),
        SaleAction("rebuild", "Rebuild gate …", "Asked for. The sale is stopped until its gate is whole.",
                   _in("scheduled", "live", "paused", "ended"), asks=True,
                   explains="Stops the sale and writes its gate anew from the ledger, with everybody's claims. What "
                            "was accepted and is not yet booked is booked first, so no place in line is lost that the "
                            "gate still knows. Use it when gate and ledger disagree."),
        SaleAction("end", "End sale …", "Ended.", _in("live", "paused"), asks=True, dangerous=True,
                   explains="Ends the sale now. It cannot be opened again; orders already placed go on."),
        SaleAction("cancel", "Cancel sale …", "Cancelled.", _in("scheduled", "live", "paused", "ended"), asks=True,
                   dangerous=True,
                   explains="Cancels the sale and every order in it that is not paid; paid ones become refunds due."),
    )
}  # fmt: skip

PREPARATION = ("schedule", "preload", "publish")
STEERING = (
    "pause", "resume", "throttle", "top-up", "reduce", "rotate-links", "publish", "rebuild", "end", "cancel",
)  # fmt: skip


def offered(names: tuple[str, ...], status: str) -> list[SaleAction]:
    """The actions out of `names` that make sense in `status`, in that order."""
    return [ACTIONS[name] for name in names if status in ACTIONS[name].states]


def refusal(role: str, allowed: frozenset[str] = EDITORS) -> str:
    """Why this role may not act, for a disabled button; empty when it may."""
    if role in allowed:
        return ""
    who = " or ".join(sorted(allowed, reverse=True))
    return f"Your role ({role}) may look; an {who} may do this."


def before_after(action: str, sale: dict[str, Any], change: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Rows (what, before, after) of an action's preview, from the sale as last read."""
    status = str(sale["status"])
    if action in {"top-up", "reduce"}:
        item = next((i for i in sale["items"] if i["sku"] == change.get("sku")), None)
        if item is None:
            return []
        step = int(change["quantity"]) * (1 if action == "top-up" else -1)
        return [
            ("Allotment", str(item["allotment"]), str(item["allotment"] + step)),
            ("Available", str(item["available"]), str(item["available"] + step)),
        ]
    if action == "throttle":
        now = effective_throttle(sale, change.get("sku"))
        return [
            (label, wording.figure(now[name]), wording.figure(change.get(name, now[name])))
            for name, label in THROTTLE_FIELDS.items()
        ]
    if action == "rotate-links":
        epoch = sale.get("link", {}).get("epoch")
        return [("Link epoch", "–" if epoch is None else str(epoch), "new" if epoch is None else str(epoch + 1))]
    if action == "resume":
        return _resumed(sale, status)
    if action == "rebuild":
        return _rebuilt(sale, status)
    after = {"end": "ended", "cancel": "cancelled"}.get(action)
    return [("Status", status, after)] if after else []


def _rebuilt(sale: dict[str, Any], status: str) -> list[tuple[str, str, str]]:
    goes_on = "by itself" if sale.get("recovery") == "automatic" else "when somebody resumes it"
    rows = [("Status", status, "paused" if status in {"live", "scheduled"} else status), ("Goes on", "–", goes_on)]
    if sale.get("fault"):
        rows.append(("Fault", wording.kind(sale["fault"]), "mended, if the gate's history was the cause"))
    return rows


def _resumed(sale: dict[str, Any], status: str) -> list[tuple[str, str, str]]:
    opened = zones.parse(sale["opens_at"]) <= datetime.now(UTC)
    rows = [("Status", status, "live" if opened else "scheduled")]
    if sale.get("fault"):
        rows.append(("Fault", wording.kind(sale["fault"]), f"cleared for generation {sale['generation']}"))
    return rows


def effective_throttle(sale: dict[str, Any], sku: str | None) -> dict[str, Any]:
    """The throttle that holds for one item: its own, or the sale's default."""
    for item in sale["items"]:
        if item["sku"] == sku and item.get("throttle"):
            return dict(item["throttle"])
    return dict(sale["throttle"])
