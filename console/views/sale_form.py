"""Creating and editing a sale: one form in steps, checked as it is filled in and by the API when it is saved.

The first step makes the draft with the API; from then on each step saves what it changed. What has been typed since
is kept by this process beyond a reload.
"""

from datetime import datetime
from typing import Any

import streamlit as st

from console import kept_drafts, navigation, sale_draft, sale_steps, session, wording, zones
from console.sale_actions import EDITABLE, EDITORS, refusal
from console.sale_draft import SaleDraft
from console.session import Operator
from console.views import parts
from console.views.steps import form as forms
from console.views.steps import page, review, rules, units, what, when
from console.views.steps.form import Form

FROM_PARAM = "from"
STEP_PARAM = "step"
_DRAW = {"what": what.draw, "when": when.draw, "units": units.draw, "rules": rules.draw, "page": page.draw}


def new_page() -> None:
    st.title("New sale", anchor=False)
    why_not = refusal(session.operator().role, EDITORS)
    skus = session.read("/operator/skus")["skus"]
    if not skus:
        parts.empty("First a product", "A sale sells products. Add the first one under **Products**, then come back.")
        navigation.link("products", "To the products")
        return
    scope = "sale: create"
    kept_as = _begin()
    form = forms.enter("new", "what", st.session_state["new-begun"], skus, scope=scope)
    _say_kept(form, kept_as, "Start afresh")
    steps = st.container(horizontal=True, key=form.key("steps"), gap="small")
    _card(form)
    forms.hold(form, kept_as, None)
    _stepper(steps, form, saved=False)
    with st.container(horizontal=True):
        goes_on = parts.action_button("Save and go on", scope, why_not=why_not, type="primary")
        leaves = parts.action_button("Save as draft", scope, why_not=why_not, other="leave")
    parts.show_problem(scope)
    st.caption("A draft is yours alone: nobody sees it until you schedule it.")
    if not goes_on and not leaves:
        return
    if form.passes() and not form.errors():
        body = sale_draft.body(form.draft)
        reply = parts.perform(scope, "POST", "/operator/sales", body, done="Saved as a draft.")
        if reply is not None:
            kept_drafts.forget(kept_as)
            forms.forget("new")
            if leaves:
                navigation.go("sale", sale=reply.data["id"])
            navigation.go("edit-sale", sale=reply.data["id"], step="when")
    st.rerun()


def _begin() -> str:
    """Put what the form begins with into the session: what was typed before a reload, the sale that is repeated, or
    a new one. Returns the name under which it is kept."""
    today = datetime.now(zones.zone(st.context.timezone or "UTC")).date()
    repeated = st.query_params.get(FROM_PARAM, "")
    kept_as = f"new:{repeated}" if repeated else "new"
    if st.session_state.get("new-repeats") == repeated:
        return kept_as
    forms.forget("new")
    if repeated:
        fresh = sale_draft.duplicate(session.read(f"/operator/sales/{repeated}"), today)
    else:
        fresh = sale_draft.fresh(today)
        if st.context.timezone in zones.names():
            fresh.time_zone = st.context.timezone
    kept = kept_drafts.recall(kept_as).draft
    st.session_state["new-repeats"] = repeated
    st.session_state["new-untouched"] = fresh
    st.session_state["new-begun"] = kept or fresh
    st.session_state["new-recalled"] = kept is not None
    return kept_as


def edit_page() -> None:
    sale_id = navigation.sale_id()
    if not sale_id:
        navigation.go("sales")
    prefix, scope = f"edit-{sale_id}", f"sale {sale_id}: edit"
    sale, etag = _opened(prefix)
    st.title("Edit sale" if sale["status"] != "draft" else "Set up the sale", anchor=False)
    navigation.link("sale", f"← {wording.literal(sale['title'])}", sale=sale_id)
    if sale["status"] not in EDITABLE:
        st.warning(f"A sale that is {wording.status(sale['status']).lower()} is changed by actions on its own page.")
        return
    me = session.operator()
    stored = sale_draft.from_sale(sale)
    step = sale_steps.step(st.query_params.get(STEP_PARAM, "")).name
    form = forms.enter(
        prefix, step, st.session_state[f"{prefix}-begun"], session.read("/operator/skus")["skus"],
        was=stored, sale=sale, scope=scope,
    )  # fmt: skip
    if st.session_state.get(f"{prefix}-recalled"):
        st.info("What you had typed and not saved is still here.")
    steps = st.container(horizontal=True, key=form.key("steps"), gap="small")
    if step == "review":
        review.draw(form, me)
    else:
        _card(form)
    forms.hold(form, prefix, (sale, etag))
    _stepper(steps, form, saved=True)
    _save(form, scope, me, etag)


def _opened(prefix: str) -> tuple[dict[str, Any], str | None]:
    """The version that was opened, kept while the form is: a newer one that arrives meanwhile must lead to 412, not
    be overwritten with the If-Match of the moment."""
    opened: tuple[dict[str, Any], str | None] | None = st.session_state.get(f"{prefix}-opened")
    if opened is None:
        kept = kept_drafts.recall(prefix)
        begun: SaleDraft | None = kept.draft
        opened = kept.opened
        if begun is None or opened is None:
            reply = session.read_reply(f"/operator/sales/{navigation.sale_id()}")
            opened = (reply.data, reply.etag)
            begun = sale_draft.from_sale(reply.data)
        else:
            st.session_state[f"{prefix}-recalled"] = True
        st.session_state[f"{prefix}-opened"] = opened
        st.session_state[f"{prefix}-begun"] = begun
    return opened


def _card(form: Form) -> None:
    """The step that is open, with its errors."""
    step = sale_steps.step(form.step)
    with st.container(key=f"card-{form.prefix}-{step.name}", border=True):
        st.subheader(step.title, anchor=False)
        st.caption(step.asks)
        _DRAW[step.name](form)
    form.show_errors()


def _stepper(place: Any, form: Form, *, saved: bool) -> None:
    """All steps in a row: where one is, which are in order, and the way to each once there is a draft.

    It stands above the fields and is drawn after them: only then it is known what they hold.
    """
    errors = form.errors()
    with place:
        for number, step in enumerate(sale_steps.STEPS, 1):
            here = step.name == form.step
            wrong = step.name != "review" and sale_steps.within(errors, step.name)
            mark = "" if not saved or step.name == "review" else " !" if wrong else " ✓"
            if st.button(
                f"{number}. {step.title}{mark}",
                key=form.key(f"go-{step.name}"),
                type="secondary" if here else "tertiary",
                disabled=not saved and not here,
                help=None if saved else "Save this step first.",
            ):
                st.query_params[STEP_PARAM] = step.name
                st.rerun()


def _save(form: Form, scope: str, me: Operator, etag: str | None) -> None:
    """The buttons under a step of a stored sale, and what they do."""
    why_not = refusal(me.role, EDITORS)
    last = form.step == "review"
    changed = form.unsaved()
    with st.container(horizontal=True):
        goes_on = not last and parts.action_button("Save and go on", scope, why_not=why_not, other="on", type="primary")
        idle = "Nothing has been changed." if last and not changed else ""
        leaves = parts.action_button("Save changes", scope, why_not=why_not or idle)
        reloads = st.button("Load the current version", key=form.key("reload"),
                            help="Drop what is not saved and begin with the sale as it is now.")  # fmt: skip
    parts.show_problem(scope)
    if reloads:
        kept_drafts.forget(form.prefix)
        forms.forget(form.prefix)
        st.rerun()
    if not goes_on and not leaves:
        return
    if form.passes() and (not changed or _patch(form, scope, changed, etag)):
        if leaves:
            if not changed:
                parts.flash("Nothing was changed.")
            _leave(form)
        st.query_params[STEP_PARAM] = sale_steps.after(form.step)
    st.rerun()


def _patch(form: Form, scope: str, changed: dict[str, Any], etag: str | None) -> bool:
    """Save what differs; the form goes on from the version that this makes."""
    path = f"/operator/sales/{navigation.sale_id()}"
    reply = parts.perform(scope, "PATCH", path, changed, done="Saved.", if_match=etag)
    if reply is None:
        return False
    st.session_state[form.key("opened")] = (reply.data, reply.etag)
    st.session_state.pop(form.key("recalled"), None)
    if form.errors():  # in other steps: what they hold stays behind, with the version it now belongs to
        kept_drafts.keep(form.prefix, form.draft, (reply.data, reply.etag))
    else:
        kept_drafts.forget(form.prefix)
    return True


def _leave(form: Form) -> None:
    """To the sale. What could not be saved stays in the form."""
    sale_id = navigation.sale_id()
    if not form.errors():
        kept_drafts.forget(form.prefix)
    forms.forget(form.prefix)
    navigation.go("sale", sale=sale_id)


def _say_kept(form: Form, kept_as: str, label: str) -> None:
    """That the form begins with what was typed before, and the way to begin anew."""
    if not st.session_state.get(form.key("recalled")):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info("What you had typed is still here.")
        if st.button(label, key=form.key("afresh")):
            kept_drafts.forget(kept_as)
            forms.forget("new")
            st.rerun()
