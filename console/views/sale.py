"""One sale: its state, its preparation, its control room and its records, behind tabs."""

import time
from typing import Any

import streamlit as st

from console import kept_drafts, navigation, sale_actions, session, wording, zones
from console.sale_actions import EDITABLE, EDITORS, PREPARATION, refusal
from console.settings import get_settings
from console.views import control_room, ledger, orders, page_tab, parts, reconciliation, records, replay, steering
from console.views.steps import form as forms

TABS = ("Control room", "Preparation", "Page", "Orders", "Notifications", "Activity", "Reconciliation", "Ledger")
OVER = frozenset({"reconciled", "cancelled"})
"""Nothing moves any more: the control room is the replay. An ended sale still has holds and payments."""
TAB_PARAM = "tab"


def page() -> None:
    sale_id = navigation.sale_id()
    if not sale_id:
        navigation.go("sales")
    sale = session.read(f"/operator/sales/{sale_id}")
    read_at_s = time.monotonic()
    me = session.operator()
    _header(sale, me)
    asked = st.query_params.get(TAB_PARAM, "")
    usual = TABS[1] if sale["status"] in {"draft", "scheduled"} else TABS[0]
    shown = st.tabs(list(TABS), default=asked if asked in TABS else usual, on_change="rerun", key="sale-tab")
    tabs = dict(zip(TABS, shown, strict=True))
    with parts.guarded():
        if tabs["Control room"].open:
            with tabs["Control room"]:
                _control_room(sale, me, read_at_s)
        if tabs["Preparation"].open:
            with tabs["Preparation"]:
                _preparation(sale, me)
        for name, draw in (
            ("Page", lambda one: page_tab.show(one, me)),
            ("Orders", lambda one: orders.show(one, me)),
            ("Notifications", lambda one: records.notifications(one, me)),
            ("Activity", records.activity),
            ("Ledger", ledger.show),
        ):
            if tabs[name].open:
                with tabs[name]:
                    draw(sale)
        if tabs["Reconciliation"].open:
            with tabs["Reconciliation"]:
                reconciliation.show(sale, me)
    steering.open_dialog(sale)


def _header(sale: dict[str, Any], me: session.Operator) -> None:
    head, buttons = st.columns([3, 1.4], vertical_alignment="center")
    with head, st.container(horizontal=True, vertical_alignment="center"):
        st.title(wording.literal(sale["title"]), anchor=False, width="content")
        parts.badge(sale["status"])
    with buttons, st.container(horizontal=True, horizontal_alignment="right"):
        if sale["status"] in EDITABLE:
            why_not = refusal(me.role, EDITORS)
            if st.button("Edit", key="edit-sale", disabled=bool(why_not), help=why_not or None):
                _edit(sale["id"])
        if me.may_edit and st.button("Duplicate", key="duplicate-sale", help="A new draft with the same terms."):
            navigation.go("new-sale", **{"from": sale["id"]})
        if sale.get("page_path") and str(sale["page_path"]).startswith("/"):
            st.link_button("Open page", f"{get_settings().public_url}{sale['page_path']}")
    zone = sale["time_zone"]
    st.caption(
        f"{wording.literal(sale['slug'])} · opens {zones.reading(sale['opens_at'], zone)} · "
        f"closes {zones.reading(sale['closes_at'], zone)}"
    )


def _edit(sale_id: str) -> None:
    """To the form. Without anything unsaved in it, it begins with the sale as it is now."""
    form = f"edit-{sale_id}"
    if kept_drafts.recall(form).draft is None:
        forms.forget(form)
    navigation.go("edit-sale", sale=sale_id)


def _control_room(sale: dict[str, Any], me: session.Operator, read_at_s: float) -> None:
    view, hand = st.columns([3.3, 1], gap="small")
    with view:
        if sale["status"] in OVER:
            replay.show(sale)
        else:
            control_room.live(sale, read_at_s)
    with hand:
        steering.panel(sale, me)


def _preparation(sale: dict[str, Any], me: session.Operator) -> None:
    left, right = st.columns([2, 1], gap="medium")
    with left:
        _preflight(sale)
        _terms(sale)
    with right, st.container(key="card-prepare", border=True):
        st.subheader("Actions", anchor=False)
        steering.simple_actions(sale, me, PREPARATION)
        for name in ("rotate-links", "cancel"):
            if sale["status"] == "scheduled":
                steering.asking_button(me, sale_actions.ACTIONS[name], place="prepare")
        if sale["status"] == "draft":
            steering.delete_draft(sale, me)
        if sale["status"] not in EDITABLE:
            st.caption("Preparation is over. Steering is in the control room.")


def _preflight(sale: dict[str, Any]) -> None:
    with st.container(key="card-preflight", border=True):
        st.subheader("Pre-flight", anchor=False)
        found = session.read(f"/operator/sales/{sale['id']}/preflight")
        if found["ready"]:
            st.markdown(":green[**Ready.** Nothing is missing.]")
        else:
            missing = sum(not c["ok"] for c in found["checks"])
            st.markdown(f":orange[**Not ready:** {missing} of {len(found['checks'])} checks need a hand.]")
        for check in found["checks"]:
            mark = ":green[✓]" if check["ok"] else ":orange[✗]"
            text = f"{mark} **{wording.literal(wording.kind(check['name']))}**"
            if check.get("detail"):
                text += f"  \n:gray[{wording.literal(check['detail'], 400)}]"
            if not check["ok"] and check.get("action"):
                text += f"  \n{wording.literal(check['action'], 400)}"
            st.markdown(text)


def _terms(sale: dict[str, Any]) -> None:
    """What is sold and by which rules, for reading."""
    zone = sale["time_zone"]
    with st.container(key="card-terms", border=True):
        st.subheader("Items and rules", anchor=False)
        st.dataframe(control_room.item_rows(sale["items"]), hide_index=True, width="stretch", alt="Items")
        throttle, link, payment = sale["throttle"], sale["link"], sale["payment"]
        paid = f"required within {payment['hold_s']} s" if payment["required"] else "not required"
        lines = [
            (
                f"Throttle: {wording.figure(throttle['rate_per_s'])} admitted a second, burst {throttle['burst']}, "
                f"wait budget {throttle['wait_budget_ms']} ms, repeat window {throttle['repeat_window_ms']} ms"
            ),
            f"Links: last {link['ttl_s']} s, overlap {link['overlap_s']} s, epoch {link.get('epoch', '–')}",
            f"Payment: {paid}",
            f"Stock loaded: {zones.reading(sale.get('preloaded_at'), zone)}",
            f"Page version: {sale.get('published_version', '–')}",
        ]
        st.markdown("\n".join(f"- {wording.literal(line)}" for line in lines))
