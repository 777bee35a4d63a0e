"""The live view of one sale: a fragment that draws itself anew every second."""

import html
from datetime import datetime
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

_CHART = {"displayModeBar": False, "responsive": True}
_DEPENDENCY_GOOD = frozenset({"ok", "up", "healthy", "closed", "good", "ready", "true"})
_DEPENDENCY_BAD = frozenset({"down", "open", "failed", "unreachable", "error", "false"})


@st.fragment(run_every=TICK_S)
def head(sale: dict[str, Any], sale_read_at_s: float) -> None:
    """Countdown, health and key figures, across the page.

    `sale` is the page's own copy, read at `sale_read_at_s` (monotonic).
    """
    with parts.guarded(fragment=True):
        reading, _ = poller.watch(sale["id"])
        if reading.live is None:
            st.warning(f"{reading.failure} The view comes back by itself.", title="No live figures now")
            return
        changed = any(reading.live.get(name) != sale.get(name) for name in ("status", "fault"))
        if changed and reading.read_at_s > sale_read_at_s:
            # The sale changed state by itself or by another hand: badge and steering must follow, and
            # a resume must name the generation of the fault it clears.
            # A reading from before the page's own copy proves nothing, and would loop.
            st.rerun(scope="app")
        _fault(reading.live)
        _facts(reading, reading.live)
        _figures(reading, reading.live)


@st.fragment(run_every=TICK_S)
def charts(sale: dict[str, Any]) -> None:
    """Throughput, the oversell audit, items and events. Shares the head's reading."""
    with parts.guarded(fragment=True):
        reading, history = poller.watch(sale["id"])
        if reading.live is not None:
            _charts(sale, reading, reading.live, history)


def _charts(sale: dict[str, Any], reading: Reading, now: dict[str, Any], history: list[Units]) -> None:
    zone = sale["time_zone"]
    throughput, units = _drawn(sale["id"], reading.read_at_s, zone, parts.mode(), reading, history)
    with st.container(key="card-throughput", border=True):
        st.markdown("**Attempts a second**")
        st.plotly_chart(
            throughput, theme=None, key="live-throughput", config=_CHART, alt="Attempts a second by outcome"
        )
    with st.container(key="card-audit", border=True):
        _audit(now, zone)
        st.plotly_chart(units, theme=None, key="live-units", config=_CHART, alt="Units over time by state")
    if len(now["items"]) > 1:
        with st.container(key="card-live-items", border=True):
            st.markdown("**Items**")
            st.dataframe(item_rows(now["items"]), hide_index=True, width="stretch", alt="Items")
    with st.container(key="card-events", border=True):
        st.markdown("**Actions and events**")
        _events(now, zone)


@st.cache_resource(ttl=10, max_entries=64, show_spinner=False)
def _drawn(  # the first two are the cache's key
    sale_id: str,
    read_at_s: float,
    zone: str,
    mode: Mode,
    _reading: Reading,
    _history: list[Units],
) -> tuple[Any, Any]:
    """Both charts of one reading, drawn once for all who watch it in the same theme.

    Only reached by viewers whom `poller.watch` has just given that very reading.
    """
    assert _reading.live is not None
    marks = _markers(_reading.live)
    return (
        figures.throughput(_reading.series, marks, zone, mode, now=zones.parse(_reading.live["now"])),
        figures.units_over_time(_history, zone, mode),
    )


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


def _figures(reading: Reading, now: dict[str, Any]) -> None:
    units = poller.units_of(now)
    here: datetime = zones.parse(now["now"])
    second = figures.last_whole_second(reading.series, here)
    taken = units.sold + units.reserved
    throttle = now["throttle"]
    rate = throttle["rate_per_s"]
    total = sum(second.values())
    cards = st.container(horizontal=True, key="live-figures")
    with cards.container(key="card-figure-through", border=True, width=246, height="stretch", gap="xxsmall"):
        st.metric("Sell-through", f"{wording.count(taken)} of {wording.count(units.allotment)}")
        st.html(_bar(units, parts.mode()))
    peak = max((sum(n for name, n in point.items() if name != "at") for point in reading.series), default=0)
    for key, label, value, note in (
        ("attempts", "Attempts a second", wording.count(total), f"peak {wording.count(peak)} in view"),
        ("admitted", "Admitted / throttle", f"{wording.count(second['reserved'])} / {wording.figure(rate)}",
         f"repeat window {wording.lag(throttle['repeat_window_ms'])}"),
        ("lag", "Order lag", wording.lag(now.get("order_lag_ms")), "gate to order"),
        ("backlog", "Backlog", wording.count(now["backlog"]) if "backlog" in now else "–",
         f"{wording.count(now['pending_releases'])} releases pending"),
    ):  # fmt: skip
        with cards.container(key=f"card-figure-{key}", border=True, width=158, height="stretch", gap="xxsmall"):
            st.metric(label, value)
            st.caption(note)


def _bar(units: Units, mode: Mode) -> str:
    """Sold and reserved as a bar; numbers of ours alone go into the markup."""
    whole = max(1, units.allotment)
    sold, reserved = 100 * units.sold / whole, 100 * units.reserved / whole
    colours = UNIT_COLOURS[mode]
    label = f"{units.sold} sold, {units.reserved} reserved, {units.available} available"
    return (
        f'<div class="sp-bar" role="img" aria-label="{label}"><i style="width:{sold:.2f}%;background:'
        f'{colours["sold"]}"></i><i style="width:{reserved:.2f}%;background:{colours["reserved"]}"></i>'
        f'</div><div class="sp-facts"><span>{units.sold} sold · {units.reserved} reserved · '
        f"{wording.share(units.sold + units.reserved, units.allotment)}</span></div>"
    )


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


def equation_html(units: Units, gate: int | None, pending: int) -> str:
    """The strip as markup. Everything in it is a whole number or a word of ours."""
    explained = units.allotment == units.available + units.reserved + units.sold
    good = explained and units.drift == 0
    gate_word = "–" if gate is None else f"{gate:,}"
    verdict = _drift(units)
    if not explained:
        verdict = f"{units.allotment - units.available - units.reserved - units.sold:+,d} unexplained"
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
        f'<div class="sp-verdict {"sp-good" if good else "sp-bad"}"><span>Gate {gate_word} · ledger '
        f"{units.available:,} · pending {pending:,}</span><strong>{verdict}</strong></div></div>"
    )


def _markers(now: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Events for the charts: (time, label, is the opening), the opening at its stored second."""
    marks = [(e["at"], happenings.label(e), False) for e in now["events"] if happenings.on_charts(e)]
    return [*marks, (now["opens_at"], "opens", True)]


def _events(now: dict[str, Any], zone: str) -> None:
    events = sorted(now["events"], key=lambda e: e["at"], reverse=True)[:EVENT_ROWS]
    if not events:
        st.caption("Nothing yet. Openings, actions of operators and alarms appear here as they happen.")
    for event in events:
        at = f"{zones.local(event['at'], zone):%H:%M:%S}"
        words = f"**{wording.literal(wording.kind(event['kind']))}**"
        if event["outcome"] == "alarm":
            words = f":red[{words}]"
        st.markdown(f":gray[{at}] {words} :gray[{wording.literal(happenings.detail(event), 300)}]")


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
