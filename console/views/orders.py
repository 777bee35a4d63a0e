"""The orders of a sale: found, looked at from the first try to the last message, cancelled, refunded, exported."""

from typing import Any

import streamlit as st

from console import downloads, money, session, wording, zones
from console.sale_actions import EDITORS, refusal
from console.session import Operator
from console.views import parts

ORDER_STATES = ("reserved", "confirmed", "expired", "cancelled", "rejected", "refund_due", "refunded")
CANCELLABLE = frozenset({"reserved", "confirmed"})
REASON_LIMIT = 500


def show(sale: dict[str, Any], me: Operator) -> None:
    """The list, newest first, a page at a time, and the order that is chosen in it. A `q` in the address is searched
    for at once."""
    zone = sale["time_zone"]
    parts.asked_for("q", "orders-q")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.text_input(
            "Search orders", key="orders-q", placeholder="Order, shopper, whole contact, or SKU", type="search"
        )
        status = st.selectbox(
            "Order state", ["", *ORDER_STATES], key="orders-status", width=200,
            format_func=lambda s: wording.kind(s) if s else "All",
        )  # fmt: skip
    exports = [("Export as CSV", downloads.orders_href(sale["id"], status or ""))]
    if sale.get("delivery_required") and me.role in EDITORS:
        exports.append(("Export with addresses", downloads.orders_href(sale["id"], status or "", delivery=True)))
    parts.download_links(*exports)
    query = ((wanted or "").strip(), status or "")
    trail = parts.trail("orders", (sale["id"], *query))
    answer = session.read(
        f"/operator/sales/{sale['id']}/orders", q=query[0], status=query[1], cursor=trail[-1] if trail else ""
    )
    found = answer["orders"]
    if not found:
        parts.empty(
            "No orders here",
            "An order appears within a second of its acceptance at the gate." if not any(query)
            else "No order matches. Try fewer letters, or all states.",
        )  # fmt: skip
        return
    picked = st.dataframe(
        [_row(one, zone) for one in found],
        hide_index=True,
        width="stretch",
        alt="Orders",
        key=f"orders-table-{len(trail)}-{'-'.join(query)}",
        on_select="rerun",
        selection_mode="single-row",
    )
    parts.pager("orders", trail, answer.get("next_cursor"))
    rows = picked["selection"]["rows"]
    chosen = found[rows[0]]["id"] if rows and rows[0] < len(found) else found[0]["id"] if len(found) == 1 else None
    if chosen is None:
        st.caption("Choose an order in the table to see its whole life, to cancel it or to send a message again.")
        return
    _order(sale, me, chosen)


def _row(order: dict[str, Any], zone: str) -> dict[str, Any]:
    return {
        "Time": zones.short(order.get("created_at"), zone),
        "State": wording.kind(order["status"]),
        "SKU": wording.plain(order["sku"]),
        "Units": order["quantity"],
        "Price": money.label(order.get("price")),
        "Contact": wording.plain(order.get("contact_masked", "–")),
        "Pay by": f"{zones.local(order['pay_by'], zone):%H:%M:%S}" if order.get("pay_by") else "",
        "Why": wording.plain(wording.kind(order["reason"])) if order.get("reason") else "",
        "Order": wording.plain(order["id"]),
    }


def _order(sale: dict[str, Any], me: Operator, order_id: str) -> None:
    life = session.read(f"/operator/sales/{sale['id']}/orders/{order_id}")
    zone = sale["time_zone"]
    with st.container(key="card-order", border=True):
        st.subheader(f"Order {wording.plain(order_id)}", anchor=False)
        st.markdown(
            f"**{wording.literal(wording.kind(life['status']))}** · {life['quantity']} × "
            f"{wording.literal(life['sku'])} · "
            f"{money.label(life['price'])} each · {wording.literal(life['contact_masked'])}"
        )
        st.dataframe(story(life, zone), hide_index=True, width="stretch", alt="The order's life")
        st.caption(
            f"Reservation {wording.plain(life['reservation_id'])} · journal entry "
            f"{wording.plain(life['attempt']['journal_entry'])} · shopper {wording.plain(life['shopper_id'])} · "
            f"times in {zones.city(zone)}"
        )
        _delivery(sale, me, life)
        _actions(sale, me, life)


def _delivery(sale: dict[str, Any], me: Operator, life: dict[str, Any]) -> None:
    """Where it goes: masked until it is asked for, so that who looks over a shoulder learns a town at most."""
    given = life.get("delivery")
    if given is None:
        if sale.get("delivery_required"):
            why = refusal(me.role, EDITORS) or "The shopper has not given any."
            st.caption(f"No delivery details here. {why}")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        shown = st.toggle("Show delivery details", key=f"order {life['id']}: delivery")
        st.markdown("  \n".join(wording.literal(line) for line in delivery_lines(given, masked=not shown)))


def delivery_lines(given: dict[str, Any], *, masked: bool) -> list[str]:
    """An address as one writes it on a parcel, or a letter of the name and the town."""
    town = " ".join(str(given[part]) for part in ("postal_code", "city") if given.get(part))
    if masked:
        return [f"{str(given.get('name', ''))[:1]}•••, {given.get('city', '–')}"]
    return [str(line) for line in (given.get("name"), given.get("address"), town, given.get("country")) if line]


def story(life: dict[str, Any], zone: str) -> list[dict[str, str]]:
    """An order's life in order of time: when, what, and the record that says so."""
    attempt = life["attempt"]
    lines: list[tuple[str, str, str]] = [
        (attempt["admitted_at"], "Admitted at the gate", f"journal entry {attempt['journal_entry']}"),
    ]
    for entry in life["ledger"]:
        changes = ", ".join(
            f"{name} {entry[f'{name}_delta']:+d}"
            for name in ("available", "reserved", "sold")
            if entry[f"{name}_delta"]
        )
        lines.append((entry["at"], f"Ledger: {entry['kind']}", f"entry {entry['id']}: {changes}"))
    for release in life["releases"]:
        lines.append((release["created_at"], "Units to be given back", f"{release['quantity']} to the gate"))
        if release.get("done_at"):
            lines.append((release["done_at"], "Units back on sale", "read in the journal"))
    payment = life.get("payment")
    if payment:
        lines.append(
            (payment["created_at"], "Payment begun", f"{money.label(payment['amount'])} {payment['provider']}")
        )
        if payment.get("captured_at"):
            lines.append((payment["captured_at"], "Payment captured", money.label(payment["amount"])))
    for message in life["notifications"]:
        name = wording.kind(message["kind"]).lower()
        lines.append(
            (
                message["created_at"],
                f"Message: {name}",
                f"{message['status']}, {wording.number_of(message['attempts'], 'try', 'tries')}",
            )
        )
        if message.get("sent_at"):
            lines.append((message["sent_at"], f"Message sent: {name}", ""))
    return [
        {"Time": zones.short(at, zone), "What": wording.plain(what), "Record": wording.plain(record)}
        for at, what, record in sorted(lines, key=lambda line: zones.parse(line[0]))
    ]


def _actions(sale: dict[str, Any], me: Operator, life: dict[str, Any]) -> None:
    path = f"/operator/sales/{sale['id']}/orders/{life['id']}"
    why_not = refusal(me.role, EDITORS)
    if life["status"] in CANCELLABLE and not life.get("paid_at"):
        _asking(f"order {life['id']}: cancel", "Cancel order", f"{path}/cancel", why_not,
                "The units go back on sale, and the shopper is told.", "Order cancelled.")  # fmt: skip
    if life["status"] == "refund_due":
        _asking(f"order {life['id']}: refunded", "Mark as refunded", f"{path}/refunded", why_not,
                "Note that the money has gone back, by whatever way you pay.", "Marked as refunded.")  # fmt: skip
    for message in life["notifications"]:
        if message["status"] not in {"sent", "dead"}:
            continue
        scope = f"message {message['id']}: resend"
        if parts.action_button(
            f"Send again: {wording.kind(message['kind']).lower()}", scope, why_not=why_not, once=True
        ):
            parts.perform(
                scope, "POST", f"/operator/notifications/{message['id']}/resend", None, done="It is on its way."
            )
            st.rerun()
        parts.show_problem(scope)


def _asking(scope: str, label: str, path: str, why_not: str, explains: str, done: str) -> None:
    """An action with a reason, in its own small form beside the order: no dialog hides what it is about."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        reason = st.text_input(
            f"Reason to {label.lower()}", key=f"{scope}-reason", max_chars=REASON_LIMIT, placeholder=explains
        )
        pressed = parts.action_button(label, scope, why_not=why_not, once=True)
    complaint = st.session_state.pop(f"{scope}-complaint", "")
    if complaint:
        st.markdown(f":red[{complaint}]")
    parts.show_problem(scope)
    if pressed:
        if not (reason or "").strip():
            st.session_state[f"{scope}-complaint"] = "Give a reason; it is recorded."
        else:
            parts.perform(scope, "POST", path, {"reason": (reason or "").strip()}, done=done)
        st.rerun()
