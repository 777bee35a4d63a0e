"""The merchant's SKUs."""

from typing import Any

import streamlit as st

from console import money, session, wording, zones
from console.errors import ApiError
from console.sale_actions import EDITORS, refusal
from console.views import parts

_SCOPE = "products: add"
_FIELDS = ("sku", "name", "description", "usual_price")


def page() -> None:
    me = session.operator()
    st.title("Products", anchor=False)
    why_not = refusal(me.role, EDITORS)
    found = session.read("/operator/skus")["skus"]
    if found:
        st.dataframe([_row(sku) for sku in found], hide_index=True, width="stretch", key="products", alt="Products")
    else:
        parts.empty(
            "No products yet",
            "A product (SKU) is what a sale sells: a size, a colour, a ticket class. Its usual price is "
            "shown crossed out beside the sale's price.",
        )
    left, right = st.columns(2)
    with left, st.container(key="card-add-product", border=True):
        st.subheader("Add a product", anchor=False)
        _add(why_not)
    if found:
        with right, st.container(key="card-change-product", border=True):
            st.subheader("Change a product", anchor=False)
            _change(found, why_not)


def _row(sku: dict[str, Any]) -> dict[str, str]:
    return {
        "SKU": wording.plain(sku["sku"]),
        "Name": wording.plain(sku["name"]),
        "Usual price": money.label(sku.get("usual_price")),
        "Description": wording.plain(sku.get("description", "")),
        "Added": zones.short(sku.get("created_at"), st.context.timezone or "UTC"),
    }


def _add(why_not: str) -> None:
    errors = _api_errors(_SCOPE) | st.session_state.get("products-errors", {})
    # Keys with a number: raising it after success gives an empty form, which setting values cannot.
    number = st.session_state.setdefault("products-form", 0)
    sku = st.text_input("SKU", key=f"product-sku-{number}", placeholder="TEE-M", max_chars=64)
    parts.field_error(errors, "sku")
    values = _details(f"product-new-{number}", {}, errors)
    pressed = parts.action_button("Add product", _SCOPE, why_not=why_not, type="primary")
    parts.show_problem(_SCOPE)
    if not pressed:
        return
    body, wrong = _body(values, priced=False)
    if not sku.strip():
        wrong["sku"] = "Give it a SKU, such as TEE-M."
    st.session_state["products-errors"] = wrong
    if not wrong:
        body["sku"] = sku.strip()
        if parts.perform(_SCOPE, "POST", "/operator/skus", body, done=f"{sku.strip()} added."):
            st.session_state["products-form"] = number + 1
    st.rerun()


def _change(found: list[dict[str, Any]], why_not: str) -> None:
    by_id = {sku["id"]: sku for sku in found}
    chosen = st.selectbox(
        "Product",
        list(by_id),
        format_func=lambda i: wording.plain(f"{by_id[i]['sku']} – {by_id[i]['name']}"),
        key="product-chosen",
    )
    stored = by_id.get(chosen, found[0])
    scope = f"products: change {stored['id']}"
    errors = _api_errors(scope) | st.session_state.get("products-change-errors", {})
    values = _details(f"product-{stored['id']}", stored, errors)
    pressed = parts.action_button("Save changes", scope, why_not=why_not)
    parts.show_problem(scope)
    if not pressed:
        return
    body, wrong = _body(values, priced="usual_price" in stored)
    st.session_state["products-change-errors"] = wrong
    if not wrong:
        parts.perform(scope, "PATCH", f"/operator/skus/{stored['id']}", body, done="Saved.")
    st.rerun()


def _details(prefix: str, stored: dict[str, Any], errors: dict[str, str]) -> dict[str, str]:
    """The fields both forms share; the values as typed."""
    price = stored.get("usual_price") or {}
    currency = str(price.get("currency", money.CURRENCIES[0]))
    name = st.text_input("Name", value=stored.get("name", ""), key=f"{prefix}-name", max_chars=200)
    parts.field_error(errors, "name")
    amount, unit = st.columns([2, 1])
    typed = amount.text_input(
        "Usual price",
        value=money.to_major(price["amount_minor"], currency) if price else "",
        key=f"{prefix}-price",
        placeholder=money.example(currency),
    )
    choices = list(dict.fromkeys([currency, *money.CURRENCIES]))
    chosen = unit.selectbox("Currency", choices, key=f"{prefix}-currency")
    parts.field_error(errors, "usual_price")
    description = st.text_area(
        "Description", value=stored.get("description", ""), key=f"{prefix}-description", height=80, max_chars=2_000
    )
    parts.field_error(errors, "description")
    return {"name": name or "", "price": typed or "", "currency": chosen, "description": description or ""}


def _body(values: dict[str, str], *, priced: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """The API's body, and what is wrong with it by field. A usual price is optional until there is one."""
    errors: dict[str, str] = {}
    body: dict[str, Any] = {"name": values["name"].strip(), "description": values["description"].strip()}
    if not body["name"]:
        errors["name"] = "Give it a name; shoppers see it."
    if not values["price"].strip() and not priced:
        return body, errors
    try:
        amount = money.to_minor(values["price"], values["currency"])
        body["usual_price"] = {"amount_minor": amount, "currency": values["currency"]}
    except money.AmountError as error:
        errors["usual_price"] = str(error)
    return body, errors


def _api_errors(scope: str) -> dict[str, str]:
    """The API's field errors of the last try, by the names of our fields."""
    error = parts.problem(scope)
    if not isinstance(error, ApiError):
        return {}
    return {
        name: f.message for f in error.fields for name in _FIELDS if f.field == name or f.field.startswith(f"{name}.")
    }
