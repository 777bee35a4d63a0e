"""Settings: who may sign in and as what, and who is signed in; messages and defaults are tabs of their own."""

from typing import Any

import streamlit as st

from console import session, wording, zones
from console.intents import Intents
from console.sale_actions import refusal
from console.session import Operator
from console.views import defaults, messages, parts

OWNERS = frozenset({"owner"})
ROLES = ("owner", "operator", "auditor")
ROLE_HELP = {
    "owner": "does everything, and manages people",
    "operator": "makes and steers sales",
    "auditor": "reads everything, reconciles and signs off",
}
TABS = ("People", "Sessions", "Messages", "Defaults")


def page() -> None:
    me = session.operator()
    st.title("Settings", anchor=False)
    st.caption(f"{wording.literal(me.merchant_name)} · you are {wording.ROLE_WORDS.get(me.role, me.role).lower()}")
    tabs = dict(zip(TABS, st.tabs(list(TABS), on_change="rerun", key="settings-tab"), strict=True))
    drawn = (("People", _people), ("Sessions", _sessions), ("Messages", messages.draw), ("Defaults", defaults.draw))
    for name, draw in drawn:
        if tabs[name].open:
            with tabs[name], parts.guarded():
                draw(me)


def _people(me: Operator) -> None:
    zone = st.context.timezone or "UTC"
    people = session.read("/operator/operators")["operators"]
    st.dataframe(
        [
            {
                "E-mail": wording.plain(one["email"]),
                "Role": wording.ROLE_WORDS.get(one["role"], wording.plain(one["role"])),
                "May sign in": "no" if one["disabled"] else "yes",
                "Last signed in": zones.short(one.get("signed_in_at"), zone),
                "Since": zones.short(one["created_at"], zone),
            }
            for one in people
        ],
        hide_index=True,
        width="stretch",
        alt="People",
    )
    why_not = refusal(me.role, OWNERS)
    left, right = st.columns(2)
    with left, st.container(key="card-add-person", border=True):
        st.subheader("Add somebody", anchor=False)
        _add(why_not)
    with right, st.container(key="card-change-person", border=True):
        st.subheader("Change a role, or dismiss", anchor=False)
        _change(people, me, why_not)


def _role(key: str, index: int = 1) -> str:
    role = st.selectbox(
        "Role", ROLES, index=index, key=key,
        format_func=lambda one: f"{wording.ROLE_WORDS[one]}: {ROLE_HELP[one]}",
    )  # fmt: skip
    return str(role)


def _add(why_not: str) -> None:
    scope = "people: add"
    number = st.session_state.setdefault("people-form", 0)
    # A form, because it takes what is typed as it is typed: outside of one, Streamlit forgets a password that is
    # left by the keyboard, over its own "Show password" button.
    with st.form("people-add", border=False):
        email = st.text_input("E-mail", key=f"person-email-{number}", max_chars=254)
        role = _role(f"person-role-{number}")
        password = st.text_input(
            "First password", key=f"person-password-{number}", type="password", max_chars=256,
            help="Eight characters or more. Tell it by another way than e-mail.",
        )  # fmt: skip
        pressed = st.form_submit_button(
            "Add",
            key=f"{scope}#{Intents(st.session_state).turn(scope)}",
            type="primary",
            disabled=bool(why_not),
            help=why_not or None,
        )
    parts.show_problem(scope)
    if pressed:
        body = {"email": (email or "").strip(), "role": role, "password": password or ""}
        if parts.perform(scope, "POST", "/operator/operators", body, done="Added.") is not None:
            st.session_state["people-form"] = number + 1
        st.rerun()


def _change(people: list[dict[str, Any]], me: Operator, why_not: str) -> None:
    by_id = {one["id"]: one for one in people}
    chosen = st.selectbox(
        "Person", list(by_id), key="person-chosen", format_func=lambda i: wording.plain(by_id[i]["email"])
    )
    person = by_id[chosen]
    role = _role(f"person-new-role-{chosen}", ROLES.index(person["role"]))
    path = f"/operator/operators/{chosen}"
    st.caption("A change signs the person out everywhere, so that it holds at once. Somebody must stay owner.")
    with st.container(horizontal=True):
        save = parts.action_button("Save role", f"person {chosen}: role", why_not=why_not)
        verb, disabled = ("Let sign in again:", False) if person["disabled"] else ("Dismiss", True)
        # The label names the person: a press that comes before the choice has arrived falls on a button that is gone.
        label = f"{verb} {wording.literal(person['email'], 60)}"
        with st.container(key="danger-person" if disabled else "calm-person"):
            toggle = parts.action_button(label, f"person {chosen}: disabled", why_not=why_not)
    parts.show_problem(f"person {chosen}: role")
    parts.show_problem(f"person {chosen}: disabled")
    if save:
        parts.perform(f"person {chosen}: role", "PATCH", path, {"role": role}, done="Role saved.")
        st.rerun()
    if toggle:
        parts.perform(f"person {chosen}: disabled", "PATCH", path, {"disabled": disabled}, done="Done.")
        st.rerun()


def _sessions(me: Operator) -> None:
    if me.role not in OWNERS:
        parts.empty("Owners only", "Who is signed in, and from when, is shown to owners.")
        return
    zone = st.context.timezone or "UTC"
    for one in session.read("/operator/sessions")["sessions"]:
        with (
            st.container(key=f"card-session-{one['id']}", border=True),
            st.container(horizontal=True, vertical_alignment="center"),
        ):
            mine = " · **this one**" if one["current"] else ""
            st.markdown(
                f"**{wording.literal(one['email'])}**{mine}  \n:gray[signed in {zones.short(one['created_at'], zone)}, "
                f"ends by itself {zones.short(one['expires_at'], zone)}]"
            )
            scope = f"session {one['id']}: end"
            if not one["current"] and parts.action_button("Sign out", scope):
                parts.perform(scope, "POST", f"/operator/sessions/{one['id']}/end", None, done="Signed out.")
                st.rerun()
            parts.show_problem(scope)
    st.caption(f"Times in {zones.city(zone)}. To end your own session use **Sign out** at the side.")
