"""The Streamlit script: who is looking, which pages there are, and the page that is open."""

import streamlit as st

from console import navigation, session, steady, wording
from console.sign_in import SIGN_OUT_PATH
from console.views import activity, home, parts, people, products, sale, sale_form, sales

st.set_page_config(
    page_title="Stampede",
    page_icon=str(parts.ASSETS / "favicon.png"),  # an own file: an icon by name is fetched from outside
    layout="wide",
    initial_sidebar_state=240,
    menu_items={"Get help": None, "Report a bug": None, "About": None},
)
st.logo(str(parts.ASSETS / "logo.svg"), size="large", icon_image=str(parts.ASSETS / "mark.svg"))
parts.style()
steady.install()

pages = {
    "home": st.Page(home.page, title="Home", url_path="home", default=True),
    "sales": st.Page(sales.page, title="Sales", url_path="sales"),
    "new-sale": st.Page(sale_form.new_page, title="New sale", url_path="new-sale"),
    "products": st.Page(products.page, title="Products", url_path="products"),
    "activity": st.Page(activity.page, title="Activity", url_path="activity"),
    "settings": st.Page(people.page, title="Settings", url_path="settings"),
    "sale": st.Page(sale.page, title="Sale", url_path="sale", visibility="hidden"),
    "edit-sale": st.Page(sale_form.edit_page, title="Edit sale", url_path="edit-sale", visibility="hidden"),
}
navigation.register(pages)
opened = st.navigation(
    {
        "": [pages["home"], pages["sales"], pages["sale"], pages["edit-sale"]],
        "Audit": [pages["activity"]],
        "Set up": [pages["new-sale"], pages["products"], pages["settings"]],
    }
)

with parts.guarded():
    me = session.operator()
    with st.sidebar:
        st.caption(
            f"{wording.literal(me.merchant_name)} · {wording.ROLE_WORDS.get(me.role, wording.literal(me.role))}"
            f"  \n{wording.literal(me.email)}"
        )
        # A form of ours in the same tab: signing out is a POST of the console's own application.
        st.html(
            f'<form class="sp-out" method="post" action="{SIGN_OUT_PATH}">'
            '<button type="submit">Sign out</button></form>'
        )
    parts.show_flashes()
    opened.run()
