"""The control room's strips as markup: facts, key figures, the equation, the items. Plain functions, no Streamlit.

A strip is one element: the same of Streamlit's own are a dozen, each sent to every viewer at every tick. Whole numbers
and words of ours go into the markup as they are; stored text is escaped.
"""

import html
from typing import Any

from console import admission, figures, health, poller, wording, zones
from console.history import Units
from console.palette import OUTCOME_COLOURS, UNIT_COLOURS, Mode
from console.poller import Reading

STALE_S = 2.0
"""Older than this and the view says so in bold."""
_SOON_S = 60
"""The countdown of the last minute stands out."""


def facts_html(reading: Reading, now: dict[str, Any]) -> str:
    """Countdown, the health of each dependency, and how old the view is.

    No live region: a screen reader would read the age aloud every second.
    """
    age_s = reading.age_s()
    age = f"view {age_s:.1f} s old"
    aged = f"<b>{age}</b>" if age_s > STALE_S else f"<span>{age}</span>"
    return f'<div class="sp-facts"><span>{_countdown(now)}</span>{health_html(now.get("dependencies", {}))}{aged}</div>'


def health_html(dependencies: dict[str, Any]) -> str:
    """A dot and a name for each dependency; the word says what is wrong, the colour repeats it."""
    return "".join(
        f'<span class="sp-dot {one.level}">{html.escape(one.name)}{f" {one.state}" if one.state else ""}</span>'
        for one in health.all_of(dependencies)
    )


def _countdown(now: dict[str, Any]) -> str:
    here = zones.parse(now["now"])
    status = now["status"]
    for word, name in (("opens in", "opens_at"), ("closes in", "closes_at")):
        if status in {"draft", "scheduled"} and name == "closes_at":
            continue
        stamp = now.get(name)
        left_s = (zones.parse(stamp) - here).total_seconds() if stamp else 0
        if left_s > 0 and status in {"draft", "scheduled", "live", "paused"}:
            soon = ' class="sp-soon"' if left_s <= _SOON_S else ""
            return f"{word} <b{soon}>{wording.duration(left_s)}</b>"
    return html.escape(wording.status(status))


def figures_html(reading: Reading, now: dict[str, Any], mode: Mode) -> str:
    """The row of key figures."""
    units = poller.units_of(now)
    second = figures.last_whole_second(reading.series, zones.parse(now["now"]))
    taken = units.sold + units.reserved
    throttle = now["throttle"]
    peak = max((sum(n for name, n in point.items() if name != "at") for point in reading.series), default=0)
    crowd = admission.waiting(reading.series, repeat_window_s=throttle["repeat_window_ms"] / 1_000)
    backlog = wording.count(now["backlog"]) if now.get("backlog") is not None else "–"
    oldest = f", oldest {wording.lag(now['order_lag_ms'])}" if now.get("order_lag_ms") else ""
    cards = [
        _figure(
            "Sell-through",
            f"{wording.count(taken)} of {wording.count(units.allotment)}",
            f"{units.sold:,} sold · {units.reserved:,} reserved",
            _bar(units, mode),
        ),
        _figure("Attempts / s", wording.count(sum(second.values())), f"peak {wording.count(peak)} in view"),
        _figure(
            "Admitted / rate",
            f"{wording.count(second['reserved'])} / {wording.figure(throttle['rate_per_s'])}",
            admission.outlook(throttle["rate_per_s"], crowd, units.available),
        ),
        _figure("Gate to order", wording.lag(now.get("order_delay_p95_ms")), f"p95, backlog {backlog}{oldest}"),
        _figure(
            "Gate's answer",
            wording.lag(now.get("gate_call_p99_ms")),
            f"p99, unanswered {wording.count(now.get('gate_unanswered', 0))}",
        ),
    ]
    return f'<div class="sp-figures">{"".join(cards)}</div>'


def _figure(label: str, value: str, note: str, extra: str = "") -> str:
    return f"<div><span>{label}</span><strong>{value}</strong>{extra}<small>{note}</small></div>"


def _bar(units: Units, mode: Mode) -> str:
    return bar_html(units.allotment, units.sold, units.reserved, mode)


def bar_html(allotment: int, sold: int, reserved: int, mode: Mode) -> str:
    """Sold and reserved as parts of the allotment."""
    whole = max(1, allotment)
    colours = UNIT_COLOURS[mode]
    label = f"{sold} sold, {reserved} reserved, {allotment - sold - reserved} available"
    return (
        f'<div class="sp-bar" role="img" aria-label="{label}">'
        f'<i style="width:{100 * sold / whole:.2f}%;background:{colours["sold"]}"></i>'
        f'<i style="width:{100 * reserved / whole:.2f}%;background:{colours["reserved"]}"></i></div>'
    )


def legend_html(title: str, groups: dict[str, list[int]]) -> str:
    """The chart's title and what its colours mean, in the order in which they are stacked."""
    keys = "".join(
        f'<span class="sp-key"><i style="background:{OUTCOME_COLOURS[group]}"></i>{label}</span>'
        for group, (label, _) in wording.OUTCOME_GROUPS.items()
        if group != "other" or any(groups.get(group, []))
    )
    return f'<div class="sp-legend"><b>{html.escape(title)}</b><div>{keys}</div></div>'


def items_html(items: list[dict[str, Any]]) -> str:
    """The items of a live sale as a table. A data frame would be encoded and sent anew at each tick."""
    rows = "".join(
        f"<tr><td>{html.escape(wording.plain(item['sku']))}</td>"
        + "".join(f"<td>{item[name]:,}</td>" for name in ("allotment", "available", "reserved", "sold"))
        + f"<td>{wording.count(item['gate']['available']) if item.get('gate') else '–'}</td></tr>"
        for item in items
    )
    heads = "".join(f"<th>{name}</th>" for name in ("Item", "Allotment", "Available", "Reserved", "Sold", "Gate"))
    return f'<table class="sp-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def drift_words(units: Units) -> str:
    """The verdict on the two stores: "Drift 0", "Drift -3", or that nothing was compared."""
    if units.drift is None:
        return "Not compared"
    return f"Drift {units.drift:+d}" if units.drift else "Drift 0"


def equation_html(units: Units, gate: int | None, pending: int, *, past: bool = False) -> str:
    """The equation, read aloud: allotment = available + reserved + sold, with the gate's figure beside it.

    Of the past only the ledger's side is known, and whether it adds up.
    """
    rest = units.allotment - units.available - units.reserved - units.sold
    good = rest == 0 and units.drift == 0
    unknown = rest == 0 and units.drift is None
    gate_word = "–" if gate is None else f"{gate:,}"
    verdict = drift_words(units) if rest == 0 else f"{rest:+,d} unexplained"
    beside = f"Gate {gate_word} · ledger {units.available:,} · pending {pending:,}"
    if past:
        beside, verdict = "By the ledger", "Adds up" if rest == 0 else verdict
    boxes = [
        f"<div><span>{label}</span><strong>{value:,}</strong></div>"
        for label, value in (
            ("Allotment", units.allotment),
            ("Available", units.available),
            ("Reserved", units.reserved),
            ("Sold", units.sold),
        )
    ]
    level = "sp-good" if good else "sp-unknown" if unknown else "sp-bad"
    return (
        f'<div class="sp-equation">{boxes[0]}<b>=</b>{boxes[1]}<b>+</b>{boxes[2]}<b>+</b>{boxes[3]}'
        f'<div class="sp-verdict {level}"><span>{beside}</span><strong>{verdict}</strong></div></div>'
    )
