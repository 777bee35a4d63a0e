"""The live view of one sale: one fragment that draws itself anew every second."""

from typing import Any

import streamlit as st

from console import figures, happenings, money, poller, strips, wording, zones
from console.history import Units
from console.palette import Mode
from console.poller import Reading
from console.views import alarms, parts

TICK_S = 1.0
EVENT_ROWS = 12

CHART = {"displayModeBar": False, "responsive": True}
CHART_WORDS = "Attempts by outcome, admitted, delays, backlog and units, on one time axis"
_FOLLOWED = ("status", "fault", "throttle")
"""What the steering beside the view is drawn from: when another hand changes it, the whole page follows."""


@st.fragment(run_every=TICK_S)
def live(sale: dict[str, Any], sale_read_at_s: float) -> None:
    """Countdown, health, key figures, the oversell audit, charts, items and events: one fragment, so that a tick
    is one run of the script for a viewer and not several.

    `sale` is the page's own copy, read at `sale_read_at_s` (monotonic).
    """
    with parts.guarded(fragment=True):
        reading, history = poller.watch(sale["id"])
        if reading.live is None:
            st.warning(f"{reading.failure} The view comes back by itself.", title="No live figures now")
            return
        changed = any(reading.live.get(name) != sale.get(name) for name in _FOLLOWED)
        if changed and reading.read_at_s > sale_read_at_s:
            # The sale changed state by itself or by another hand: badge and steering must follow, and
            # a resume must name the generation of the fault it clears.
            # A reading from before the page's own copy proves nothing, and would loop.
            st.rerun(scope="app")
        _draw(sale, reading, reading.live, history)


def _draw(sale: dict[str, Any], reading: Reading, now: dict[str, Any], history: list[Units]) -> None:
    zone, mode = sale["time_zone"], parts.mode()
    st.html(strips.facts_html(reading, now))
    alarms.show(sale, now)
    if sale.get("durability") == "acknowledged" and now["status"] in {"scheduled", "live", "paused"}:
        st.caption(ACKNOWLEDGED)
    st.html(strips.figures_html(reading, now, mode))
    with st.container(key="card-audit", border=True):
        _audit(now, zone)
    with st.container(key="card-throughput", border=True):
        figure, legend = _drawn(sale["id"], reading.read_at_s, zone, mode, reading, history)
        st.html(legend)
        st.plotly_chart(figure, theme=None, key="live-room", config=CHART, alt=CHART_WORDS)
    if len(now["items"]) > 1:
        with st.container(key="card-live-items", border=True):
            st.html(strips.items_html(now["items"]))
    with st.container(key="card-events", border=True):
        st.markdown("**Actions and events**")
        events(now["events"], zone)


ACKNOWLEDGED = (
    "Acknowledged: a buyer's answer waits until a second copy of it is safe, a replica's or the disk's. On one server "
    "that is about a second for each buyer; attempts a second stay as they are."
)


@st.cache_resource(ttl=10, max_entries=64, show_spinner=False)
def _drawn(  # the first two are the cache's key
    sale_id: str,
    read_at_s: float,
    zone: str,
    mode: Mode,
    _reading: Reading,
    _history: list[Units],
) -> tuple[Any, str]:
    """The figure of one reading and its legend, drawn once for all who watch it in the same theme.

    Only reached by viewers whom `poller.watch` has just given that very reading.
    """
    assert _reading.live is not None
    axis, groups = figures.live_axis(_reading.series, zones.parse(_reading.live["now"]))
    marks = markers(_reading.live["events"], _reading.live["opens_at"])
    legend = strips.legend_html("Attempts a second", groups)
    return figures.room(axis, groups, _history, marks, zone, mode, revision="live"), legend


def _audit(now: dict[str, Any], zone: str) -> None:
    """The equation, read aloud: allotment = available + reserved + sold; both stores beside it."""
    units = poller.units_of(now)
    audit = now.get("audit") or {}
    head = "**Oversell audit**"
    if audit.get("checked_at"):
        age_s = (zones.parse(now["now"]) - zones.parse(audit["checked_at"])).total_seconds()
        head += f" :gray[· last run {wording.ago(age_s)}: {wording.literal(audit.get('verdict', '–'))}]"
    st.markdown(head)
    gates = [i["gate"]["available"] for i in now["items"] if i.get("gate")]
    gate = sum(gates) if gates else None
    st.html(strips.equation_html(units, gate, now["pending_releases"]))
    oversold, stranded = int(audit.get("oversold", 0)), int(audit.get("stranded", 0))
    if units.drift or oversold or stranded:
        since = f" since {zones.short(audit.get('checked_at'), zone)}" if audit.get("checked_at") else ""
        st.error(
            f"{strips.drift_words(units)}, oversold {oversold}, stranded {stranded}{since}. Drift pauses the sale: "
            "run a reconciliation for the findings.",
            title="The two stores disagree",
        )


def markers(lines: list[dict[str, Any]], opens_at: str) -> list[tuple[str, str, bool]]:
    """Events for the charts: (time, label, is the opening), the opening at its stored second."""
    marks = [(e["at"], happenings.label(e), False) for e in lines if happenings.on_charts(e)]
    return [*marks, (opens_at, "opens", True)]


def events(lines: list[dict[str, Any]], zone: str) -> None:
    """The newest actions and events, one line each, as one element."""
    newest = sorted(lines, key=lambda e: e["at"], reverse=True)[:EVENT_ROWS]
    if not newest:
        st.caption("Nothing yet. Openings, actions of operators and alarms appear here as they happen.")
        return
    said = []
    for event in newest:
        at = f"{zones.local(event['at'], zone):%H:%M:%S}"
        words = f"**{wording.literal(wording.kind(event['kind']))}**"
        if event["outcome"] == "alarm":
            words = f":red[{words}]"
        said.append(f":gray[{at}] {words} :gray[{wording.literal(happenings.detail(event), 300)}]")
    st.markdown("  \n".join(said))


def item_rows(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items as table rows, with what each answer happens to carry."""
    rows = []
    for item in items:
        row: dict[str, Any] = {"SKU": wording.plain(item["sku"])}
        if "name" in item:
            row["Name"] = wording.plain(item["name"])
        if "price" in item:
            row["Price"] = money.label(item["price"])
        for name in ("allotment", "available", "reserved", "sold"):
            row[name.capitalize()] = item.get(name)
        if "gate" in item:
            row["Gate"] = item["gate"].get("available")
        if "per_shopper_limit" in item:
            row["Per shopper"] = item["per_shopper_limit"]
        rows.append(row)
    return rows
