"""What waits for a decision in one sale: each entry in words, sent again where that helps, or settled with a reason."""

from typing import Any

import streamlit as st

from console import letters, navigation, session, wording, zones
from console.letters import Letter
from console.sale_actions import EDITORS, refusal
from console.views import parts

REASON_LIMIT = 500


def show(sale: dict[str, Any]) -> None:
    """Every open dead letter of the sale, oldest first; nothing at all when there is none."""
    found = session.read("/operator/dead-letters", sale_id=sale["id"])["dead_letters"]
    if not found:
        return
    number = f"{len(found)} entries wait" if len(found) > 1 else "One entry waits"
    st.subheader(f"{number} for a decision", anchor=False)
    for one in found:
        _letter(sale, one)


def _letter(sale: dict[str, Any], stored: dict[str, Any]) -> None:
    words = letters.of(stored)
    at = zones.reading(stored["created_at"], sale["time_zone"])
    with st.container(key=f"card-letter-{stored['id']}", border=True):
        st.markdown(
            f":orange[**{wording.literal(words.what)}**] :gray[· {at}]"
            f"  \n{wording.literal(words.meaning, 400)}  \n**What to do:** {wording.literal(words.advice, 400)}"
        )
        st.markdown(f":gray[{wording.literal(words.error, 400)}  \n{wording.literal(words.facts, 400)}]")
        if words.order:
            navigation.link("sale", "Look for its order →", sale=sale["id"], tab="Orders", q=words.order)
        _settle(stored["id"], words)


def _settle(letter_id: str, words: Letter) -> None:
    """Send again, and the note that a person has dealt with it: the API asks for a reason and records both."""
    why_not = refusal(session.operator().role, EDITORS)
    resend, resolve = f"letter {letter_id}: resend", f"letter {letter_id}: resolve"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        reason = st.text_input("What was done about it", key=f"{resolve}-reason", max_chars=REASON_LIMIT,
                               placeholder="Recorded with your name; auditors read it.")  # fmt: skip
        settled = parts.action_button("Mark as dealt with", resolve, why_not=why_not, once=True)
        again = bool(words.resend) and parts.action_button("Send again", resend, why_not=why_not, once=True)
    complaint = st.session_state.pop(f"{resolve}-complaint", "")
    if complaint:
        st.markdown(f":red[{complaint}]")
    parts.show_problem(resolve)
    parts.show_problem(resend)
    if again:
        path = f"/operator/notifications/{words.resend}/resend"
        parts.perform(resend, "POST", path, None, done="It is on its way. Mark the entry when it has arrived.")
        st.rerun()
    if settled:
        if not (reason or "").strip():
            st.session_state[f"{resolve}-complaint"] = "Say what was done; it is recorded."
        else:
            path = f"/operator/dead-letters/{letter_id}/resolve"
            parts.perform(resolve, "POST", path, {"reason": (reason or "").strip()}, done="Noted.")
        st.rerun()
