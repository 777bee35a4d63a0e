"""A product's pictures: sent, described, put in order, taken away."""

from collections.abc import Iterable
from html import escape
from pathlib import PurePath
from typing import Any

import streamlit as st

from console import session, wording
from console.errors import ApiError
from console.thumbnails import thumbnail_href
from console.views import parts

MEDIA_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
PICTURES_MAX = 8
UPLOAD_MAX_MB = 10
ALT_LIMIT = 300
_SAYS = {
    "TOO_LARGE": f"The file is larger than {UPLOAD_MAX_MB} MB: save it smaller and choose it again.",
    "UNSUPPORTED_MEDIA_TYPE": "Send a JPEG, a PNG or a WebP picture.",
    "CONFLICT": f"A product has at most {PICTURES_MAX} pictures: take one away first.",
}


def card(product: dict[str, Any], why_not: str) -> None:
    """All about the pictures of one product."""
    path = f"/operator/skus/{product['id']}/pictures"
    pictures = session.read(path)["pictures"]
    with st.container(key="card-pictures", border=True):
        st.subheader(f"Pictures of {wording.literal(product['sku'])}", anchor=False)
        st.caption("The page shows them in this order; the first one is on the list of sales and on shared links, too.")
        for index, picture in enumerate(pictures):
            _row(path, product["id"], picture, index, len(pictures), why_not)
        if not pictures:
            st.markdown(":gray[No pictures yet. The page works without, and sells better with one.]")
        if len(pictures) < PICTURES_MAX:
            _add(path, product["id"], why_not)
        else:
            st.caption(_SAYS["CONFLICT"])


def strip(pictures: Iterable[tuple[str, str]]) -> None:
    """Small pictures in a row: addresses of ours and what they show."""
    # Addresses are percent-encoded by `console.thumbnails`; words are escaped here.
    shown = (f'<img src="{href}" alt="{escape(alt, quote=True)}" loading="lazy">' for href, alt in pictures)
    st.html(f'<div class="sp-pictures">{"".join(shown)}</div>')


def _row(path: str, sku_id: str, picture: dict[str, Any], index: int, count: int, why_not: str) -> None:
    """One picture: what it shows, its place, and taking it away."""
    key, scope = f"picture-{picture['id']}", f"picture {picture['id']}: change"
    one = f"{path}/{picture['id']}"
    with st.container(key=f"{key}-row"):
        image, words, buttons = st.columns([1, 3, 2.2], vertical_alignment="center")
        with image:
            strip([(thumbnail_href(sku_id, picture["id"]), picture["alt"])])
        with words:
            alt = st.text_input("What it shows", value=picture["alt"], key=f"{key}-alt", max_chars=ALT_LIMIT)
        with buttons, st.container(horizontal=True):
            if parts.action_button(
                "Earlier", scope, other="up", why_not=why_not or ("It is the first." * (index == 0))
            ):
                _change(scope, one, {"position": index - 1}, "Moved.")
            last = "It is the last." * (index == count - 1)
            if parts.action_button("Later", scope, other="down", why_not=why_not or last):
                _change(scope, one, {"position": index + 1}, "Moved.")
            if alt.strip() != picture["alt"] and parts.action_button("Save words", scope, why_not=why_not):
                _change(scope, one, {"alt": alt.strip()}, "Saved.")
            _remove(one, picture, why_not)
        error = parts.problem(scope)
        if error is not None:
            _say(error, ("alt", "position"))


def _change(scope: str, path: str, body: dict[str, Any], done: str) -> None:
    parts.perform(scope, "PATCH", path, body, done=done)
    st.rerun()


def _remove(path: str, picture: dict[str, Any], why_not: str) -> None:
    """Taking a picture away is asked about first: its file is not kept anywhere else."""
    scope = f"picture {picture['id']}: remove"
    with st.popover("Remove …", disabled=bool(why_not), help=why_not or None):
        st.markdown("It is taken off every page that shows it, and cannot be brought back from here.")
        if parts.action_button("Remove picture", scope, why_not=why_not):
            parts.perform(scope, "DELETE", path, None, done="Picture removed.")
            st.rerun()
        parts.show_problem(scope)


def _add(path: str, sku_id: str, why_not: str) -> None:
    scope = f"product {sku_id}: picture"
    # A number in the keys: raising it after success gives empty fields, which setting values cannot.
    number = st.session_state.setdefault(f"{scope}-number", 0)
    st.markdown("**Add a picture**")
    choose, describe = st.columns(2)
    with choose:
        file = st.file_uploader(
            f"JPEG, PNG or WebP, at most {UPLOAD_MAX_MB} MB, at least 200 pixels each way",
            type=[ending.removeprefix(".") for ending in MEDIA_TYPES], key=f"{scope}-file-{number}",
            max_upload_size=UPLOAD_MAX_MB, disabled=bool(why_not),
        )  # fmt: skip
        complaint = st.empty()
    with describe:
        alt = st.text_input(
            "What it shows", key=f"{scope}-alt-{number}", max_chars=ALT_LIMIT,
            placeholder="The parka in ember, from the front",
            help="Read aloud to those who cannot see it, and shown where the picture does not load.",
        )  # fmt: skip
        wanted = st.empty()
        st.caption("A few words for those who cannot see it. Not “picture of”, and not the product's name again.")
    # Place and time a telephone writes into a picture are gone with everything else but its pixels.
    pressed = parts.action_button("Add picture", scope, why_not=why_not, type="primary")
    missing = st.session_state.get(f"{scope}-missing", "")
    if missing == "file" and file is None:
        complaint.markdown(":red[Choose a file first.]")
    if missing == "alt" and not (alt or "").strip():
        wanted.markdown(":red[Say what the picture shows.]")
    error = parts.problem(scope)
    if error is not None:
        with complaint.container():
            _say(error, ("picture",))
        for one in error.fields if isinstance(error, ApiError) else ():
            if one.field.rpartition(".")[2] == "alt":
                wanted.markdown(f":red[{wording.literal(one.message, 300)}]")
    if not pressed:
        return
    missing = "file" if file is None else "" if (alt or "").strip() else "alt"
    st.session_state[f"{scope}-missing"] = missing
    if file is not None and not missing:
        kind = MEDIA_TYPES.get(PurePath(file.name).suffix.lower(), "application/octet-stream")
        sent = session.File(file.getvalue(), kind)
        body = {"alt": (alt or "").strip()}
        if parts.perform(scope, "POST", path, body, done="Picture added.", file=sent) is not None:
            st.session_state[f"{scope}-number"] = number + 1
    st.rerun()


def _say(error: object, fields: tuple[str, ...]) -> None:
    """What the API says of a picture, in a line beside it; anything else as everywhere."""
    if isinstance(error, ApiError):
        said = [one.message for one in error.fields if one.field.rpartition(".")[2] in fields]
        if error.code in _SAYS:
            said = [_SAYS[error.code]]
        if said:
            st.markdown("  \n".join(f":red[{wording.literal(text, 300)}]" for text in said))
            return
        if error.fields:
            return  # said at its own field
    parts.show_error(error)  # type: ignore[arg-type]
