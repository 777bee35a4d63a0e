"""Settings, messages: how they go out, what they say, and a try of each channel."""

import secrets
from typing import Any

import streamlit as st

from console import session, wording
from console.errors import ApiError, Unreachable
from console.intents import Intents
from console.sale_actions import refusal
from console.session import Operator
from console.views import parts

OWNERS = frozenset({"owner"})
AUDIENCES = {
    "team": "Our team: a copy, to a chat, a telephone or a web hook",
    "shoppers": "Shoppers: by our own mail server",
}
ADDRESS_HELP = (
    "An apprise address. Mail: mailtos://user:password@mail.example.org?from=shop@example.org. "
    "Slack: slack://token. A web hook: jsons://hooks.example.org/orders. SMS: twilio://…, vonage://…. "
    "It is stored encrypted and never shown again."
)


def draw(me: Operator) -> None:
    """The tab."""
    why_not = refusal(me.role, OWNERS)
    platform = session.read("/operator/channel")
    own = session.read("/operator/channels")
    kinds = [one["kind"] for one in platform["templates"] if one["kind"] != "sign_in_code"]
    with st.container(key="card-channel", border=True):
        st.subheader("How messages go out", anchor=False)
        _platform(platform, own["channels"], why_not)
        for channel in own["channels"]:
            _channel(channel, why_not)
        _add(own["services"], kinds, why_not)
    with st.container(key="card-templates", border=True):
        st.subheader("What shoppers read", anchor=False)
        _words(platform, why_not)


def _platform(platform: dict[str, Any], own: list[dict[str, Any]], why_not: str) -> None:
    if any(one["audience"] == "shoppers" for one in own):
        st.markdown(
            "Messages about orders go by your own mail server. :gray[Sign-in codes go by the platform's channel.]"
        )
    elif platform["configured"]:
        st.markdown(":green[**A channel is configured.**] :gray[Its address is part of the platform's settings.]")
    else:
        st.markdown(
            ":orange[**No channel is configured.**] :gray[Messages wait until there is one: add one to shoppers "
            "here, or whoever runs the platform sets STAMPEDE_NOTIFY_EMAIL_URL.]"
        )
    if platform["configured"]:
        _trial("channel: test", "/operator/channel/test", why_not, recipient=True)


def _trial(scope: str, path: str, why_not: str, *, recipient: bool) -> None:
    body = None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if recipient:
            address = st.text_input("Send a test to", key=f"{scope}-recipient", placeholder="you@example.org")
            body = {"recipient": (address or "").strip()}
        pressed = parts.action_button("Send test", scope, why_not=why_not)
    parts.show_problem(scope)
    told = st.session_state.pop(f"{scope}-told", "")
    if told:
        st.markdown(told)
    if pressed:
        reply = parts.perform(scope, "POST", path, body, done="Tried.")
        if reply is not None:
            st.session_state[f"{scope}-told"] = (
                ":green[It was taken.]" if reply.data["sent"]
                else f":red[It was not sent:] {wording.literal(reply.data.get('reason', ''), 300)}"
            )  # fmt: skip
        st.rerun()


def _channel(channel: dict[str, Any], why_not: str) -> None:
    with st.container(key=f"card-channel-{channel['id']}", border=True):
        to_shoppers = channel["audience"] == "shoppers"
        what = "every message to shoppers" if to_shoppers else ", ".join(wording.kind(one) for one in channel["kinds"])
        st.markdown(
            f"**{wording.literal(channel['name'])}** · {wording.literal(channel['service'])}  \n"
            f":gray[{wording.literal(what, 300)}]"
        )
        if channel["sent"] or channel["pending"] or channel["dead"]:
            words = f"{channel['sent']} sent, {channel['pending']} waiting, {channel['dead']} given up"
            st.caption(words)
        if channel.get("last_error"):
            st.markdown(f":orange[Last error:] {wording.literal(channel['last_error'], 300)}")
        _trial(f"channel {channel['id']}: test", f"/operator/channels/{channel['id']}/test", why_not,
               recipient=to_shoppers)  # fmt: skip
        scope = f"channel {channel['id']}: remove"
        with st.container(key=f"danger-channel-{channel['id']}"):
            pressed = parts.action_button("Take away", scope, why_not=why_not)
        parts.show_problem(scope)
        if pressed:
            parts.perform(scope, "DELETE", f"/operator/channels/{channel['id']}", None, done="Taken away.")
            st.rerun()


def _add(services: list[str], kinds: list[str], why_not: str) -> None:
    scope = "channel: add"
    number = st.session_state.setdefault("channel-form", 0)
    with st.expander("Add a channel"):
        audience = st.radio(
            "Who hears of it", list(AUDIENCES), key=f"channel-audience-{number}", format_func=AUDIENCES.__getitem__
        )
        # A form, because it takes what is typed as it is typed: see people.py.
        with st.form("channel-add", border=False):
            name = st.text_input("Name", key=f"channel-name-{number}", max_chars=80)
            url = st.text_input(
                "Address", key=f"channel-url-{number}", type="password", max_chars=1_000, help=ADDRESS_HELP
            )
            chosen = []
            if audience == "team":
                chosen = st.multiselect(
                    "Copies of", kinds, key=f"channel-kinds-{number}", format_func=wording.kind, default=kinds[:1]
                )
            pressed = st.form_submit_button(
                "Add", key=f"{scope}#{Intents(st.session_state).turn(scope)}", type="primary",
                disabled=bool(why_not), help=why_not or None,
            )  # fmt: skip
        st.caption(f"Offered: {', '.join(services)}.")
        parts.show_problem(scope)
    if pressed:
        body = {"name": name or "", "audience": audience, "url": url or "", "kinds": chosen}
        if parts.perform(scope, "POST", "/operator/channels", body, done="Added. Now send a test.") is not None:
            st.session_state["channel-form"] = number + 1
        st.rerun()


def _words(platform: dict[str, Any], why_not: str) -> None:
    previews = {one["kind"]: one for one in platform["templates"]}
    editable = {one["kind"]: one for one in session.read("/operator/templates")["templates"]}
    kind = st.selectbox("Message", list(previews), key="template", format_func=wording.kind)
    if kind not in editable:
        _read(previews[kind])
        st.caption("This message belongs to the platform, so its words cannot be changed here.")
        return
    if why_not:
        _read(previews[kind])
        st.caption(f"With the figures of an example order. {why_not}")
        return
    _edit(editable[kind])


def _read(message: dict[str, Any]) -> None:
    st.markdown(f"**{wording.literal(message['subject'])}**")
    st.code(message["body"], language=None, wrap_lines=True)


def _edit(words: dict[str, Any]) -> None:
    kind = words["kind"]
    turn = st.session_state.setdefault(f"words-turn-{kind}", 0)
    st.caption(
        "Your own words are sent."
        if words["own"]
        else "These are the platform's words. Change them, and they are yours."
    )
    left, right = st.columns(2)
    with left:
        subject = st.text_input("Subject", words["subject"], key=f"words-subject-{kind}-{turn}", max_chars=200)
        body = st.text_area("Text", words["body"], key=f"words-body-{kind}-{turn}", height=300, max_chars=20_000)
        names = ", ".join(f"`{{{one['name']}}}` {one['meaning']}" for one in words["placeholders"])
        st.caption(f"Placeholders: {names}.")
    typed = {"subject": subject or "", "body": body or ""}
    checked = _checked(kind, typed)
    with right:
        st.markdown(":gray[With the figures of an example order:]")
        for problem in checked["problems"]:
            label = "Subject" if problem["field"] == "subject" else "Text"
            st.markdown(f":red[{label}: {wording.literal(problem['message'], 300)}]")
        if "subject" in checked:
            _read(checked)
    changed = typed != {"subject": words["subject"], "body": words["body"]}
    path = f"/operator/templates/{kind}"
    with st.container(horizontal=True):
        why = "Correct what is marked first." if checked["problems"] else "" if changed else "Nothing was changed."
        save = parts.action_button("Save words", f"words {kind}: save", why_not=why, type="primary")
        reset = words["own"] and parts.action_button("Back to the platform's words", f"words {kind}: reset")
    parts.show_problem(f"words {kind}: save")
    parts.show_problem(f"words {kind}: reset")
    if save:
        parts.perform(f"words {kind}: save", "PUT", path, typed, done="Saved. The next message has these words.")
        st.rerun()
    if reset:
        if parts.perform(f"words {kind}: reset", "DELETE", path, None, done="The platform's words again.") is not None:
            st.session_state[f"words-turn-{kind}"] = turn + 1
        st.rerun()


def _checked(kind: str, typed: dict[str, str]) -> dict[str, Any]:
    """What the API says to the words as they are typed; it keeps nothing, so a press of anything may ask again."""
    try:
        reply = session.send(
            "POST", f"/operator/templates/{kind}/check", idempotency_key=secrets.token_hex(16), body=typed
        )
    except (ApiError, Unreachable) as error:
        parts.show_error(error)
        return {"problems": []}
    found: dict[str, Any] = reply.data
    return found
