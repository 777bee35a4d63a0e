"""The console's charts. Plain functions from figures read to Plotly figures; no Streamlit here.

A live chart keeps the same `uirevision`, so zooming in survives the next tick, and holds at most
`history.POINT_LIMIT` points a trace, as the whole figure is sent to the browser each second.
"""

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


def throughput(
    series: list[dict[str, Any]],
    events: list[tuple[str, str, bool]],
    zone_name: str,
    mode: Mode,
    *,
    now: datetime,
) -> go.Figure:
    """Attempts a second by outcome, stacked, with `events` (time, label, is the opening) marked.

    The second of `now` is still being counted: drawn, it would end every chart in a fall that is none.
    """
    axis, groups = _worth_drawing(*per_second([p for p in series if zones.parse(p["at"]) < now.replace(microsecond=0)]))
    shown = _clocks(axis, zone_name)
    traces = [
        _area(shown, groups.get(group, []), label, OUTCOME_COLOURS[group], mode)
        for group, (label, _) in wording.OUTCOME_GROUPS.items()
        if group != "other" or any(groups.get(group, []))
    ]
    layout = _frame(mode, "throughput")
    layout |= _markers(events, axis, zone_name, mode)
    return go.Figure({"data": traces, "layout": layout})


def units_over_time(points: list[Units], zone_name: str, mode: Mode) -> go.Figure:
    """The equation over time: sold, reserved and available stacked up to the line of the allotment."""
    colours = roles(mode)
    shown = _clocks([datetime.fromtimestamp(p.at_ms / 1_000, UTC) for p in points], zone_name)
    traces = [
        _area(shown, [getattr(p, name) for p in points], name.capitalize(), UNIT_COLOURS[mode][name], mode, "hv")
        for name in ("sold", "reserved", "available")
    ]
    traces.append(
        {
            "type": "scatter",
            "x": shown,
            "y": np.array([p.allotment for p in points]),
            "name": "Allotment",
            "mode": "lines",
            "line": {"width": 1.5, "color": colours["ink"], "dash": "dot", "shape": "hv"},
            "hovertemplate": "%{y:,}",
        }
    )
    drifting = [(at, p) for at, p in zip(shown, points, strict=True) if p.drift]
    if drifting:
        traces.append(
            {
                "type": "scatter",
                "x": [at for at, _ in drifting],
                "y": [p.allotment for _, p in drifting],
                "customdata": [p.drift for _, p in drifting],
                "name": "Drift",
                "mode": "markers",
                "marker": {"color": colours["accent"], "size": 8, "symbol": "x"},
                "hovertemplate": "drift %{customdata:+d}",
            }
        )
    return go.Figure({"data": traces, "layout": _frame(mode, "units")})


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
        "margin": {"l": 8, "r": 8, "t": 32, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 12, "color": colours["grey"]},
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": colours["card"], "bordercolor": colours["line"], "font": {"color": colours["ink"]},
        },
        "legend": {
            "orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom",
            "font": {"size": 11}, "traceorder": "normal", "itemclick": False, "itemdoubleclick": False,
        },
        "xaxis": {**axis, "type": "date", "showgrid": False, "tickformat": "%H:%M:%S", "nticks": 6, "tickangle": 0},
        "yaxis": {**axis, "gridcolor": colours["line"], "rangemode": "tozero", "tickformat": ",d", "nticks": 5,
                  "autorangeoptions": {"include": SCALE_MIN},
                  "ticksuffix": " "},
    }  # fmt: skip
