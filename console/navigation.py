"""The console's pages and the ways between them."""

from typing import Any

import streamlit as st

SALE_PARAM = "sale"
_PAGES = "navigation.pages"


def register(pages: dict[str, Any]) -> None:
    """Remember this run's page objects by name, for links and switches from anywhere."""
    st.session_state[_PAGES] = pages


def page(name: str) -> Any:
    """The page object called `name`."""
    return st.session_state[_PAGES][name]


def go(name: str, **params: str) -> None:
    """Leave for another page; ends this run."""
    st.switch_page(page(name), query_params=params)


def link(name: str, label: str, **params: str) -> None:
    """A link to another page; `label` is Markdown, so stored text goes through `wording.literal`."""
    st.page_link(page(name), label=label, query_params=params or None)


def sale_id() -> str:
    """The sale this page is about, from the address."""
    return st.query_params.get(SALE_PARAM, "")
