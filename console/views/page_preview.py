"""The page as it would be published now, on a phone and on a desktop, beside the console's own words."""

from typing import Any

import streamlit as st

from console.sale_actions import EDITORS, refusal
from console.session import Operator
from console.settings import get_settings
from console.views import parts

_FRAME_PX = 720


def card(sale: dict[str, Any], me: Operator, *, waits: str = "") -> None:
    """The preview of a sale, made when it is first looked at and again on request.

    `waits` says what the preview does not show yet. Making one writes files beside the pages: auditors see those that
    others made by their address alone.
    """
    with st.container(key=f"card-preview-{sale['id']}", border=True):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.subheader("As it would be published now", anchor=False)
            size = st.segmented_control(
                "Shown on", ["Phone", "Desktop"], default="Phone", required=True, key=f"preview-size-{sale['id']}",
                label_visibility="collapsed",
            )  # fmt: skip
        why_not = refusal(me.role, EDITORS)
        if why_not:
            st.caption(f"{why_not.rstrip('.')}: make a preview.")
            return
        above, below = st.container(), st.container()
        with below:
            path = _path(sale)
        if waits:
            above.caption(waits)
        if path is None:
            return
        frame = "phone" if size == "Phone" else "desktop"
        with above, st.container(key=f"preview-{frame}"):
            # The same origin as the console, which alone may frame it; a secret address, forgotten after a day.
            st.iframe(f"{path}page", height=_FRAME_PX, alt=f"The page on a {frame}")
        st.caption("What you do on it buys nothing. Nobody has its address but you, and it ends after a day.")


def _path(sale: dict[str, Any]) -> str | None:
    """The address of this version's preview; None while there is none, with the reason said."""
    scope = f"sale {sale['id']}: preview"
    held: dict[str, tuple[int, str]] = st.session_state.setdefault("previews", {})
    version, path = held.get(sale["id"], (None, ""))
    stale = version != sale["version"]
    with st.container(horizontal=True):
        if path:
            st.link_button("Open both in a new tab", f"{get_settings().public_url}{path}")
        again = parts.action_button("Make it anew", scope, help="After a change to its products.")
    if (stale and parts.problem(scope) is None) or again:
        reply = parts.perform(scope, "POST", f"/operator/sales/{sale['id']}/preview", None, done="")
        if reply is not None:
            path = str(reply.data["path"])
            held[sale["id"]] = (sale["version"], path)
            st.rerun()
    parts.show_problem(scope)
    return path or None
