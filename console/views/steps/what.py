"""What is sold: the sale's name and address, its products and their prices."""

from dataclasses import replace
from typing import Any

import streamlit as st

from console import item_csv, money, navigation, sale_draft, wording
from console.sale_draft import ItemDraft
from console.views.steps.form import Form

ITEM_LIMIT = 50


def draw(form: Form) -> None:
    title, slug = st.columns(2)
    with title:
        form.draft.title = (
            st.text_input("Title", value=form.base.title, key=form.key("title"), max_chars=200, help="Shoppers see it.")
            or ""
        )
        form.place_for("title")
    with slug:
        _slug(form)
        form.place_for("slug")
    st.markdown("**Products**")
    _items(form)
    _import(form)


def _slug(form: Form) -> None:
    suggestion = sale_draft.suggest_slug(form.draft.title)
    follows = form.was is None and form.base.slug in ("", sale_draft.suggest_slug(form.base.title))
    typed = st.text_input(
        "Slug",
        value="" if follows else form.base.slug,
        key=form.key("slug"),
        max_chars=63,
        placeholder=suggestion or "friday-tee",
        help="The page's address: /s/slug/. Left empty, it follows the title.",
    )
    form.draft.slug = (typed or "").strip() or suggestion


def _items(form: Form) -> None:
    """A row of plain fields per item, so it works by keyboard and on a phone."""
    rows = form.rows()
    form.draft.items = [
        _item(form, number, begin, item, index, alone=len(rows) == 1)
        for index, (number, begin, item) in enumerate(rows)
    ]
    for number, _, _ in rows:
        if st.session_state.get(form.key(f"item-{number}-remove")):
            form.remove_row(number)
            st.session_state[form.key("draft")] = form.draft
            st.rerun()
    form.place_for("items")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Add another item", key=form.key("add"), disabled=len(rows) >= ITEM_LIMIT):
            form.add_row()
            st.session_state[form.key("draft")] = form.draft
            st.rerun()
        navigation.link("products", "A product is missing? Add it under Products")


def _item(form: Form, number: int, begin: ItemDraft, item: ItemDraft, index: int, *, alone: bool) -> ItemDraft:
    known, key = form.known, form.key(f"item-{number}")
    choices = list(dict.fromkeys(([begin.sku] if begin.sku else []) + list(known)))
    product, price, currency, remove = st.columns([4, 1.6, 1.2, 1], vertical_alignment="bottom")
    sku = product.selectbox(
        "Product",
        choices,
        index=choices.index(begin.sku) if begin.sku else None,
        format_func=lambda s: wording.plain(f"{s} – {known[s]['name']}" if s in known else s),
        key=f"{key}-sku",
        placeholder="Choose a product",
    )
    units = list(dict.fromkeys([begin.currency, *money.CURRENCIES]))
    unit = currency.selectbox("Currency", units, key=f"{key}-currency")
    typed = price.text_input("Price", value=begin.price, key=f"{key}-price", placeholder=money.example(unit))
    remove.button("Remove", key=f"{key}-remove", disabled=alone, type="tertiary")
    item = replace(item, sku=sku or "", price=typed or "", currency=unit)
    said = _about(known.get(item.sku, {}), item)
    if said:
        st.caption(said)
    for name in ("sku", "price"):
        form.place_for(f"items.{index}.{name}")
    return item


def _about(product: dict[str, Any], item: ItemDraft) -> str:
    """What the price will look like beside the usual one, and which variant this is."""
    said = [f"{wording.literal(one['name'])}: {wording.literal(one['value'])}" for one in product.get("options", [])]
    usual = product.get("usual_price")
    if usual:
        label = f"Usual price {money.label(usual)}"
        if usual["currency"] != item.currency:
            label += f": not shown beside a price in {wording.literal(item.currency)}"
        elif _no_less(item, int(usual["amount_minor"])):
            label += ": :orange[the sale's price is no lower]"
        else:
            label += ", shown crossed out"
        said.append(label)
    return " · ".join(said)


def _no_less(item: ItemDraft, usual_minor: int) -> bool:
    try:
        return money.to_minor(item.price, item.currency) >= usual_minor
    except money.AmountError:
        return False


def _import(form: Form) -> None:
    """Items from a CSV, in place of those in the form; what could not be taken is named line by line."""
    with st.expander("Import items from a CSV"):
        st.caption("Columns: sku, price, currency, allotment, per_shopper_limit. Commas, semicolons or tabs.")
        st.code(item_csv.EXAMPLE, language=None)
        number = st.session_state.setdefault("items-upload", 0)
        file = st.file_uploader("CSV file", type=["csv", "txt"], key=f"items-file-{number}", max_upload_size=1)
        told: list[str] = st.session_state.get("items-told", [])
        if told:
            st.markdown("\n".join(told))
        if file is None:
            return
        st.session_state["items-upload"] = number + 1
        try:
            items, bad = item_csv.read(file.getvalue(), frozenset(form.known))
        except item_csv.CsvError as error:
            st.session_state["items-told"] = [f":red[{wording.literal(str(error), 300)}]"]
            st.rerun()
        told = [f"- :green[{len(items)} items taken, with their allotments.]"] if items else []
        told += [f"- :red[Line {one.line}:] {wording.literal(one.why, 300)}" for one in bad]
        st.session_state["items-told"] = told
        if items:
            form.set_items(items)
            st.session_state[form.key("draft")] = form.draft
        st.rerun()
