"""A sale that is over, on the same screen as when it was live: the whole of it, and any moment by a slider."""

from typing import Any

import streamlit as st

from console import figures, happenings, poller, session, strips, wording, zones
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
    units = poller.replayed_units(points, happenings.rates(found["events"], sale["throttle"]["rate_per_s"]))
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
        st.html(strips.legend_html("Attempts a second, the whole sale", groups))
        if not found["outcomes_known"]:
            st.caption("The gate no longer has the attempts: it keeps them until a day after the reconciliation.")
        marks = control_room.markers(found["events"], sale["opens_at"])
        figure = figures.room(axis, groups, units, marks, zone, parts.mode(), revision="replay", live=False)
        st.plotly_chart(figure, theme=None, key="replay-room", config=control_room.CHART, alt=control_room.CHART_WORDS)
        if found["step_s"] > 1:
            st.caption(f"Each point is the mean of {found['step_s']} seconds.")
    with st.container(key="card-events", border=True):
        st.markdown("**Actions and events**")
        control_room.events(found["events"], zone)


def _moment(units: Units, point: dict[str, Any], step_s: int) -> None:
    st.html(strips.equation_html(units, None, 0, past=True))
    by_group: dict[str, int] = {}
    for outcome, number in point["outcomes"].items():
        group = wording.outcome_group(outcome)
        by_group[group] = by_group.get(group, 0) + int(number)
    words = ", ".join(
        f"{by_group[group]:,} {label.lower()}"
        for group, (label, _) in wording.OUTCOME_GROUPS.items()
        if by_group.get(group)
    )
    span = "this second" if step_s == 1 else f"these {step_s} seconds"
    st.caption(f"Attempts in {span}: {words}." if words else f"Nobody tried in {span}.")
