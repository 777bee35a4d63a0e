"""The console's charts. Plain functions from figures read to Plotly figures; no Streamlit here.

A live chart keeps the same `uirevision`, so zooming in survives the next tick, and holds at most
`history.POINT_LIMIT` points a trace, as the whole figure is sent to the browser each second.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import plotly.graph_objects as go

from console import wording, zones
from console.history import POINT_LIMIT, Units
from console.palette import OUTCOME_COLOURS, UNIT_COLOURS, Mode, roles

MARKER_LIMIT = 8
"""Labels of more events than this would lie on one another; the list below the chart has all."""

QUIET_S = 5
"""How much of the quiet before the first attempt is shown."""
SPAN_MIN_S = 30
"""A chart spans at least this, or a first second would fill it."""
SCALE_MIN = 4
"""The least a scale reaches to: below, whole numbers would repeat as its labels."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def per_second(series: list[dict[str, Any]]) -> tuple[list[datetime], dict[str, list[int]]]:
    """The throughput by group on an unbroken axis of seconds.

    Seconds in which nobody tried may be missing from the series; drawn as they come, the areas
    would bridge them with a slope of attempts that were never made.
    """
    if not series:
        return [], {}
    by_second: dict[datetime, dict[str, int]] = {}
    for point in series:
        at = zones.parse(point["at"]).replace(microsecond=0)
        groups = by_second.setdefault(at, {})
        for outcome, number in point.items():
            if outcome != "at":
                group = wording.outcome_group(outcome)
                groups[group] = groups.get(group, 0) + int(number)
    last = max(by_second)
    first = max(min(by_second), last - timedelta(seconds=POINT_LIMIT - 1))
    axis = [first + timedelta(seconds=s) for s in range(int((last - first).total_seconds()) + 1)]
    return axis, {group: [by_second.get(at, {}).get(group, 0) for at in axis] for group in wording.OUTCOME_GROUPS}


def _worth_drawing(axis: list[datetime], groups: dict[str, list[int]]) -> tuple[list[datetime], dict[str, list[int]]]:
    """Without the empty minutes before the first attempt, beside which a young sale would be a spike."""
    first = next((i for i in range(len(axis)) if any(group[i] for group in groups.values())), len(axis))
    start = max(0, min(first - QUIET_S, len(axis) - SPAN_MIN_S))
    return axis[start:], {name: group[start:] for name, group in groups.items()}


def last_whole_second(series: list[dict[str, Any]], now: datetime) -> dict[str, int]:
    """Attempts by group in the newest second that is over; none if the series ends before it."""
    wanted = now.replace(microsecond=0) - timedelta(seconds=1)
    recent = [p for p in series[-5:] if zones.parse(p["at"]).replace(microsecond=0) == wanted]
    _, groups = per_second(recent)
    return {group: sum(groups.get(group, [])) for group in wording.OUTCOME_GROUPS}


class Shared(go.Figure):  # type: ignore[misc]  # Plotly has no types
    """A figure that is drawn once and sent to many: what Streamlit asks it for at each tick is made already.

    A plain figure copies and encodes its arrays again for every viewer, and checks each property first.
    """

    def __init__(self, drawn: dict[str, Any]) -> None:
        super().__init__()
        self._drawn: dict[str, Any] = go.Figure(drawn, _validate=False).to_dict()
        # Whatever template is the default comes along, as long as half of the figure; our frame says all it would.
        self._drawn["layout"].pop("template", None)

    def to_dict(self) -> dict[str, Any]:
        return self._drawn


ROOM_HEIGHT = 700
_GAP = 0.065
"""Between rows, of the figure's height: room for a title."""
_FIRST_ROW_PARTS = 3
"""The attempts are as high as this many of the other rows."""
_ROWS = {
    "y": "",
    "y2": "Admitted a second, and the throttle (dotted)",
    "y3": "Delay, ms: gate to order p95, gate p99 (dotted)",
    "y4": "Backlog: accepted, not yet in the ledger",
    "y5": "Units: sold, reserved, available",
}
"""The rows from top to bottom and their titles; the card's own title stands over the first."""
_LIVE_ONLY = frozenset({"y4"})
"""Nobody wrote the backlog down, so a replay has no row for it."""
_DELAY_FLOOR_MS = 1.0
"""The delay's scale is by powers of ten, which knows no zero."""
_DELAY_SCALE_MIN_MS = 100.0


def room(
    axis: list[datetime],
    groups: dict[str, list[int]],
    points: list[Units],
    events: list[tuple[str, str, bool]],
    zone_name: str,
    mode: Mode,
    *,
    revision: str,
    live: bool = True,
) -> Shared:
    """A sale on one time axis: attempts by outcome, admitted against the throttle, delays, backlog, units.

    `events` (time, label, is the opening) are marked through all rows. Rows without figures stay, empty: a chart that
    comes and goes would make everything below it jump.
    """
    shown = _clocks(axis, zone_name)
    kept = [p for p in points if not axis or p.at_ms >= axis[0].timestamp() * 1_000]
    at = _clocks([datetime.fromtimestamp(p.at_ms / 1_000, UTC) for p in kept], zone_name)
    colours = roles(mode)
    traces = [
        _area(shown, groups.get(group, []), label, OUTCOME_COLOURS[group], mode)
        for group, (label, _) in wording.OUTCOME_GROUPS.items()
        if group != "other" or any(groups.get(group, []))
    ]
    traces.append(_line(shown, groups.get("reserved", []), "Admitted", OUTCOME_COLOURS["reserved"], "y2"))
    traces.append(_line(at, [p.rate_per_s for p in kept], "Throttle", colours["ink"], "y2", dash="dot", shape="hv"))
    traces.append(_line(at, [_floored(p.delay_ms) for p in kept], "Gate to order, ms", colours["ink"], "y3"))
    answers = [_floored(p.gate_call_ms) for p in kept]
    traces.append(_line(at, answers, "Gate's answer, ms", colours["grey"], "y3", dash="dot"))
    if live:
        traces.append(_line(at, [p.backlog for p in kept], "Backlog", colours["ink"], "y4", shape="hv"))
    traces += [
        _area(at, [getattr(p, name) for p in kept], name.capitalize(), UNIT_COLOURS[mode][name], mode, "hv")
        | {"yaxis": "y5", "stackgroup": "units"}
        for name in ("sold", "reserved", "available")
    ]
    drifting = [p for p in kept if p.drift]
    if drifting:
        traces.append(_drift(drifting, zone_name, mode))
    rows = _domains([row for row in _ROWS if live or row not in _LIVE_ONLY])
    layout = _frame(mode, revision)
    spread = axis or [datetime.fromtimestamp(p.at_ms / 1_000, UTC) for p in kept]
    layout |= _markers(events, spread, zone_name, mode)
    layout["height"] = ROOM_HEIGHT if live else round(ROOM_HEIGHT * 0.86)
    layout["xaxis"] |= {"anchor": "y5", "showgrid": False}
    for row, domain in rows.items():
        layout[f"yaxis{row[1:]}"] = {**layout["yaxis"], "domain": domain, "nticks": 5 if row == "y" else 3}
    layout["yaxis3"] |= {"type": "log", "dtick": 1, "range": _decades(kept)}
    layout["annotations"] = [
        *layout["annotations"],
        *(_row_title(row, rows[row][1], mode) for row in rows if _ROWS[row]),
    ]
    return Shared({"data": traces, "layout": layout})


def _domains(rows: list[str]) -> dict[str, list[float]]:
    """Where on the figure each row is, from top to bottom: [lower, upper], of 0 to 1."""
    part = (1 - _GAP * (len(rows) - 1)) / (len(rows) - 1 + _FIRST_ROW_PARTS)
    found: dict[str, list[float]] = {}
    upper = 1.0
    for row in rows:
        lower = max(0.0, upper - part * (_FIRST_ROW_PARTS if row == "y" else 1))
        found[row] = [round(lower, 4), round(upper, 4)]
        upper = lower - _GAP
    return found


def _decades(points: list[Units]) -> list[float]:
    """The delay's scale as powers of ten: from the floor to what was seen, and to a tenth of a second at least."""
    seen = [ms for p in points for ms in (p.delay_ms, p.gate_call_ms) if ms is not None]
    return [math.log10(0.7 * _DELAY_FLOOR_MS), math.log10(1.3 * max(_DELAY_SCALE_MIN_MS, *seen, 0.0))]


def _floored(value_ms: float | None) -> float | None:
    return None if value_ms is None else max(_DELAY_FLOOR_MS, value_ms)


def _drift(points: list[Units], zone_name: str, mode: Mode) -> dict[str, Any]:
    """Crosses over the units at each moment at which the two stores disagreed."""
    return {
        "type": "scatter",
        "x": _clocks([datetime.fromtimestamp(p.at_ms / 1_000, UTC) for p in points], zone_name),
        "y": np.array([p.allotment for p in points]),
        "customdata": [p.drift for p in points],
        "name": "Drift",
        "mode": "markers",
        "yaxis": "y5",
        "marker": {"color": roles(mode)["accent"], "size": 8, "symbol": "x"},
        "hovertemplate": "drift %{customdata:+d}",
    }


def _row_title(row: str, y: float, mode: Mode) -> dict[str, Any]:
    return {
        "x": 0, "xref": "paper", "xanchor": "left", "y": y, "yref": "paper", "yanchor": "bottom",
        "text": _ROWS[row], "showarrow": False, "font": {"size": 11, "color": roles(mode)["grey"]},
        "bgcolor": roles(mode)["card"],  # the lines of events would run through the words
    }  # fmt: skip


def _line(
    x: Any, y: list[Any], name: str, colour: str, row: str, *, dash: str = "solid", shape: str = "linear"
) -> dict[str, Any]:
    """A line in one of the lower rows; None is a gap."""
    return {
        "type": "scatter",
        "x": x,
        "y": np.array([np.nan if value is None else value for value in y], dtype=np.float64),
        "name": name,
        "mode": "lines",
        "yaxis": row,
        "line": {"width": 1.5, "color": colour, "dash": dash, "shape": shape},
        "hovertemplate": "%{y:,.10g}",
    }


def live_axis(series: list[dict[str, Any]], now: datetime) -> tuple[list[datetime], dict[str, list[int]]]:
    """The throughput that a live figure shows: whole seconds, from shortly before the first attempt on."""
    return _worth_drawing(*per_second([p for p in series if zones.parse(p["at"]) < now.replace(microsecond=0)]))


def replayed(points: list[dict[str, Any]], step_s: int) -> tuple[list[datetime], dict[str, list[int]]]:
    """A replay's points as what `room` draws; outcomes are counted a step, so they are told a second."""
    axis = [zones.parse(p["at"]) for p in points]
    groups: dict[str, list[int]] = {group: [0] * len(points) for group in wording.OUTCOME_GROUPS}
    for index, point in enumerate(points):
        for outcome, number in point["outcomes"].items():
            groups[wording.outcome_group(outcome)][index] += round(int(number) / step_s)
    return axis, groups


def _clocks(moments: list[datetime], zone_name: str) -> Any:
    """Times on the zone's clocks, as Plotly takes them without a zone.

    An array and not a list: Plotly checks the elements of a list one by one, and 300 points in six
    traces cost 38 ms instead of 6, every second.
    """
    zone = zones.zone(zone_name)
    return np.array([at.astimezone(zone).replace(tzinfo=None) for at in moments], dtype="datetime64[ms]")


def _area(x: Any, y: list[int], name: str, colour: str, mode: Mode, shape: str = "linear") -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": x,
        "y": np.array(y, dtype=np.int64),
        "name": name,
        "stackgroup": "all",
        "mode": "lines",
        "line": {"width": 0.6, "color": roles(mode)["outline"], "shape": shape},
        "fillcolor": colour,
        "hovertemplate": "%{y:,}",
    }


def _markers(events: list[tuple[str, str, bool]], axis: list[datetime], zone_name: str, mode: Mode) -> dict[str, Any]:
    """Dotted lines with labels at the newest events that lie within the chart."""
    colours = roles(mode)
    inside = sorted(
        (at, label, opening)
        for stamp, label, opening in events
        if axis and axis[0] <= (at := zones.parse(stamp)) <= axis[-1]
    )[-MARKER_LIMIT:]
    shapes, annotations = [], []
    for row, (at, label, opening) in enumerate(inside):
        colour = colours["accent"] if opening else colours["grey"]
        x = at.astimezone(zones.zone(zone_name)).strftime("%Y-%m-%dT%H:%M:%S.%f")
        # Beyond three quarters there may be no room to the right of the line.
        left = (at - axis[0]) < 0.75 * (axis[-1] - axis[0])
        line = {"width": 1, "dash": "dot", "color": colour}
        shapes.append({"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line})
        annotations.append(
            {
                "x": x,
                "y": 1 - 0.09 * (row % 3),  # three rows, so that neighbours do not cover each other
                "yref": "paper",
                "text": _text(label),
                "showarrow": False,
                "xanchor": "left" if left else "right",
                "xshift": 4 if left else -4,
                "font": {"size": 11, "color": colour},
                "bgcolor": colours["card"],
            }
        )
    return {"shapes": shapes, "annotations": annotations}


def _text(label: str) -> str:
    """Stored text inside a chart: Plotly reads a few HTML tags, links among them."""
    text = wording.plain(label, 40)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _frame(mode: Mode, revision: str) -> dict[str, Any]:
    """The layout all charts share."""
    colours = roles(mode)
    axis = {"color": colours["grey"], "zeroline": False, "tickfont": {"size": 11}, "automargin": True}
    return {
        "uirevision": revision,
        "height": 230,
        "margin": {"l": 8, "r": 8, "t": 12, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 12, "color": colours["grey"]},
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": colours["card"], "bordercolor": colours["line"], "font": {"color": colours["ink"]},
        },
        "showlegend": False,  # the card has it beside its title, where it wraps on a phone
        "xaxis": {**axis, "type": "date", "showgrid": False, "tickformat": "%H:%M:%S", "nticks": 6, "tickangle": 0},
        "yaxis": {**axis, "gridcolor": colours["line"], "rangemode": "tozero", "tickformat": ",d", "nticks": 5,
                  "autorangeoptions": {"include": SCALE_MIN},
                  "ticksuffix": " "},
    }  # fmt: skip
