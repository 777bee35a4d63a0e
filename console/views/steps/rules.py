"""The rules: how fast, by which links, paid or not, and what follows a failure."""

from typing import Any

import streamlit as st

from console import admission, suggestions
from console.views import parts
from console.views.steps.form import Form

RECOVERY = {
    "automatic": "Go on by itself, once every unit is accounted for",
    "manual": "Wait until somebody resumes it",
}
DURABILITY = {
    "everysec": "At once: the usual choice",
    "acknowledged": "When a second store has it, too: slower, and safer",
}


def draw(form: Form) -> None:
    _throttle(form)
    _payment(form)
    _links(form)
    with st.expander("Preparation, and when something fails"):
        _failing(form)


def _throttle(form: Form) -> None:
    st.markdown("**Throttle**")
    units = sum(item.allotment for item in form.draft.items)
    suggested = suggestions.pace(units)
    again = st.session_state.setdefault(form.key("paced"), 0)
    first = st.columns(4)
    with first[0]:
        form.draft.rate_per_s = parts.rate_input(
            form.base.rate_per_s,
            form.key("rate_per_s" if not again else f"rate_per_s-{again}"),
            why="Attempts let through each second; 0.5 is one every two.",
        )
        form.place_for("throttle.rate_per_s")
    _number(form, first[1], "Burst", "burst", 1, "How many may come at once after a quiet moment.", "throttle.burst",
            suffix=f"-{again}" if again else "")  # fmt: skip
    _number(
        form, first[2], "Wait budget, ms", "wait_budget_ms", 0,
        "An attempt that would get through within this time is held, not refused.", "throttle.wait_budget_ms",
    )  # fmt: skip
    _number(form, first[3], "Repeat window, ms", "repeat_window_ms", 0,
            f"A shopper gets one try in this time; more gain nothing. {suggestions.REPEAT}",
            "throttle.repeat_window_ms")  # fmt: skip
    st.markdown(admission.pace(form.draft.rate_per_s, form.draft.burst, units))
    if (form.draft.rate_per_s, form.draft.burst) == (suggested.rate_per_s, suggested.burst):
        return
    st.caption(f"Suggested. {suggested.why}")
    if st.button("Use the suggested pace", key=form.key("pace")):
        form.draft.rate_per_s, form.draft.burst = suggested.rate_per_s, suggested.burst
        form.base.rate_per_s, form.base.burst = suggested.rate_per_s, suggested.burst
        # Other keys: a widget that stands keeps what was typed, whatever its default becomes.
        st.session_state[form.key("paced")] = again + 1
        st.session_state[form.key("draft")] = form.draft
        st.rerun()


def _payment(form: Form) -> None:
    st.markdown("**Payment**")
    form.draft.payment_required = st.toggle(
        "Payment required", value=form.base.payment_required, key=form.key("payment"),
        help="A unit is held until it is paid or the hold ends; then it goes back on sale.",
    )  # fmt: skip
    if form.draft.payment_required:
        _number(form, st.columns(4)[0], "Hold, s", "hold_s", 1, "How long a shopper has to pay.", "payment.hold_s")
        st.caption(suggestions.HOLD)
    else:
        st.caption("Without payment a unit is sold the moment it is reserved: for raffles, tickets and pick-up.")


def _links(form: Form) -> None:
    st.markdown("**Links**")
    places = st.columns(4)
    _number(form, places[0], "Link lasts, s", "ttl_s", 1,
            f"How long a shopper's secret link works. {suggestions.LINKS}", "link.ttl_s")  # fmt: skip
    _number(form, places[1], "Link overlap, s", "overlap_s", 0, "Old links work this long after a rotation.",
            "link.overlap_s")  # fmt: skip


def _failing(form: Form) -> None:
    _number(form, st.columns(4)[0], "Prepare before, s", "lead_s", 0,
            f"Stock, links and page are ready this long before. {suggestions.LEAD}")  # fmt: skip
    form.draft.recovery = _choice(form, "After a failure of the gate the sale is to", "recovery", RECOVERY)
    form.draft.durability = _choice(form, "A shopper is told “it is yours”", "durability", DURABILITY)


def _choice(form: Form, label: str, name: str, words: dict[str, str]) -> str:
    options = list(words)
    chosen = st.radio(
        label, options, index=options.index(getattr(form.base, name)), format_func=words.__getitem__,
        key=form.key(name),
    )  # fmt: skip
    form.place_for(name)
    return str(chosen)


def _number(
    form: Form, place: Any, label: str, name: str, low: int, why: str, error: str = "", suffix: str = ""
) -> None:
    value = place.number_input(
        label, value=int(getattr(form.base, name)), min_value=low, step=1, key=form.key(f"{name}{suffix}"), help=why
    )
    setattr(form.draft, name, int(value))
    with place:
        form.place_for(error or name)
