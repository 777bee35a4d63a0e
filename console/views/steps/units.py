"""How many units of each product, and how many for one shopper."""

from dataclasses import replace

import streamlit as st

from console import suggestions, wording
from console.sale_draft import ItemDraft
from console.views.steps.form import Form


def draw(form: Form) -> None:
    form.draft.items = [
        _item(form, number, begin, item, index) for index, (number, begin, item) in enumerate(form.rows())
    ]
    units = sum(item.allotment for item in form.draft.items)
    st.markdown(f"**{wording.count(units)} unit{'' if units == 1 else 's'}** in all.")
    st.caption(
        "The allotment is what this sale may sell, and not one unit more. You can top up while it runs; units that are "
        f"reserved or sold cannot be taken back. {suggestions.LIMIT}"
    )


def _item(form: Form, number: int, begin: ItemDraft, item: ItemDraft, index: int) -> ItemDraft:
    key = form.key(f"item-{number}")
    name, units, limit = st.columns([4, 1.6, 1.6], vertical_alignment="bottom")
    product = form.known.get(item.sku, {})
    label = f"**{wording.literal(item.sku or 'No product chosen')}**"
    name.markdown(f"{label}  \n:gray[{wording.literal(product['name'])}]" if product else label)
    item = replace(
        item,
        allotment=int(units.number_input("Allotment", value=begin.allotment, min_value=0, step=1, key=f"{key}-units")),
        per_shopper_limit=int(
            limit.number_input("Per shopper", value=begin.per_shopper_limit, min_value=1, step=1, key=f"{key}-limit")
        ),
    )
    for part in ("allotment", "per_shopper_limit"):
        form.place_for(f"items.{index}.{part}")
    return item
