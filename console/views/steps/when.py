"""When it opens and closes, on the clocks of the sale's own zone."""

import streamlit as st

from console import sale_draft, suggestions, wording, zones
from console.views.steps.form import Form


def draw(form: Form) -> None:
    names = list(zones.names())
    if form.base.time_zone not in names:
        names.insert(0, form.base.time_zone)
    form.draft.time_zone = st.selectbox(
        "Time zone", names, index=names.index(form.base.time_zone), key=form.key("zone"),
        help="Times below are on the clocks of this zone; shoppers see their own.",
    )  # fmt: skip
    for word, name in (("Opens", "opens"), ("Closes", "closes")):
        day, clock = st.columns(2)
        with day:
            chosen = st.date_input(
                f"{word} on", value=getattr(form.base, f"{name}_on"), key=form.key(f"{name}-on"), format="YYYY-MM-DD"
            )
            setattr(form.draft, f"{name}_on", chosen)
        with clock:
            typed = st.text_input(
                f"{word} at", value=getattr(form.base, f"{name}_clock"), key=form.key(f"{name}-at"),
                help="Hours and minutes, and seconds if you like: 20:00:05.",
            )  # fmt: skip
            setattr(form.draft, f"{name}_clock", typed or "")
        form.place_for(f"{name}_at")
    opens, closes, wrong = sale_draft.window(form.draft)
    if not wrong and opens and closes:
        _say_window(opens, closes)
    if form.sale is None or form.sale["status"] == "draft":
        st.caption(suggestions.WHEN)


def _say_window(opens: zones.Moment, closes: zones.Moment) -> None:
    """The window as the machines see it, with a word about the night on which the clocks go back."""
    length = wording.duration((closes.utc - opens.utc).total_seconds())
    st.markdown(f"Open for **{length}**: {opens.utc:%Y-%m-%d %H:%M:%S} to {closes.utc:%Y-%m-%d %H:%M:%S} UTC.")
    for word, moment in (("opening", opens), ("closing", closes)):
        if moment.ambiguous:
            st.markdown(f":orange[The {word} time comes twice that night; the first is taken.]")
