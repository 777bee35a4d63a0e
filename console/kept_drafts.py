"""What an operator has typed into a form and not saved yet, kept for when the page is loaded again.

A reload is a new session to Streamlit, with nothing in it. A draft that is saved is safe with the API; what has been
typed since, and what cannot be saved yet, is kept in this process: by operator and form, for half a day.
"""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from console.sale_draft import SaleDraft
from console.session import operator

KEPT_S = 12 * 3_600
FORMS_LIMIT = 512


@dataclass(slots=True)
class Kept:
    """A form as it was left."""

    draft: SaleDraft | None = None
    opened: tuple[dict[str, Any], str | None] | None = None
    """The sale that is edited, as it was read, and its entity tag: a newer one must lead to 412, not be overwritten."""


@st.cache_resource(ttl=KEPT_S, max_entries=FORMS_LIMIT, show_spinner=False)
def _kept(operator_id: str, form: str) -> Kept:
    return Kept()


def recall(form: str) -> Kept:
    """What was kept of this operator's form; without a draft when there is nothing."""
    return _kept(operator().operator_id, form)


def keep(form: str, draft: SaleDraft, opened: tuple[dict[str, Any], str | None] | None) -> None:
    kept = recall(form)
    kept.draft, kept.opened = draft, opened


def forget(form: str) -> None:
    kept = recall(form)
    kept.draft = kept.opened = None
