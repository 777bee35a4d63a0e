"""Who did what, of the whole merchant."""

from typing import Any

import streamlit as st

from console import happenings, session, wording, zones
from console.views import parts


def page() -> None:
    st.title("Activity", anchor=False)
    st.markdown(":gray[Every change with who, what and why, and what the platform did by itself. Nobody can edit it.]")
    zone = st.context.timezone or "UTC"
    trail = parts.trail("activity", ())
    answer = session.read("/audit/activity", cursor=trail[-1] if trail else "")
    lines = answer["activity"]
    if not lines:
        parts.empty("No activity yet", "The first product or sale makes the first line.")
        return
    st.dataframe([_row(line, zone) for line in lines], hide_index=True, width="stretch", alt="Activity")
    st.caption(f"Times in {zones.city(zone)}.")
    parts.pager("activity", trail, answer.get("next_cursor"))


def _row(line: dict[str, Any], zone: str) -> dict[str, Any]:
    before, after = happenings.difference(line.get("before"), line.get("after"))
    return {
        "Time": zones.short(line["at"], zone),
        "Who": wording.said(line["actor"]),
        "What": wording.kind(line["kind"]),
        "Sale": wording.plain(line.get("sale_title", "")),
        "Why": wording.plain(line.get("reason", "")),
        "Before": wording.said(before),
        "After": wording.said(after),
        "Outcome": wording.said(line.get("outcome")),
    }
