"""The last step: all terms once more, the page as shoppers will see it, and the way on."""

import streamlit as st

from console import navigation, sale_draft, sale_steps, suggestions, wording, zones
from console.sale_actions import ACTIONS, EDITORS, refusal
from console.sale_draft import SaleDraft
from console.session import Operator
from console.views import page_preview, parts
from console.views.steps import rules
from console.views.steps.form import Form


def draw(form: Form, me: Operator) -> None:
    assert form.sale is not None
    errors, unsaved = form.errors(), form.unsaved()
    left, right = st.columns([1, 1.25], gap="medium")
    with left, st.container(key=f"card-{form.prefix}-review", border=True):
        st.subheader("Review", anchor=False)
        for step in sale_steps.STEPS[:-1]:
            _terms(form, step, sale_steps.within(errors, step.name))
        _go(form, me, bool(errors), bool(unsaved))
    with right:
        page_preview.card(form.sale, me, waits="Save your changes first to see them here." if unsaved else "")


def _terms(form: Form, step: sale_steps.Step, wrong: dict[str, str]) -> None:
    """What was entered in one step, its errors, and the way back to it."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{step.title}**")
        if st.button("Change", key=form.key(f"change-{step.name}"), type="tertiary", help=f"Back to: {step.title}"):
            st.query_params["step"] = step.name
            st.rerun()
    lines = [*said(step.name, form.draft), *(f":red[{wording.literal(text, 300)}]" for text in wrong.values())]
    st.markdown("  \n".join(lines))


def said(step: str, draft: SaleDraft) -> list[str]:
    """The terms of one step in words, as Markdown lines."""
    if step == "what":
        return [
            f"{wording.literal(draft.title)} :gray[at /s/{wording.literal(draft.slug)}/]",
            *(f"{wording.literal(one.sku)}: {wording.literal(one.price)} {wording.literal(one.currency)}"
              for one in draft.items),
        ]  # fmt: skip
    if step == "when":
        opens, closes, wrong = sale_draft.window(draft)
        if wrong or opens is None or closes is None:
            return []
        return [f"{word} {zones.reading(zones.wire(one.utc), draft.time_zone)}"
                for word, one in (("Opens", opens), ("Closes", closes))]  # fmt: skip
    if step == "units":
        return [f"{wording.literal(one.sku)}: {wording.count(one.allotment)} units, "
                f"{one.per_shopper_limit} for each shopper" for one in draft.items]  # fmt: skip
    if step == "rules":
        return _rules(draft)
    words = draft.description.strip()
    return [
        f"{wording.count(len(words))} characters of description" if words else "The products' own descriptions",
        f"In {wording.literal(sale_draft.LANGUAGES[draft.language])}",
        "Asks where to deliver" if draft.delivery_required else "Does not ask where to deliver",
    ]


def _rules(draft: SaleDraft) -> list[str]:
    units = sum(item.allotment for item in draft.items)
    paid = f"Paid within {draft.hold_s} s" if draft.payment_required else "No payment"
    lines = [
        f"{wording.figure(draft.rate_per_s)} admitted a second, burst {wording.count(draft.burst)}",
        f"{paid}; links last {draft.ttl_s} s",
    ]
    if units <= draft.burst:
        pace = suggestions.pace(units)
        lines.append(
            f":orange[All {units:,} units fit into the first burst.] "
            f":gray[Suggested: {wording.figure(pace.rate_per_s)} a second, burst {pace.burst}.]"
        )
    if draft.recovery != "automatic":
        lines.append(f":gray[After a failure: {rules.RECOVERY[draft.recovery].lower()}]")
    return lines


def _go(form: Form, me: Operator, wrong: bool, unsaved: bool) -> None:
    """Schedule, when there is nothing left to do before."""
    assert form.sale is not None
    if form.sale["status"] != "draft":
        st.caption("It is scheduled. What you save is published by itself.")
        return
    action, scope = ACTIONS["schedule"], f"sale {form.sale['id']}: schedule"
    why_not = (
        refusal(me.role, EDITORS)
        or ("Mend what is marked first." if wrong else "")
        or ("Save your changes first." if unsaved else "")
    )
    st.divider()
    if parts.action_button("Schedule", scope, why_not=why_not, type="primary", width="stretch"):
        path = f"/operator/sales/{form.sale['id']}/schedule"
        if parts.perform(scope, "POST", path, {}, done=action.done) is not None:
            navigation.go("sale", sale=form.sale["id"])
        st.rerun()
    parts.show_problem(scope)
    st.caption(why_not or "It opens by itself at its second. Until then you can change all but its address, or cancel.")
    navigation.link("sale", "Leave it as a draft", sale=form.sale["id"])
