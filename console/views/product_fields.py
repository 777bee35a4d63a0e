"""The fields of a product, for adding one and for changing one."""

from typing import Any

import streamlit as st

from console import money
from console.errors import ApiError
from console.views import parts, prose

FIELDS = ("sku", "name", "description", "usual_price", "options")
OPTIONS_MAX = 2
OPTION_LIMIT = 60
_ORDINAL = ("", "Second ")
_EXAMPLES = (("Size", "M"), ("Colour", "Ember"))

Values = dict[str, Any]


def draw(prefix: str, stored: dict[str, Any], errors: dict[str, str]) -> Values:
    """The fields both forms share; the values as typed."""
    price = stored.get("usual_price") or {}
    currency = str(price.get("currency", money.CURRENCIES[0]))
    name = st.text_input(
        "Name", value=stored.get("name", ""), key=f"{prefix}-name", max_chars=200, placeholder="Ember parka, size M"
    )
    parts.field_error(errors, "name")
    amount, unit = st.columns([2, 1])
    typed = amount.text_input(
        "Usual price",
        value=money.to_major(price["amount_minor"], currency) if price else "",
        key=f"{prefix}-price",
        placeholder=money.example(currency),
        help="Shown crossed out beside the sale's price. You may leave it empty.",
    )
    choices = list(dict.fromkeys([currency, *money.CURRENCIES]))
    chosen = unit.selectbox("Currency", choices, key=f"{prefix}-currency")
    parts.field_error(errors, "usual_price")
    options = _options(prefix, stored.get("options") or [])
    parts.field_error(errors, "options")
    description = prose.field("Description", stored.get("description", ""), f"{prefix}-description", height=130)
    parts.field_error(errors, "description")
    return {"name": name or "", "price": typed or "", "currency": chosen, "options": options,
            "description": description}  # fmt: skip


def _options(prefix: str, stored: list[dict[str, str]]) -> list[tuple[str, str]]:
    """What tells this product from its sisters, at most two names with a value each."""
    typed: list[tuple[str, str]] = []
    for index in range(OPTIONS_MAX):
        was = stored[index] if index < len(stored) else {}
        name, value = st.columns(2)
        example = _EXAMPLES[index]
        typed.append(
            (
                name.text_input(f"{_ORDINAL[index]}option".capitalize(), value=was.get("name", ""),
                                key=f"{prefix}-option-{index}", max_chars=OPTION_LIMIT, placeholder=example[0]) or "",
                value.text_input("Value" if index == 0 else "Second value", value=was.get("value", ""),
                                 key=f"{prefix}-value-{index}", max_chars=OPTION_LIMIT, placeholder=example[1]) or "",
            )
        )  # fmt: skip
    st.caption(
        "Sizes and colours are products of their own, each with its own stock. Products of a sale with the same "
        "options are one choice on its page: Size M, Size L."
    )
    return typed


def body(values: Values, *, priced: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """The API's body, and what is wrong with it by field. A usual price is optional until there is one."""
    errors: dict[str, str] = {}
    made: dict[str, Any] = {"name": values["name"].strip(), "description": values["description"].strip()}
    if not made["name"]:
        errors["name"] = "Give it a name; shoppers see it."
    made["options"], wrong = _options_body(values["options"])
    if wrong:
        errors["options"] = wrong
    if not values["price"].strip() and not priced:
        return made, errors
    try:
        amount = money.to_minor(values["price"], values["currency"])
        made["usual_price"] = {"amount_minor": amount, "currency": values["currency"]}
    except money.AmountError as error:
        errors["usual_price"] = str(error)
    return made, errors


def _options_body(typed: list[tuple[str, str]]) -> tuple[list[dict[str, str]], str]:
    """The options that are filled in, and what is wrong with them."""
    given = [(name.strip(), value.strip()) for name, value in typed if name.strip() or value.strip()]
    if any(not name or not value for name, value in given):
        return [], "An option has a name and a value, such as Size and M."
    if len({name.casefold() for name, _ in given}) < len(given):
        return [], "The two options have the same name."
    return [{"name": name, "value": value} for name, value in given], ""


def api_errors(scope: str) -> dict[str, str]:
    """The API's field errors of the last try, by the names of our fields."""
    error = parts.problem(scope)
    if not isinstance(error, ApiError):
        return {}
    return {
        name: f.message for f in error.fields for name in FIELDS if f.field == name or f.field.startswith(f"{name}.")
    }
