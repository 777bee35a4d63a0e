"""The sale form between its steps: what is typed, what each step began with, and where errors are said.

The draft in the session holds everything that was typed, in all steps. Widgets of one step begin with the values of
`base`, a copy made when the step is entered: a default that changed while its widget stands would make it anew.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from console import kept_drafts, sale_draft, sale_steps, wording
from console.errors import ApiError
from console.sale_draft import ItemDraft, SaleDraft
from console.views import parts


@dataclass
class Form:
    """One run's view of the form."""

    prefix: str
    """Before every key of the form's own."""
    step: str
    draft: SaleDraft
    """What the widgets hold, filled in as they are drawn."""
    base: SaleDraft
    skus: list[dict[str, Any]]
    was: SaleDraft | None
    """The sale as it is stored; None before the first save."""
    sale: dict[str, Any] | None
    api_errors: Mapping[str, str]
    _slots: dict[str, Any] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, dict[str, Any]]:
        """The merchant's products by SKU."""
        return {sku["sku"]: sku for sku in self.skus}

    def key(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def place_for(self, field_name: str) -> None:
        """Where the error of a field will stand, once all fields are known."""
        self._slots[field_name] = st.empty()

    def errors(self) -> dict[str, str]:
        """What the API would refuse in the whole form."""
        return sale_draft.check(self.draft, was=self.was)

    def unsaved(self) -> dict[str, Any]:
        """Members that differ from what is stored, without those that cannot be saved yet."""
        return sale_draft.changes(self.was, self.draft, wrong=self.errors()) if self.was else {}

    def show_errors(self) -> None:
        """Fill the places: our errors of fields that were touched, or of all after a try to go on; and the API's."""
        found = sale_steps.within(self.errors(), self.step)
        if self.step not in self._tried():
            touched = sale_steps.touched(self.base, self.draft)
            found = {name: text for name, text in found.items() if name in touched}
        found |= self.api_errors
        for name, place in self._slots.items():
            if name in found:
                place.markdown(f":red[{wording.literal(found[name], 300)}]")

    def passes(self) -> bool:
        """Whether this step has no errors; from now on they are shown as it is filled in."""
        self._tried().add(self.step)
        return not sale_steps.within(self.errors(), self.step)

    def _tried(self) -> set[str]:
        tried: set[str] = st.session_state.setdefault(self.key("tried"), set())
        return tried

    def rows(self) -> list[tuple[int, ItemDraft, ItemDraft]]:
        """The items: a number that no other row of this form has had, what its widgets begin with, what it holds."""
        numbers: list[int] = st.session_state[self.key("rows")]
        begins: dict[int, ItemDraft] = st.session_state[self.key("row-begins")]
        return [(number, begins[number], item) for number, item in zip(numbers, self.draft.items, strict=True)]

    def set_items(self, items: list[ItemDraft]) -> None:
        """Other items, in rows of their own; the next run draws them."""
        self.draft.items = items
        _number_rows(self.prefix, items)

    def add_row(self) -> None:
        numbers: list[int] = st.session_state[self.key("rows")]
        number = _next_number(self.prefix)
        item = ItemDraft(currency=self.draft.items[-1].currency) if self.draft.items else ItemDraft()
        st.session_state[self.key("row-begins")][number] = deepcopy(item)
        numbers.append(number)
        self.draft.items.append(item)

    def remove_row(self, number: int) -> None:
        numbers: list[int] = st.session_state[self.key("rows")]
        del self.draft.items[numbers.index(number)]
        numbers.remove(number)


def enter(
    prefix: str,
    step: str,
    start: SaleDraft,
    skus: list[dict[str, Any]],
    *,
    was: SaleDraft | None = None,
    sale: dict[str, Any] | None = None,
    scope: str,
) -> Form:
    """The form in this run; `start` is what it begins with in a session that has not held it yet."""
    state = st.session_state
    if f"{prefix}-draft" not in state:
        state[f"{prefix}-draft"] = deepcopy(start)
        state.pop(f"{prefix}-at", None)
    draft: SaleDraft = deepcopy(state[f"{prefix}-draft"])
    # A button of every run: without it this is the first run here, or the first after another page. Streamlit has
    # then forgotten what the widgets held, and they begin anew.
    if state.get(f"{prefix}-at") != step or f"{prefix}-go-{step}" not in state:
        state[f"{prefix}-at"] = step
        state[f"{prefix}-base"] = deepcopy(draft)
        _number_rows(prefix, draft.items)
    return Form(prefix, step, draft, state[f"{prefix}-base"], skus, was, sale, _api_errors(scope))


def hold(form: Form, kept_as: str, opened: tuple[dict[str, Any], str | None] | None) -> None:
    """Remember what the widgets hold, in this session and beyond a reload."""
    st.session_state[form.key("draft")] = form.draft
    if form.was is None:
        changed = form.draft != st.session_state.get(form.key("untouched"))
    else:
        changed = bool(form.unsaved() or form.errors())
    if changed:
        kept_drafts.keep(kept_as, form.draft, opened)
    else:
        kept_drafts.forget(kept_as)


def forget(prefix: str) -> None:
    """Drop everything the session holds of the form, so that it starts afresh when it is opened again."""
    for key in [k for k in st.session_state if str(k).startswith(f"{prefix}-")]:
        del st.session_state[key]


def _api_errors(scope: str) -> dict[str, str]:
    """The API's field errors of the last try, at the form's fields."""
    error = parts.problem(scope)
    if not isinstance(error, ApiError):
        return {}
    errors = {sale_draft.form_field(f.field): f.message for f in error.fields}
    if error.code == "CONFLICT" and not errors:
        errors["slug"] = "Another sale has this address: choose another."
    return errors


def _number_rows(prefix: str, items: list[ItemDraft]) -> None:
    numbers = [_next_number(prefix) for _ in items]
    st.session_state[f"{prefix}-rows"] = numbers
    st.session_state[f"{prefix}-row-begins"] = dict(zip(numbers, deepcopy(items), strict=True))


def _next_number(prefix: str) -> int:
    number: int = st.session_state.get(f"{prefix}-row-next", 0)
    st.session_state[f"{prefix}-row-next"] = number + 1
    return number
