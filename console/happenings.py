"""What happened to a sale, in words: lines of the API's activity for charts, lists and tables."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from console import wording

PLATFORM = "platform"
"""The actor of what nobody commanded: the preload by the clock, the opening, alarms."""

_NOT_ON_CHARTS = frozenset({"sale.create", "sale.edit", "sale.schedule", "sale.preview", "sale.opened"})
_HEADLINE = {"throttle": "rate_per_s", "top-up": "allotment", "reduce": "allotment", "rotate-links": "link_epoch"}
"""The one figure that says what an action did, where there is room for one."""


def difference(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both sides without what they share, except the SKU that says which item is meant.

    An action that made something has no side before, and keeps all of the side after.
    """
    old, new = dict(before or {}), dict(after or {})
    for name in old.keys() & new.keys():
        if old[name] == new[name]:
            old.pop(name)
            if name != "sku":
                new.pop(name)
        elif isinstance(old[name], dict) and isinstance(new[name], dict):
            old[name], new[name] = difference(old[name], new[name])
    return old, new


def on_charts(line: Mapping[str, Any]) -> bool:
    """Whether a line is marked on charts. What was refused, or written before there was stock, moved no
    figure; the opening is drawn at its stored time, not when the clock took note of it."""
    return line["outcome"] != "refused" and line["kind"] not in _NOT_ON_CHARTS


def label(line: Mapping[str, Any]) -> str:
    """A few words for a chart: "Throttle 300 → 500", "Pause"."""
    words = wording.kind(line["kind"])
    name = _HEADLINE.get(str(line["kind"]).removeprefix("sale."))
    sides = [_find(side, name) for side in (line.get("before"), line.get("after"))] if name else []
    if len(sides) == 2 and None not in sides and sides[0] != sides[1]:
        words += " {} → {}".format(*(wording.figure(side) for side in sides if side is not None))
    return words


def detail(line: Mapping[str, Any]) -> str:
    """What changed, who did it and why, as one line: "rate per s 300 → 500 · by ada@ember.test: “calmer”"."""
    parts: list[str] = []
    commanded = line["actor"] != PLATFORM
    # What an action made from nothing is a whole sale: the activity has it, a line has no room for it.
    if line.get("before") or not commanded:
        parts += [", ".join(_changes(*difference(line.get("before"), line.get("after"))))]
    who = f"by {wording.plain(line['actor'])}" if commanded else ""
    why = f"“{wording.plain(line['reason'])}”" if line.get("reason") else ""
    if who or why:
        parts.append(": ".join(part for part in (who, why) if part))
    if line.get("outcome") in {"refused", "open"}:
        parts.append({"refused": "refused", "open": "not finished"}[line["outcome"]])
    return " · ".join(part for part in parts if part)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Each figure that changed; what has no side before is said without an arrow."""
    for name in new:
        if name.endswith("_id"):
            continue  # the activity has it, to be looked up by; nobody reads it
        if isinstance(new[name], dict):
            yield from _changes(old.get(name, {}), new[name])
            continue
        was = f"{wording.said(old[name])} → " if name in old else ""
        yield f"{name.replace('_', ' ')} {was}{wording.said(new[name])}"


def rates(lines: Iterable[Mapping[str, Any]], now_per_s: float) -> list[tuple[str, float]]:
    """The sale's throttle over time, from what operators did to it: (from when, admitted a second), oldest first.

    The first holds from the beginning (its time is empty); `now_per_s` is what holds now.
    """
    changes = sorted(
        (str(line["at"]), before, after)
        for line in lines
        if line["kind"] == "sale.throttle" and line["outcome"] == "done"
        for before, after in [(_find(line.get("before"), "rate_per_s"), _find(line.get("after"), "rate_per_s"))]
        if before is not None and after is not None and not _of_one_item(line)
    )
    if not changes:
        return [("", now_per_s)]
    return [("", changes[0][1]), *((at, after) for at, _, after in changes)]


def _of_one_item(line: Mapping[str, Any]) -> bool:
    return any("sku" in (line.get(side) or {}) for side in ("before", "after"))


def _find(side: Mapping[str, Any] | None, name: str | None) -> float | None:
    """The number called `name`, at the top or one level down."""
    for inner in (side or {}, *(value for value in (side or {}).values() if isinstance(value, dict))):
        found = inner.get(name)
        if isinstance(found, int | float) and not isinstance(found, bool):
            return found
    return None
