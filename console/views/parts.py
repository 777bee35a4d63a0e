"""Parts the pages share: actions, messages, errors, cards."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import streamlit as st

from console import session, wording
from console.client import Method, Reply
from console.errors import ApiError, SessionEnded, Unreachable, explain
from console.guard import SIGN_IN_PATH
from console.intents import Intents
from console.palette import Mode, roles
from console.sale_draft import RATE_MIN_PER_S, THROTTLE_FIELDS
from console.settings import BASE_PATH

ASSETS = Path(__file__).parent.parent / "assets"
_FLASH = "parts.flash"
_PROBLEMS = "parts.problems"
_ENDED = "parts.session-ended"

STATUS_COLOURS = {
    "live": "red", "paused": "orange", "scheduled": "gray", "draft": "gray",
    "ended": "gray", "reconciled": "green", "cancelled": "gray",
}  # fmt: skip


def mode() -> Mode:
    """The theme this browser shows, as far as it has said."""
    return "dark" if st.context.theme.type == "dark" else "light"


def style() -> None:
    """The few rules the theme file has no option for. The values are constants of ours."""
    colours = "".join(f"--sp-{name}:{value};" for name, value in roles(mode()).items())
    st.html(f"<style>:root{{{colours}}}</style>")
    st.html(ASSETS / "console.css")


@contextmanager
def guarded(*, fragment: bool = False) -> Iterator[None]:
    """Turn what the API refuses into words. Used around pages and inside each fragment, which runs
    on its own after the page is done."""
    try:
        yield
    except SessionEnded:
        if fragment and not st.session_state.get(_ENDED):
            # Once, so that the whole page gives way to the sign-in and not one card of it.
            st.session_state[_ENDED] = True
            st.rerun(scope="app")
        # Not followed by st.stop(): a run that is stopped keeps the fragments of the run before, and
        # they would go on drawing into places that are no longer there.
        sign_in_again()
    except (ApiError, Unreachable) as error:
        show_error(error)


def sign_in_again() -> None:
    """The session has ended: say so, and lead to the sign-in and back to this address."""
    path = urlsplit(st.context.url or "").path
    here = path if path.startswith(f"{BASE_PATH}/") else f"{BASE_PATH}/"
    query = urlencode(st.query_params.to_dict())
    target = quote(f"{here}?{query}" if query else here, safe="")
    with st.container(key="card-signed-out", border=True):
        st.subheader("Your session has ended", anchor=False)
        st.write("Nothing was lost. Sign in again to go on where you were.")
        # The only way to leave Streamlit in the same tab; the address is percent-encoded.
        st.html(f'<a class="sp-button" href="{SIGN_IN_PATH}?why=ended&amp;next={target}" target="_self">Sign in</a>')


def show_error(error: ApiError | Unreachable) -> None:
    """An error in words: what happened, what to do, and the code for whoever helps."""
    words = explain(error)
    lines = [wording.literal(words.advice, 400)]
    if isinstance(error, ApiError):
        if error.detail and error.detail != words.advice:
            lines.append(wording.literal(error.detail, 400))
        lines += [
            f"- {wording.literal(c.get('detail') or c.get('name', ''))}"
            for c in error.extra.get("checks", [])
            if isinstance(c, dict) and not c.get("ok")
        ]
        lines += [f"- {wording.literal(f'{f.field}: {f.message}', 300)}" for f in error.fields]
        lines.append(f":gray[{wording.literal(error.code)}]")
    st.error("\n\n".join(line for line in lines if line), title=words.what)


def download_links(*links: tuple[str, str]) -> None:
    """Links that download in this tab; Streamlit's own link button would open an empty one first.

    Labels are words of ours, addresses percent-encoded by `console.downloads`.
    """
    anchors = (f'<a class="sp-button sp-quiet" href="{href}" download>{label}</a>' for label, href in links)
    st.html(f'<div class="sp-row">{"".join(anchors)}</div>')


def flash(text: str) -> None:
    """Say `text` once, in the next run."""
    st.session_state.setdefault(_FLASH, []).append(text)


def show_flashes() -> None:
    for text in st.session_state.pop(_FLASH, []):
        st.toast(wording.literal(text), icon=":material/check_circle:")


def show_problem(scope: str) -> None:
    """What went wrong at the last try of the action `scope`, until it is tried again."""
    error = st.session_state.get(_PROBLEMS, {}).get(scope)
    if error is not None:
        show_error(error)


def problem(scope: str) -> ApiError | Unreachable | None:
    """The error of the last try of `scope`, for forms that put it beside their fields."""
    found: ApiError | Unreachable | None = st.session_state.get(_PROBLEMS, {}).get(scope)
    return found


def action_button(
    label: str, scope: str, *, why_not: str = "", other: str = "", once: bool = False, **options: Any
) -> bool:
    """A button that acts. Its key holds the turn of its scope, so a settled press cannot repeat.

    `once` is for what stays on the screen when it is done, and is seldom meant twice in a second.

    `other` names a second button of the same action, which goes elsewhere when it is done.
    """
    intents = Intents(st.session_state)
    if why_not:
        options["help"] = why_not
    pressed = st.button(label, key=f"{scope}#{intents.turn(scope)}{other}", disabled=bool(why_not), **options)
    return pressed and not (once and intents.rests(scope))


def perform(
    scope: str,
    method: Method,
    path: str,
    body: Mapping[str, Any] | None,
    *,
    done: str,
    if_match: str | None = None,
    file: session.File | None = None,
) -> Reply | None:
    """Send one intended action and remember how it ended; None when it was refused or is open.

    No element may be drawn between the answer and `settle`: Streamlit interrupts a run at its
    elements, and the second half of a double click would find the turn still open.
    """
    intents = Intents(st.session_state)
    problems = st.session_state.setdefault(_PROBLEMS, {})
    problems.pop(scope, None)
    named = {**(body or {}), "sha256": sha256(file.content).hexdigest()} if file is not None else body
    key = intents.key(scope, method, path, named)
    try:
        reply = session.send(method, path, idempotency_key=key, body=body, if_match=if_match, file=file)
    except SessionEnded:
        raise
    except Unreachable as error:
        problems[scope] = error
        return None
    except ApiError as error:
        if error.settled:
            intents.settle(scope)
        problems[scope] = error
        return None
    intents.settle(scope)
    if done:
        flash(done)
    return reply


def badge(status: str) -> None:
    """A sale's status as a badge; the word carries the meaning, the colour repeats it."""
    label = wording.status(status)
    st.badge(label.upper() if status == "live" else label, color=STATUS_COLOURS.get(status, "gray"))  # type: ignore[arg-type]


def empty(title: str, text: str) -> None:
    """An empty state that teaches what comes here and how."""
    with st.container(key=f"card-empty-{title.lower().replace(' ', '-')}", border=True):
        st.subheader(title, anchor=False)
        st.markdown(f":gray[{text}]")


def asked_for(param: str, key: str) -> None:
    """Put what the address asks for into the search field `key`, once: what is typed afterwards stays.

    Called before the field is drawn. The address keeps it, so that a reload asks for the same.
    """
    asked = st.query_params.get(param, "")
    if asked and st.session_state.get(f"{key}-asked") != asked:
        st.session_state[f"{key}-asked"] = asked
        st.session_state[key] = asked


def trail(name: str, query: tuple[str, ...]) -> list[str]:
    """The cursors that led to the page shown of the list `name`; another query starts at the newest again."""
    kept = st.session_state.get(f"{name}-trail")
    if kept is None or kept[0] != query:
        kept = (query, [])
        st.session_state[f"{name}-trail"] = kept
    found: list[str] = kept[1]
    return found


def pager(name: str, cursors: list[str], next_cursor: object) -> None:
    """Buttons to newer and older pages; none for a list of one page."""
    if not cursors and not next_cursor:
        return
    with st.container(horizontal=True):
        if st.button("Newer", key=f"{name}-newer-{len(cursors)}", disabled=not cursors):
            cursors.pop()
            st.rerun()
        if st.button("Older", key=f"{name}-older-{len(cursors)}", disabled=not next_cursor):
            cursors.append(str(next_cursor))
            st.rerun()


def field_error(errors: Mapping[str, str], name: str) -> None:
    """The error of one field, under it."""
    if name in errors:
        st.markdown(f":red[{wording.literal(errors[name], 300)}]")


def rate_input(rate_per_s: float, key: str, why: str | None = None) -> float:
    """The field for a rate, which may be a fraction while every other number of ours is whole."""
    value = st.number_input(
        THROTTLE_FIELDS["rate_per_s"],
        min_value=RATE_MIN_PER_S,
        value=max(RATE_MIN_PER_S, float(rate_per_s)),
        step=1.0,
        format="%g",
        key=key,
        help=why,
    )
    return float(value)
