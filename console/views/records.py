"""What has happened in a sale: messages, activity, and what waits for a decision."""

from typing import Any

import streamlit as st

from console import session, wording, zones
from console.sale_actions import EDITORS, refusal
from console.session import Operator
from console.views import activity as activity_page
from console.views import letters, parts


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
        if parts.action_button(wording.literal(label), scope, why_not=why_not, once=True):
            path = f"/operator/notifications/{message['id']}/resend"
            parts.perform(scope, "POST", path, None, done="It is on its way.")
            st.rerun()
        parts.show_problem(scope)


def activity(sale: dict[str, Any]) -> None:
    """Who did what to the sale, why, and what changed."""
    letters.show(sale)
    found = session.read(f"/operator/sales/{sale['id']}/activity")["activity"]
    if not found:
        parts.empty("No activity yet", "Every action is recorded with who, what, why, before and after.")
        return
    zone = sale["time_zone"]
    st.dataframe(
        [activity_page.row(line, zone, with_sale=False) for line in found],
        hide_index=True,
        width="stretch",
        alt="Activity",
        column_config=activity_page.WIDTHS,
    )
