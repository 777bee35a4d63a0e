"""Whether the activity log is the one that was recorded, in words an auditor can stand for."""

from typing import Any

import streamlit as st

from console import session, wording, zones
from console.views import parts

DIGEST_CHARS = 64
_RESULT = "activity-check"
WORDS = {
    "altered": "it was changed after it was recorded, or stands at another place",
    "removed": "it was taken away",
    "added": "it stands in the log, but was never recorded by the platform",
    "cut": "the log ends before it: its end was cut off",
    "seal": "the end of the log is not as the platform sealed it",
    "marked": "the end of the log was once not as the platform had sealed it; what came after is whole",
    "forked": "the log goes on in another way than from the one you noted",
}


def activity_check(zone: str) -> None:
    """A card with a button that has the whole log read anew, and with what came of it."""
    with st.container(key="card-activity-check", border=True):
        st.subheader("Is this log complete?", anchor=False)
        st.caption(
            "Each line is chained to the one before it. A check reads all of them from the first one, and says where "
            "something was edited, deleted, inserted, put elsewhere or cut off."
        )
        with st.expander("Compare with a result you noted"):
            entries = st.number_input("Entries", min_value=0, value=0, step=1, key="activity-noted-entries")
            digest = st.text_input("Fingerprint", key="activity-noted-digest", max_chars=DIGEST_CHARS).strip().lower()
        if st.button("Check the whole log", key="activity-check-now"):
            noted: dict[str, Any] = {"entries": int(entries), "digest": digest} if entries and digest else {}
            st.session_state[_RESULT] = None
            with parts.guarded(), st.spinner("Reading the log …"):
                st.session_state[_RESULT] = session.read("/audit/activity/verify", **noted)
        found = st.session_state.get(_RESULT)
        if found is not None:
            _show(found, zone)


def _show(found: dict[str, Any], zone: str) -> None:
    at = zones.short(found["checked_at"], zone)
    head = found["head"]
    if found["verified"]:
        st.success(f"Every one of {wording.count(found['entries'])} entries is as it was recorded. Checked {at}.")
    else:
        st.error(
            f"{_sentence(found['first_broken'], zone)}\n\n{wording.count(found['entries'])} entries before it are as "
            f"they were recorded. Checked {at}. Keep a copy of the database, and ask who can write to it.",
            title="This log is not the one that was recorded",
        )
    st.caption("Note these two down somewhere else: they show later whether anything before them was taken back.")
    st.code(f"{head['entries']} entries\n{head['digest']}", language=None)


def _sentence(broken: dict[str, Any], zone: str) -> str:
    what = WORDS.get(broken["reason"], wording.literal(broken["reason"]))
    about = []
    if broken.get("kind"):
        about.append(wording.literal(wording.kind(broken["kind"])))
    if broken.get("at") or broken.get("since"):
        about.append(zones.short(broken.get("at") or broken["since"], zone))
    named = f" ({', '.join(about)})" if about else ""
    where = f"Entry {wording.count(broken['entry'])}" if broken.get("entry") else "The log"
    return f"{where}{named}: {what}."
