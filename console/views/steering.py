"""Steering: the same actions in the same place, and dialogs for those that ask first."""

from typing import Any

import streamlit as st

from console import admission, navigation, poller, wording
from console.sale_actions import (
    ACTIONS,
    EDITORS,
    STEERING,
    SaleAction,
    before_after,
    effective_throttle,
    offered,
    refusal,
)
from console.sale_draft import THROTTLE_FIELDS
from console.session import Operator
from console.views import alarms, parts

_OPEN = "steering.dialog"
REASON_LIMIT = 500
_GROUPS = {
    "pause": "Pace", "resume": "Pace", "throttle": "Pace", "top-up": "Stock", "reduce": "Stock",
    "rotate-links": "Links and page", "publish": "Links and page", "rebuild": "Repair", "end": "For good",
    "cancel": "For good",
}  # fmt: skip
"""Under which words each action stands: a hand that is in a hurry finds by place and heading, not by reading all."""


def scope_of(sale: dict[str, Any], action: str) -> str:
    return f"sale {sale['id']}: {action}"


def panel(sale: dict[str, Any], me: Operator) -> None:
    """The steering card of the control room."""
    with st.container(key="card-steering", border=True):
        st.subheader("Steering", anchor=False)
        actions = offered(STEERING, sale["status"])
        if not actions:
            st.caption(f"A sale that is {wording.status(sale['status']).lower()} cannot be steered.")
        for index, action in enumerate(actions):
            group = _GROUPS.get(action.name, "")
            if group and (index == 0 or _GROUPS.get(actions[index - 1].name) != group):
                st.html(f'<div class="sp-group">{group}</div>')
            with st.container(key="steer-first" if index == 0 else None):
                if action.asks:
                    asking_button(me, action)
                else:
                    _simple_button(sale, me, action)


def simple_actions(sale: dict[str, Any], me: Operator, names: tuple[str, ...]) -> None:
    """Buttons that act at once, for the actions of `names` that the sale's state offers."""
    for action in offered(names, sale["status"]):
        _simple_button(sale, me, action)


def asking_button(me: Operator, action: SaleAction, place: str = "steer") -> None:
    """A button that opens the action's dialog."""
    why_not = refusal(me.role, EDITORS)
    prefix = "danger" if action.dangerous else "ask"
    with st.container(key=f"{prefix}-{place}-{action.name}"):
        if st.button(
            action.label,
            key=f"{place}-{action.name}",
            width="stretch",
            type="primary" if action.name == "resume" else "secondary",
            disabled=bool(why_not),
            help=why_not or None,
        ):
            st.session_state[_OPEN] = action.name


def _simple_button(sale: dict[str, Any], me: Operator, action: SaleAction) -> None:
    scope = scope_of(sale, action.name)
    first = action.name in {"pause", "schedule"}
    if parts.action_button(
        action.label,
        scope,
        why_not=refusal(me.role, EDITORS),
        once=True,
        width="stretch",
        type="primary" if first else "secondary",
    ):
        _act(sale, action, {})
        st.rerun()
    parts.show_problem(scope)


def _act(sale: dict[str, Any], action: SaleAction, body: dict[str, Any]) -> bool:
    """Send the action; True when it was done."""
    path = f"/operator/sales/{sale['id']}/{action.name}"
    done = parts.perform(scope_of(sale, action.name), "POST", path, body, done=action.done) is not None
    if done:
        poller.forget(sale["id"])
    return done


def delete_draft(sale: dict[str, Any], me: Operator) -> None:
    """Throw a draft away; a scheduled sale is cancelled instead, and stays on record."""
    scope = scope_of(sale, "delete")
    sure = st.toggle("I want to delete this draft", key=f"{scope}-sure")
    why_not = refusal(me.role, EDITORS) or ("" if sure else "Say first that you want to.")
    with st.container(key="danger-delete"):
        pressed = parts.action_button("Delete draft", scope, why_not=why_not, width="stretch")
    parts.show_problem(scope)
    if pressed:
        done = f"{wording.plain(sale['title'])} deleted."
        if parts.perform(scope, "DELETE", f"/operator/sales/{sale['id']}", None, done=done) is not None:
            navigation.go("sales")
        st.rerun()


def open_dialog(sale: dict[str, Any]) -> None:
    """Draw the dialog that is open, if any.

    That it is open is kept in the session and not in the press of a button: the live view reruns
    the page when the sale changes state, and a dialog half filled in must survive that.
    """
    name = st.session_state.get(_OPEN)
    if name is None:
        return
    action = ACTIONS[name]
    if sale["status"] not in action.states:
        close_dialog()
        return
    st.dialog(action.label.removesuffix(" …"), on_dismiss=close_dialog)(dialog_body)(sale, action)


def close_dialog() -> None:
    st.session_state.pop(_OPEN, None)


def dialog_body(sale: dict[str, Any], action: SaleAction) -> None:
    """What an asking action asks: its values, a reason, and before/after of what they will do."""
    with parts.guarded():
        scope = scope_of(sale, action.name)
        sale = _as_of_now(sale)
        st.markdown(f":gray[{action.explains}]")
        change = _values(sale, action, scope)
        reason = st.text_area("Reason", key=f"{scope}-reason", height=80, max_chars=REASON_LIMIT,
                              placeholder="Recorded with your name; auditors read it.")  # fmt: skip
        if action.name == "throttle":
            st.markdown(f":gray[{_effect(sale, change)}]")
        rows = before_after(action.name, sale, change)
        if rows:
            st.dataframe(
                [{"": what, "Before": before, "After": after} for what, before, after in rows],
                hide_index=True,
                width="stretch",
                alt="Before and after",
            )
        complaint = st.session_state.pop(f"{scope}-complaint", "")
        if complaint:
            st.markdown(f":red[{complaint}]")
        parts.show_problem(scope)
        label = action.label.removesuffix(" …")
        if parts.action_button(label, scope, once=True, type="primary", width="stretch"):
            _confirm(sale, action, change, (reason or "").strip(), scope)


def _as_of_now(sale: dict[str, Any]) -> dict[str, Any]:
    """The sale with the counters of the newest reading: units move while a page stands, and "before" must be true."""
    reading, _ = poller.watch(sale["id"])
    if reading.live is None:
        return sale
    read = {item["sku"]: item for item in reading.live["items"]}
    names = ("allotment", "available", "reserved", "sold")
    items = [item | {n: read[item["sku"]][n] for n in names if item["sku"] in read} for item in sale["items"]]
    return sale | {"items": items}


def _effect(sale: dict[str, Any], change: dict[str, Any]) -> str:
    """What the rate in the field would do to the crowd of this moment, by the reading the charts show."""
    reading, _ = poller.watch(sale["id"])
    if reading.live is None:
        return "No live figures now: what the change will do cannot be said."
    sku = change.get("sku")
    available = sum(item["available"] for item in reading.live["items"] if sku in (None, item["sku"]))
    crowd = admission.waiting(reading.series, repeat_window_s=change["repeat_window_ms"] / 1_000)
    return admission.effect(change["rate_per_s"], crowd, available)


def _confirm(sale: dict[str, Any], action: SaleAction, change: dict[str, Any], reason: str, scope: str) -> None:
    if not reason:
        st.session_state[f"{scope}-complaint"] = "Give a reason; it is recorded."
    elif _act(sale, action, {**change, "reason": reason}):
        close_dialog()
    st.rerun()


def _values(sale: dict[str, Any], action: SaleAction, scope: str) -> dict[str, Any]:
    """The values an action needs beside a reason."""
    skus = [item["sku"] for item in sale["items"]]
    if action.name in {"top-up", "reduce"}:
        sku = st.selectbox("Item", skus, key=f"{scope}-sku", format_func=wording.plain)
        quantity = st.number_input("Units", min_value=1, value=1, step=1, key=f"{scope}-quantity")
        return {"sku": sku, "quantity": int(quantity)}
    if action.name == "throttle":
        return _throttle_values(sale, skus, scope)
    if action.name == "resume" and sale.get("fault"):
        # The generation that this dialog shows: one that was rebuilt meanwhile is refused by the API.
        st.warning(alarms.resume_warning(sale), title="Stopped by the platform")
        return {"generation": sale["generation"]}
    return {}


def _throttle_values(sale: dict[str, Any], skus: list[str], scope: str) -> dict[str, Any]:
    """The whole policy, starting from the one that holds, for the sale or for one of its items."""
    whole = "The whole sale"
    chosen = st.selectbox("For", [whole, *skus], key=f"{scope}-sku", format_func=wording.plain)
    sku = None if chosen == whole else chosen
    now = effective_throttle(sale, sku)
    change: dict[str, Any] = {} if sku is None else {"sku": sku}
    columns = st.columns(2)
    for index, (name, label) in enumerate(THROTTLE_FIELDS.items()):
        key = f"{scope}-{sku}-{name}"
        with columns[index % 2]:
            if name == "rate_per_s":
                change[name] = parts.rate_input(now[name], key)
            else:
                low = 1 if name == "burst" else 0
                change[name] = int(st.number_input(label, min_value=low, value=int(now[name]), step=1, key=key))
    return change
