"""The list of sales."""

from datetime import UTC, datetime
from typing import Any

import streamlit as st

from console import navigation, session, timeline, wording, zones
from console.sale_actions import EDITORS, refusal
from console.views import parts

OVERLAPS_SHOWN = 3
STEP = 25
"""Sales shown at a time; the newest come first."""


def page() -> None:
    me = session.operator()
    head, button = st.columns([4, 1], vertical_alignment="center")
    head.title("Sales", anchor=False)
    why_not = refusal(me.role, EDITORS)
    if button.button(
        "New sale", type="primary", width="stretch", disabled=bool(why_not), help=why_not or None, key="new-sale"
    ):
        navigation.go("new-sale")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.text_input("Search", key="sales-q", placeholder="Title or slug", type="search", bind="query-params")
        status = st.selectbox(
            "Status",
            ["", *wording.STATUS_WORDS],
            format_func=lambda s: wording.status(s) if s else "All",
            key="sales-status",
            width=200,
        )
    found = session.read("/operator/sales", q=(wanted or "").strip(), status=status or "")["sales"]
    if not found:
        _nothing(bool(wanted or status))
        return
    _weeks(found)
    limit = st.session_state.setdefault("sales-limit", STEP)
    for row in found[:limit]:
        _row(row)
    if len(found) > limit and st.button(f"Show more ({len(found) - limit})", key="sales-more"):
        st.session_state["sales-limit"] = limit + STEP
        st.rerun()


def _weeks(found: list[dict[str, Any]]) -> None:
    """The four weeks around now, and a word about sales that are open at the same time."""
    now = datetime.now(UTC)
    markup = timeline.picture(found, now, st.context.timezone or "UTC")
    if markup:
        with st.container(key="card-timeline", border=True):
            st.html(markup)
    pairs = timeline.overlaps(found, now)
    for one, other in pairs[:OVERLAPS_SHOWN]:
        # Not a caption: those are faded, and amber on paper is then too faint to read.
        st.markdown(
            f":orange[**Overlap:**] {wording.literal(one)} and {wording.literal(other)} are open at the same time."
        )
    if len(pairs) > OVERLAPS_SHOWN:
        st.caption(f"And {len(pairs) - OVERLAPS_SHOWN} more overlaps.")


def _row(row: dict[str, Any]) -> None:
    with st.container(key=f"card-sale-{row['id']}", border=True):
        name, state, when, units = st.columns([3, 1, 3, 2], vertical_alignment="center")
        with name:
            navigation.link("sale", f"**{wording.literal(row['title'])}**", sale=row["id"])
            st.caption(wording.literal(row["slug"]))
        with state:
            parts.badge(row["status"])
        when.markdown(
            f"Opens {zones.reading(row['opens_at'], row['time_zone'])}  \n"
            f":gray[closes {zones.reading(row['closes_at'], row['time_zone'])}]"
        )
        units.markdown(_units(row.get("items", [])))


def _units(items: list[dict[str, Any]]) -> str:
    allotment = sum(i.get("allotment", 0) for i in items)
    taken = sum(i.get("sold", 0) + i.get("reserved", 0) for i in items)
    kinds = f"{len(items)} item{'' if len(items) == 1 else 's'}"
    return f"{wording.count(taken)} of {wording.count(allotment)} units taken  \n:gray[{kinds}]"


def _nothing(filtered: bool) -> None:
    if filtered:
        parts.empty("No sale matches", "Try fewer letters, or all statuses.")
        return
    parts.empty(
        "No sales yet",
        "A sale is a small stock, a fixed second and a crowd. Three steps lead to the first: add the "
        "products under **Products**, describe the sale under **New sale**, then **schedule** it. "
        "Stock, links and page are prepared by themselves, and it opens at the stored second.",
    )
