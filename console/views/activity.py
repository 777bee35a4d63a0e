"""Who did what, of the whole merchant."""

from typing import Any

import streamlit as st

from console import happenings, session, wording, zones
from console.views import parts
from console.views.activity_check import activity_check

WIDTHS: dict[str, Any] = {"Why": st.column_config.TextColumn(width="medium"),
                          "Before": st.column_config.TextColumn(width="medium")}  # fmt: skip
"""A column is as wide as its first lines; a reason further down would be cut off."""


def page() -> None:
    st.title("Activity", anchor=False)
    st.markdown(":gray[Every change with who, what and why, and what the platform did by itself. Nobody can edit it.]")
    zone = st.context.timezone or "UTC"
    activity_check(zone)
    trail = parts.trail("activity", ())
    answer = session.read("/audit/activity", cursor=trail[-1] if trail else "")
    lines = answer["activity"]
    if not lines:
        parts.empty("No activity yet", "The first product or sale makes the first line.")
        return
    st.dataframe(
        [row(line, zone) for line in lines], hide_index=True, width="stretch", alt="Activity", column_config=WIDTHS
    )
    st.caption(f"Times in {zones.city(zone)}.")
    parts.pager("activity", trail, answer.get("next_cursor"))


def row(line: dict[str, Any], zone: str, *, with_sale: bool = True) -> dict[str, Any]:
    """One line for a table: what was done and why first, for that is what is looked for."""
    before, after = happenings.difference(line.get("before"), line.get("after"))
    sale = {"Sale": wording.plain(line.get("sale_title", ""))} if with_sale else {}
    return {
        "Time": zones.short(line["at"], zone),
        "What": wording.kind(line["kind"]),
        **sale,
        "Who": wording.said(line["actor"]),
        "Why": wording.plain(line.get("reason", "")),
        "Outcome": wording.said(line.get("outcome")),
        "Before": wording.said(before),
        "After": wording.said(after),
    }
