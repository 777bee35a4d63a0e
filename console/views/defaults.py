"""Settings, defaults: what a new sale starts from."""

from typing import Any

import streamlit as st

from console import session
from console.sale_actions import refusal
from console.sale_draft import THROTTLE_FIELDS
from console.session import Operator
from console.views import parts

OWNERS = frozenset({"owner"})
PATH = "/operator/defaults"
WHY = {
    "burst": "How many get through at once before the rate holds.",
    "wait_budget_ms": "An attempt that is too early by at most this is held back and let through. 0: refused at once.",
    "repeat_window_ms": "Who tries again within this is told to wait: a script gets no more chances than a person.",
}
BOUNDS = {"burst": (1, 1_000_000), "wait_budget_ms": (0, 10_000), "repeat_window_ms": (0, 600_000)}


def draw(me: Operator) -> None:
    """The tab."""
    why_not = refusal(me.role, OWNERS)
    now = session.read(PATH)
    with st.container(key="card-defaults", border=True):
        st.subheader("What a new sale starts from", anchor=False)
        st.caption(
            ("Set by you. " if now["own"] else "The platform's own. ")
            + "Each sale can say otherwise; sales that exist keep what they have."
        )
        turn = st.session_state.setdefault("defaults-turn", 0)
        body = _fields(now, turn, disabled=bool(why_not))
        with st.container(horizontal=True):
            save = parts.action_button("Save defaults", "defaults: save", why_not=why_not, type="primary")
            reset = now["own"] and parts.action_button("Back to the platform's", "defaults: reset", why_not=why_not)
        parts.show_problem("defaults: save")
        parts.show_problem("defaults: reset")
    if save:
        parts.perform("defaults: save", "PUT", PATH, body, done="Saved. New sales start from these.")
        st.rerun()
    if reset:
        if parts.perform("defaults: reset", "DELETE", PATH, None, done="The platform's defaults again.") is not None:
            st.session_state["defaults-turn"] = turn + 1
        st.rerun()


def _fields(now: dict[str, Any], turn: int, *, disabled: bool) -> dict[str, Any]:
    throttle, link = now["throttle"], now["link"]
    first, second = st.columns(2)
    with first:
        st.markdown("**Throttle**")
        values: dict[str, Any] = {
            "rate_per_s": float(
                st.number_input(
                    THROTTLE_FIELDS["rate_per_s"], min_value=0.01, max_value=100_000.0, step=1.0, format="%g",
                    value=float(throttle["rate_per_s"]), key=f"defaults-rate-{turn}", disabled=disabled,
                )
            )
        }  # fmt: skip
        for name, (lowest, highest) in BOUNDS.items():
            values[name] = _number(
                THROTTLE_FIELDS[name], lowest, highest, throttle[name], f"defaults-{name}-{turn}", disabled, WHY[name]
            )
    with second:
        st.markdown("**Links and holds**")
        ttl = _number("A link works for, s", 5, 86_400, link["ttl_s"], f"defaults-ttl-{turn}", disabled,
                      "A page asks for a new one by itself.")  # fmt: skip
        overlap = _number("Old links after a rotation, s", 0, 3_600, link["overlap_s"], f"defaults-overlap-{turn}",
                          disabled, "0: they stop at once.")  # fmt: skip
        hold = _number("Time to pay, s", 5, 604_800, now["payment"]["hold_s"], f"defaults-hold-{turn}", disabled,
                       "Unpaid units go back on sale after it.")  # fmt: skip
    return {"throttle": values, "link": {"ttl_s": ttl, "overlap_s": overlap}, "payment": {"hold_s": hold}}


def _number(label: str, lowest: int, highest: int, value: int, key: str, disabled: bool, why: str) -> int:
    return int(
        st.number_input(
            label, min_value=lowest, max_value=highest, value=int(value), step=1, key=key, disabled=disabled, help=why
        )
    )
