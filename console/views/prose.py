"""A field for a merchant's longer words, with the rendering that shoppers will see beside it."""

import streamlit as st

from console import wording
from console.errors import ApiError, Unreachable
from console.sale_draft import DESCRIPTION_LIMIT
from console.session import api_client, token

EXAMPLES = "**bold**, *italic*, # Heading, - list, [words](https://…), and tables of sizes."
RENDERED_LIMIT = 64


@st.cache_data(max_entries=RENDERED_LIMIT, show_spinner=False)
def _rendered(text: str, _bearer: str) -> str:
    """The API renders it with the page's own rules: what is left out here is left out there."""
    html: str = api_client().render(text, _bearer)
    return html


def field(label: str, value: str, key: str, *, height: int = 220, help_text: str | None = None) -> str:
    """The text area and, beside it, its words as the page shows them. At most `DESCRIPTION_LIMIT` characters."""
    write, read = st.columns(2)
    with write:
        text = st.text_area(
            label, value=value, key=key, height=height, max_chars=DESCRIPTION_LIMIT, help=help_text,
            placeholder="What is it made of, how does it fit, when is it sent?",
        )  # fmt: skip
        st.caption(f"Markdown: {wording.literal(EXAMPLES)}")
    with read:
        st.caption("As the page shows it")
        if not (text or "").strip():
            st.markdown(":gray[Nothing yet. The page does without.]")
            return text or ""
        try:
            st.html(f'<div class="sp-prose">{_rendered(text or "", token())}</div>')
        except (ApiError, Unreachable):
            st.markdown(":gray[It cannot be shown right now. What you typed is kept.]")
    return text or ""
