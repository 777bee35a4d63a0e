"""The weeks around now as a picture: when each sale is open, and which of them overlap. No Streamlit here."""

import html
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from console import wording, zones

BEFORE = timedelta(days=7)
AFTER = timedelta(days=21)
ROW_PX = 30
WIDTH_MIN = 0.5
"""Per cent: a sale of an hour is a fifth of a per cent of four weeks, and must be seen all the same."""
CHAR_WIDTH = 0.8
"""Per cent: a letter of the label on a picture of 1,000 px, rounded up."""
TITLE_CHARS = 28
SHOWN = frozenset({"draft", "scheduled", "live", "paused", "ended", "reconciled"})


@dataclass(frozen=True, slots=True)
class Span:
    """One sale on the axis: where it begins and how long it is, in per cent of the width, and its row."""

    sale: dict[str, Any]
    left: float
    width: float
    row: int


def spans(sales: list[dict[str, Any]], now: datetime) -> list[Span]:
    """The sales that are open some time in the window, packed into as few rows as their bars allow."""
    start, whole_s = now - BEFORE, (BEFORE + AFTER).total_seconds()
    found: list[Span] = []
    ends: list[float] = []
    for sale in sorted(sales, key=lambda one: zones.parse(one["opens_at"])):
        opens, closes = zones.parse(sale["opens_at"]), zones.parse(sale["closes_at"])
        if sale["status"] not in SHOWN or closes < start or opens > now + AFTER:
            continue
        left = max(0.0, 100 * (opens - start).total_seconds() / whole_s)
        right = min(100.0, max(100 * (closes - start).total_seconds() / whole_s, left + WIDTH_MIN))
        # A bar's words stand behind it: room for them, or the next bar of the row would lie on them.
        label = len(wording.plain(sale["title"], TITLE_CHARS)) + len(wording.status(sale["status"]))
        room = right + CHAR_WIDTH * (label + 4)
        row = next((i for i, end in enumerate(ends) if end <= left), len(ends))
        ends[row : row + 1] = [room]
        found.append(Span(sale, left, right - left, row))
    return found


def overlaps(sales: list[dict[str, Any]], now: datetime) -> list[tuple[str, str]]:
    """Pairs of titles of coming or running sales that are open at the same time: they share gate, workers and eyes."""
    ahead = sorted(
        (s for s in sales if s["status"] in {"scheduled", "live", "paused"} and zones.parse(s["closes_at"]) > now),
        key=lambda s: zones.parse(s["opens_at"]),
    )
    pairs = []
    for index, one in enumerate(ahead):
        for other in ahead[index + 1 :]:
            if zones.parse(other["opens_at"]) >= zones.parse(one["closes_at"]):
                break
            pairs.append((str(one["title"]), str(other["title"])))
    return pairs


def picture(sales: list[dict[str, Any]], now: datetime, zone_name: str) -> str:
    """The timeline as markup; empty when no sale lies in the window. Stored text is escaped."""
    found = spans(sales, now)
    if not found:
        return ""
    whole_s = (BEFORE + AFTER).total_seconds()
    days = []
    local = (now - BEFORE).astimezone(zones.zone(zone_name))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    while midnight.astimezone(now.tzinfo) < now + AFTER:
        if midnight.weekday() == 0:
            left = 100 * (midnight - (now - BEFORE)).total_seconds() / whole_s
            days.append(f'<span style="left:{left:.2f}%">{midnight:%a} {midnight.day} {midnight:%b}</span>')
        midnight += timedelta(days=1)
    bars = "".join(
        f'<div class="sp-span sp-{span.sale["status"]}" style="left:{span.left:.2f}%;top:{28 + span.row * ROW_PX}px">'
        f'<i style="width:calc({span.width:.2f} * var(--sp-percent))"></i>'
        f"{html.escape(wording.plain(span.sale['title'], TITLE_CHARS))} "
        f"<small>{html.escape(wording.status(span.sale['status']).lower())}</small></div>"
        for span in found
    )
    height = 36 + ROW_PX * (1 + max(span.row for span in found))
    today = 100 * BEFORE.total_seconds() / whole_s
    return (
        f'<div class="sp-timeline" style="height:{height}px" role="img" aria-label="{len(found)} sales in four weeks">'
        f'{"".join(days)}<b style="left:{today:.2f}%">now</b>{bars}</div>'
    )
