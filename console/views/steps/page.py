"""What the page says: its words, its language, and whether it asks where to deliver."""

import streamlit as st

from console import navigation, sale_draft, session, wording
from console.thumbnails import thumbnail_href
from console.views import product_pictures, prose
from console.views.steps.form import Form


def draw(form: Form) -> None:
    form.draft.description = prose.field(
        "Description", form.base.description, form.key("description"),
        help_text="Left empty, the page shows the product's own description.",
    )  # fmt: skip
    form.place_for("description")
    language, delivery = st.columns(2)
    names = list(sale_draft.LANGUAGES)
    with language:
        form.draft.language = st.selectbox(
            "Language", names, index=names.index(form.base.language), format_func=sale_draft.LANGUAGES.__getitem__,
            key=form.key("language"),
            help="What your own words are written in. Buttons and notices are there in all of these: each shopper gets "
            "the language of the browser, and this one when none fits.",
        )  # fmt: skip
        form.place_for("language")
    with delivery:
        form.draft.delivery_required = st.toggle(
            "Ask where to deliver", value=form.base.delivery_required, key=form.key("delivery"),
            help="Shoppers give name and address before the opening, so that nobody types at the decisive second.",
        )  # fmt: skip
        st.caption("For what is sent. Leave it off for tickets and for pick-up.")
    _pictures(form)


def _pictures(form: Form) -> None:
    """The pictures that the page will have, by product."""
    st.markdown("**Pictures and variants**")
    known = form.known
    for item in form.draft.items:
        product = known.get(item.sku)
        if product is None:
            continue
        pictures = session.read(f"/operator/skus/{product['id']}/pictures")["pictures"]
        options = ", ".join(f"{one['name']} {one['value']}" for one in product.get("options", []))
        st.markdown(
            f"{wording.literal(product['name'])}"
            + (f" :gray[{wording.literal(options)}]" if options else "")
            + ("" if pictures else "  \n:gray[No pictures yet.]")
        )
        if pictures:
            product_pictures.strip([(thumbnail_href(product["id"], one["id"]), one["alt"]) for one in pictures])
    if len(form.draft.items) > 1 and not _variants([known.get(item.sku, {}) for item in form.draft.items]):
        st.caption(
            "These products are shown as a list. Give all of them the same options (such as Size) with different "
            "values, and the page makes one choice of them."
        )
    navigation.link("products", "Pictures and options: under Products")


def _variants(products: list[dict[str, object]]) -> bool:
    """Whether the page will offer them as variants of one product, as the renderer decides it."""
    options: list[list[dict[str, str]]] = [one.get("options") or [] for one in products]  # type: ignore[misc]
    names = {tuple(one["name"] for one in each) for each in options}
    values = {tuple(one["value"] for one in each) for each in options}
    return len(names) == 1 and names != {()} and len(values) == len(products)
