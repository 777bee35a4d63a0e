"""The live view of one sale: one fragment that draws itself anew every second."""

import html
from typing import Any

import streamlit as st

from console import figures, happenings, money, poller, wording, zones
from console.history import Units
from console.palette import UNIT_COLOURS, Mode
from console.poller import Reading
from console.views import parts

TICK_S = 1.0
STALE_S = 2.0
"""Older than this and the view says so in a colour."""
EVENT_ROWS = 12

CHART = {"displayModeBar": False, "responsive": True}
CHART_WORDS = "Attempts by outcome, admitted, delay and units, on one time axis"
_DEPENDENCY_GOOD = frozenset({"ok", "up", "healthy", "closed", "good", "ready", "true"})
_DEPENDENCY_BAD = frozenset({"down", "open", "failed", "unreachable", "error", "false"})


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
        changed = any(reading.live.get(name) != sale.get(name) for name in ("status", "fault"))
        if changed and reading.read_at_s > sale_read_at_s:
            # The sale changed state by itself or by another hand: badge and steering must follow, and
            # a resume must name the generation of the fault it clears.
            # A reading from before the page's own copy proves nothing, and would loop.
            st.rerun(scope="app")
        _draw(sale, reading, reading.live, history)


def _draw(sale: dict[str, Any], reading: Reading, now: dict[str, Any], history: list[Units]) -> None:
    zone = sale["time_zone"]
    _fault(now)
    _facts(reading, now)
    st.html(figures_html(reading, now, parts.mode()))
    with st.container(key="card-audit", border=True):
        _audit(now, zone)
    with st.container(key="card-throughput", border=True):
        st.markdown("**Attempts a second**")
        figure = _drawn(sale["id"], reading.read_at_s, zone, parts.mode(), reading, history)
        st.plotly_chart(figure, theme=None, key="live-room", config=CHART, alt=CHART_WORDS)
    if len(now["items"]) > 1:
        with st.container(key="card-live-items", border=True):
            st.html(items_html(now["items"]))
    with st.container(key="card-events", border=True):
        st.markdown("**Actions and events**")
        events(now["events"], zone)


@st.cache_resource(ttl=10, max_entries=64, show_spinner=False)
def _drawn(  # the first two are the cache's key
    sale_id: str,
    read_at_s: float,
    zone: str,
    mode: Mode,
    _reading: Reading,
    _history: list[Units],
) -> Any:
    """The figure of one reading, drawn once for all who watch it in the same theme.

    Only reached by viewers whom `poller.watch` has just given that very reading.
    """
    assert _reading.live is not None
    axis, groups = figures.live_axis(_reading.series, zones.parse(_reading.live["now"]))
    marks = markers(_reading.live["events"], _reading.live["opens_at"])
    return figures.room(axis, groups, _history, marks, zone, mode, revision="live")


def _fault(now: dict[str, Any]) -> None:
    if now.get("fault"):
        st.error(
            f"{wording.fault(now['fault'])} Nobody is admitted. Look at the reconciliation, then resume with a reason.",
            title="Stopped by the platform",
        )


def _facts(reading: Reading, now: dict[str, Any]) -> None:
    """Countdown, dependencies, and how old the view is. Stored text is escaped into the markup."""
    age_s = reading.age_s()
    facts = [f"<span>{_countdown(now)}</span>"]
    for name, state in now.get("dependencies", {}).items():
        level, word = dependency(state)
        shown = html.escape(wording.plain(wording.kind(name), 40) + (f" {word}" if word else ""))
        facts.append(f'<span class="sp-dot {level}">{shown}</span>')
    age = f"view {age_s:.1f} s old"
    facts.append(f"<b>{age}</b>" if age_s > STALE_S else f"<span>{age}</span>")
    st.html(f'<div class="sp-facts" role="status">{"".join(facts)}</div>')


def _countdown(now: dict[str, Any]) -> str:
    here = zones.parse(now["now"])
    status = now["status"]
    for word, name in (("opens in", "opens_at"), ("closes in", "closes_at")):
        if status in {"draft", "scheduled"} and name == "closes_at":
            continue
        stamp = now.get(name)
        left_s = (zones.parse(stamp) - here).total_seconds() if stamp else 0
        if left_s > 0 and status in {"draft", "scheduled", "live", "paused"}:
            return f"{word} <b>{wording.duration(left_s)}</b>"
    return html.escape(wording.status(status))


def dependency(state: Any) -> tuple[str, str]:
    """A dependency's state as a level (`good warn bad`) and a word, empty when all is well."""
    if isinstance(state, dict):
        state = next((state[k] for k in ("state", "status", "ok") if k in state), "unknown")
    word = str(state).lower()
    if word in _DEPENDENCY_GOOD:
        return "good", ""
    level = "bad" if word in _DEPENDENCY_BAD else "warn"
    return level, {"false": "down", "open": "not answering"}.get(word, wording.plain(word, 40))


def figures_html(reading: Reading, now: dict[str, Any], mode: Mode) -> str:
    """The row of key figures. One element: five cards of Streamlit's own are fifteen, each sent at every tick.
    Numbers and words of ours alone go into the markup."""
    units = poller.units_of(now)
    second = figures.last_whole_second(reading.series, zones.parse(now["now"]))
    taken = units.sold + units.reserved
    throttle = now["throttle"]
    peak = max((sum(n for name, n in point.items() if name != "at") for point in reading.series), default=0)
    backlog = wording.count(now["backlog"]) if "backlog" in now else "–"
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
            f"repeat {wording.lag(throttle['repeat_window_ms'])}",
        ),
        _figure(
            "Gate to order",
            wording.lag(now.get("order_delay_p95_ms")),
            f"p95, oldest {wording.lag(now.get('order_lag_ms'))}",
        ),
        _figure("Backlog", backlog, f"{wording.count(now['pending_releases'])} releases"),
    ]
    return f'<div class="sp-figures">{"".join(cards)}</div>'


def _figure(label: str, value: str, note: str, extra: str = "") -> str:
    return f"<div><span>{label}</span><strong>{value}</strong>{extra}<small>{note}</small></div>"


def _bar(units: Units, mode: Mode) -> str:
    """Sold and reserved as a bar; numbers of ours alone go into the markup."""
    whole = max(1, units.allotment)
    sold, reserved = 100 * units.sold / whole, 100 * units.reserved / whole
    colours = UNIT_COLOURS[mode]
    label = f"{units.sold} sold, {units.reserved} reserved, {units.available} available"
    return (
        f'<div class="sp-bar" role="img" aria-label="{label}"><i style="width:{sold:.2f}%;background:'
        f'{colours["sold"]}"></i><i style="width:{reserved:.2f}%;background:{colours["reserved"]}"></i></div>'
    )


def items_html(items: list[dict[str, Any]]) -> str:
    """The items of a live sale as a table. Stored text is escaped into it; a data frame would be encoded and sent
    anew at each tick."""
    rows = "".join(
        f"<tr><td>{html.escape(wording.plain(item['sku']))}</td>"
        + "".join(f"<td>{item[name]:,}</td>" for name in ("allotment", "available", "reserved", "sold"))
        + f"<td>{wording.count(item['gate']['available']) if item.get('gate') else '–'}</td></tr>"
        for item in items
    )
    heads = "".join(f"<th>{name}</th>" for name in ("Item", "Allotment", "Available", "Reserved", "Sold", "Gate"))
    return f'<table class="sp-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


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
    st.html(equation_html(units, gate, now["pending_releases"]))
    oversold, stranded = int(audit.get("oversold", 0)), int(audit.get("stranded", 0))
    if units.drift or oversold or stranded:
        since = f" since {zones.short(audit.get('checked_at'), zone)}" if audit.get("checked_at") else ""
        st.error(
            f"{_drift(units)}, oversold {oversold}, stranded {stranded}{since}. Drift pauses the sale: "
            "run a reconciliation for the findings.",
            title="The two stores disagree",
        )


def _drift(units: Units) -> str:
    if units.drift is None:
        return "Not compared"
    return f"Drift {units.drift:+d}" if units.drift else "Drift 0"


def equation_html(units: Units, gate: int | None, pending: int, *, past: bool = False) -> str:
    """The strip as markup. Everything in it is a whole number or a word of ours. Of the past only the ledger's side
    is known, and whether it adds up."""
    rest = units.allotment - units.available - units.reserved - units.sold
    good = rest == 0 and units.drift == 0
    gate_word = "–" if gate is None else f"{gate:,}"
    verdict = _drift(units) if rest == 0 else f"{rest:+,d} unexplained"
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
    return (
        f'<div class="sp-equation">{boxes[0]}<b>=</b>{boxes[1]}<b>+</b>{boxes[2]}<b>+</b>{boxes[3]}'
        f'<div class="sp-verdict {"sp-good" if good else "sp-bad"}"><span>{beside}</span>'
        f"<strong>{verdict}</strong></div></div>"
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
