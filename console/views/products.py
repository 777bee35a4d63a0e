"""The merchant's SKUs: what there is, one more, and one changed, with its pictures."""

from typing import Any

import streamlit as st

from console import money, session, wording, zones
from console.sale_actions import EDITORS, refusal
from console.views import parts, product_fields, product_pictures

_SCOPE = "products: add"
_CHOSEN = "product-chosen"
_TAB = "products-tab"
_ADDING, _CHANGING = "Add a product", "Pictures and changes"


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
    shown = st.tabs([_ADDING, _CHANGING], key=_TAB, on_change="rerun") if found else [st.container()]
    with shown[0], st.container(key="card-add-product", border=True):
        _add(why_not)
    if found:
        with shown[1]:
            _change(found, why_not)


def _row(sku: dict[str, Any]) -> dict[str, str]:
    options = ", ".join(f"{one['name']}: {one['value']}" for one in sku.get("options", []))
    return {
        "SKU": wording.plain(sku["sku"]),
        "Name": wording.plain(sku["name"]),
        "Options": wording.plain(options),
        "Usual price": money.label(sku.get("usual_price")),
        "Description": wording.plain(sku.get("description", "")),
        "Added": zones.short(sku.get("created_at"), st.context.timezone or "UTC"),
    }


def _say_added() -> None:
    """What has just been added, and the way to its pictures."""
    added = st.session_state.get("product-added")
    if added is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":green[**{wording.literal(added[1])}** is added.]")
        st.button("Add its pictures", key="product-added-pictures", on_click=_to_pictures, args=(added[0],))


def _to_pictures(sku_id: str) -> None:
    """Before the next run draws the tabs: a widget's value cannot be set once it stands."""
    st.session_state[_TAB] = _CHANGING
    st.session_state[_CHOSEN] = sku_id
    st.session_state.pop("product-added")


def _add(why_not: str) -> None:
    with st.container():  # there in every run: a line that came and went would move the fields
        _say_added()
    errors = product_fields.api_errors(_SCOPE) | st.session_state.get("products-errors", {})
    # Keys with a number: raising it after success gives an empty form, which setting values cannot.
    number = st.session_state.setdefault("products-form", 0)
    sku = st.text_input(
        "SKU", key=f"product-sku-{number}", placeholder="EMBER-PARKA-M", max_chars=64,
        help="Your own short code for it: letters, digits, dots, hyphens. It cannot be changed later.",
    )  # fmt: skip
    parts.field_error(errors, "sku")
    values = product_fields.draw(f"product-new-{number}", {}, errors)
    pressed = parts.action_button("Add product", _SCOPE, why_not=why_not, type="primary")
    parts.show_problem(_SCOPE)
    if not pressed:
        return
    body, wrong = product_fields.body(values, priced=False)
    if not sku.strip():
        wrong["sku"] = "Give it a SKU, such as TEE-M."
    st.session_state["products-errors"] = wrong
    if not wrong:
        body["sku"] = sku.strip()
        made = parts.perform(_SCOPE, "POST", "/operator/skus", body, done=f"{sku.strip()} added.")
        if made is not None:
            st.session_state["products-form"] = number + 1
            st.session_state["product-added"] = (made.data["id"], sku.strip())
    st.rerun()


def _change(found: list[dict[str, Any]], why_not: str) -> None:
    by_id = {sku["id"]: sku for sku in found}
    chosen = st.selectbox(
        "Product",
        list(by_id),
        format_func=lambda i: wording.plain(f"{by_id[i]['sku']} – {by_id[i]['name']}"),
        key=_CHOSEN,
    )
    stored = by_id.get(chosen, found[0])
    product_pictures.card(stored, why_not)
    scope = f"products: change {stored['id']}"
    errors = product_fields.api_errors(scope) | st.session_state.get(f"{scope}-errors", {})
    with st.container(key="card-change-product", border=True):
        st.subheader("Words and price", anchor=False)
        values = product_fields.draw(f"product-{stored['id']}", stored, errors)
        pressed = parts.action_button("Save changes", scope, why_not=why_not)
        parts.show_problem(scope)
    if not pressed:
        return
    body, wrong = product_fields.body(values, priced="usual_price" in stored)
    st.session_state[f"{scope}-errors"] = wrong
    if not wrong:
        parts.perform(scope, "PATCH", f"/operator/skus/{stored['id']}", body, done="Saved.")
    st.rerun()
