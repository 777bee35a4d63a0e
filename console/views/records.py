"""What has happened in a sale: orders, notifications, activity."""

from typing import Any

import streamlit as st

from console import happenings, money, session, wording, zones
from console.views import parts

ORDER_STATES = ("reserved", "confirmed", "expired", "cancelled", "rejected", "refund_due", "refunded")


def orders(sale: dict[str, Any]) -> None:
    """The orders, newest first, a page at a time."""
    zone = sale["time_zone"]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.text_input("Search orders", key="orders-q", placeholder="Order, shopper or contact", type="search")
        status = st.selectbox(
            "Order state", ["", *ORDER_STATES], key="orders-status", width=200,
            format_func=lambda s: wording.kind(s) if s else "All",
        )  # fmt: skip
    query = ((wanted or "").strip(), status or "")
    trail = _trail(sale["id"], query)
    answer = session.read(
        f"/operator/sales/{sale['id']}/orders", q=query[0], status=query[1], cursor=trail[-1] if trail else ""
    )
    rows = [
        {
            "Time": zones.short(o.get("created_at"), zone),
            "Order": wording.plain(o["id"]),
            "SKU": wording.plain(o["sku"]),
            "Units": o["quantity"],
            "State": wording.kind(o["status"]),
            "Price": money.label(o.get("price")),
            "Contact": wording.plain(o.get("contact_masked", "–")),
            "Shopper": wording.plain(o.get("shopper_id", "–")),
            "Pay by": zones.short(o.get("pay_by"), zone),
            "Why": wording.plain(wording.kind(o["reason"])) if o.get("reason") else "",
        }
        for o in answer["orders"]
    ]
    if not rows:
        parts.empty(
            "No orders here",
            "An order appears within a second of its acceptance at the gate." if not any(query)
            else "No order matches. Try fewer letters, or all states.",
        )  # fmt: skip
        return
    st.dataframe(rows, hide_index=True, width="stretch", alt="Orders")
    _pager(trail, answer.get("next_cursor"))


def _trail(sale_id: str, query: tuple[str, str]) -> list[str]:
    """The cursors that led to the page shown; another search starts at the newest again."""
    kept = st.session_state.get("orders-trail")
    if kept is None or kept[0] != (sale_id, query):
        kept = ((sale_id, query), [])
        st.session_state["orders-trail"] = kept
    trail: list[str] = kept[1]
    return trail


def _pager(trail: list[str], next_cursor: str | None) -> None:
    if not trail and not next_cursor:
        return
    with st.container(horizontal=True):
        if st.button("Newer", key=f"orders-newer-{len(trail)}", disabled=not trail):
            trail.pop()
            st.rerun()
        if st.button("Older", key=f"orders-older-{len(trail)}", disabled=not next_cursor):
            trail.append(str(next_cursor))
            st.rerun()


def notifications(sale: dict[str, Any]) -> None:
    """Messages to shoppers and how they fared."""
    found = session.read(f"/operator/sales/{sale['id']}/notifications")["notifications"]
    if not found:
        parts.empty("No messages yet", "Shoppers hear of their order by e-mail; each message is listed here.")
        return
    dead = sum(n["status"] == "dead" for n in found)
    if dead:
        st.warning(f"{dead} could not be delivered after all tries.", title="Messages that did not arrive")
    zone = sale["time_zone"]
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


def activity(sale: dict[str, Any]) -> None:
    """Who did what to the sale, why, and what changed."""
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
