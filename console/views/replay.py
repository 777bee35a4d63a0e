"""A sale that is over, on the same screen as when it was live: the whole of it, and any moment by a slider."""

from typing import Any

import streamlit as st

from console import figures, poller, session, zones
from console.history import Units
from console.views import control_room, parts

TTL_S = 60
"""What is over changes no more; refunds and late messages are in the lists."""


@st.cache_data(ttl=TTL_S, max_entries=64, show_spinner="Reading the sale …")
def _read(merchant_id: str, sale_id: str, _bearer: str) -> dict[str, Any]:
    """Shared like the live reading, and like it keyed by the merchant that the caller has just proved to be of."""
    answer: dict[str, Any] = session.api_client().get(f"/operator/sales/{sale_id}/replay", _bearer).data
    return answer


def show(sale: dict[str, Any]) -> None:
    """The replay: a moment's equation, the charts of the whole sale, and what happened."""
    found = _read(session.operator().merchant_id, sale["id"], session.token())
    points = found["points"]
    zone = sale["time_zone"]
    if not points:
        parts.empty("Nothing to replay", "The sale ended before anything happened in it.")
        return
    axis, groups = figures.replayed(points, found["step_s"])
    units = poller.replayed_units(points)
    with st.container(key="card-replay", border=True):
        moment = st.select_slider(
            "Moment",
            range(len(points)),
            value=len(points) - 1,
            key="replay-moment",
            format_func=lambda i: f"{zones.local(points[i]['at'], zone):%H:%M:%S}",
            help="The sale as it stood then, by the ledger.",
        )
        _moment(units[moment], points[moment], found["step_s"])
    with st.container(key="card-throughput", border=True):
        st.markdown("**The whole sale**")
        if not found["outcomes_known"]:
            st.caption("The gate no longer has the attempts: it keeps them until a day after the reconciliation.")
        marks = control_room.markers(found["events"], sale["opens_at"])
        figure = figures.room(axis, groups, units, marks, zone, parts.mode(), revision="replay")
        st.plotly_chart(figure, theme=None, key="replay-room", config=control_room.CHART, alt=control_room.CHART_WORDS)
        st.caption(f"Attempts and admissions a second, in steps of {found['step_s']} s.")
    with st.container(key="card-events", border=True):
        st.markdown("**Actions and events**")
        control_room.events(found["events"], zone)


def _moment(units: Units, point: dict[str, Any], step_s: int) -> None:
    st.html(control_room.equation_html(units, None, 0, past=True))
    tries = sum(point["outcomes"].values())
    words = ", ".join(
        f"{number:,} {name.lower().replace('_', ' ')}" for name, number in sorted(point["outcomes"].items())
    )
    st.caption(f"{tries:,} attempts in these {step_s} s" + (f": {words}." if words else "."))
