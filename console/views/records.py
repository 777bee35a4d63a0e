"""What has happened in a sale: messages, activity, and what waits for a decision."""

from typing import Any

import streamlit as st

from console import happenings, session, wording, zones
from console.sale_actions import EDITORS, refusal
from console.session import Operator
from console.views import parts


def notifications(sale: dict[str, Any], me: Operator) -> None:
    """Messages to shoppers and how they fared."""
    found = session.read(f"/operator/sales/{sale['id']}/notifications")["notifications"]
    if not found:
        parts.empty("No messages yet", "Shoppers hear of their order by e-mail; each message is listed here.")
        return
    dead = sum(n["status"] == "dead" for n in found)
    if dead:
        st.warning(f"{dead} could not be delivered after all tries.", title="Messages that did not arrive")
    zone = sale["time_zone"]
    _again([n for n in found if n["status"] == "dead"], refusal(me.role, EDITORS))
    st.dataframe(
        [
            {
                "Time": zones.short(n.get("created_at"), zone),
                "Kind": wording.kind(n["kind"]),
                "State": wording.kind(n["status"]),
                "Contact": wording.plain(n.get("contact_masked", "–")),
                "Order": wording.plain(n.get("order_id", "–")),
                "Tries": n["attempts"],
                "Sent": zones.short(n.get("sent_at"), zone),
                "Last error": wording.plain(n.get("last_error", "")),
            }
            for n in found
        ],
        hide_index=True,
        width="stretch",
        alt="Notifications",
    )


AGAIN_AT_ONCE = 5
"""Messages offered to be sent again at a time: each is a decision, and a press."""


def _again(dead: list[dict[str, Any]], why_not: str) -> None:
    for message in dead[:AGAIN_AT_ONCE]:
        scope = f"message {message['id']}: resend"
        label = f"Send again: {wording.kind(message['kind']).lower()} to {wording.plain(message['contact_masked'])}"
        if parts.action_button(wording.literal(label), scope, why_not=why_not):
            path = f"/operator/notifications/{message['id']}/resend"
            parts.perform(scope, "POST", path, None, done="It is on its way.")
            st.rerun()
        parts.show_problem(scope)


def _letters(sale: dict[str, Any]) -> None:
    """What the platform could not do and a person has to decide about."""
    letters = session.read("/operator/dead-letters", sale_id=sale["id"])["dead_letters"]
    why_not = refusal(session.operator().role, EDITORS)
    for letter in letters:
        with st.container(key=f"card-letter-{letter['id']}", border=True):
            st.markdown(
                f":orange[**Waiting for a decision**] · {wording.literal(wording.kind(letter['source']))} "
                f"{wording.literal(letter['reference'])}  \n:gray[{wording.literal(letter['error'], 400)}]"
            )
            scope = f"letter {letter['id']}: resolve"
            with st.container(horizontal=True, vertical_alignment="bottom"):
                reason = st.text_input("What was done about it", key=f"{scope}-reason", max_chars=500)
                pressed = parts.action_button(
                    "Mark as dealt with", scope, why_not=why_not or ("" if reason else "Say first what was done.")
                )
            parts.show_problem(scope)
            if pressed:
                path = f"/operator/dead-letters/{letter['id']}/resolve"
                parts.perform(scope, "POST", path, {"reason": (reason or "").strip()}, done="Noted.")
                st.rerun()


def activity(sale: dict[str, Any]) -> None:
    """Who did what to the sale, why, and what changed."""
    _letters(sale)
    found = session.read(f"/operator/sales/{sale['id']}/activity")["activity"]
    if not found:
        parts.empty("No activity yet", "Every action is recorded with who, what, why, before and after.")
        return
    zone = sale["time_zone"]
    st.dataframe(
        [
            {
                "Time": zones.short(a["at"], zone),
                "Who": wording.said(a["actor"]),
                "What": wording.kind(a["kind"]),
                "Why": wording.plain(a.get("reason", "")),
                "Before": wording.said(before),
                "After": wording.said(after),
                "Outcome": wording.said(a.get("outcome")),
            }
            for a in found
            for before, after in [happenings.difference(a.get("before"), a.get("after"))]
        ],
        hide_index=True,
        width="stretch",
        alt="Activity",
    )
