"""Creating and editing a sale: one form, checked before it is sent and by the API after."""

from dataclasses import fields
from datetime import datetime
from typing import Any

import streamlit as st

from console import admission, item_csv, money, navigation, sale_draft, session, wording, zones
from console.errors import ApiError
from console.sale_actions import EDITABLE, EDITORS, refusal
from console.sale_draft import ItemDraft, SaleDraft
from console.views import parts

ITEM_LIMIT = 50


def new_page() -> None:
    st.title("New sale", anchor=False)
    why_not = refusal(session.operator().role, EDITORS)
    skus = session.read("/operator/skus")["skus"]
    if not skus:
        parts.empty("First a product", "A sale sells products. Add the first one under **Products**, then come back.")
        return
    scope = "sale: create"
    start = _start()
    draft = _form("new", start, skus, scope, edit=False)
    pressed = parts.action_button("Save as draft", scope, why_not=why_not, type="primary")
    parts.show_problem(scope)
    if not pressed:
        return
    if _passes("new", draft):
        reply = parts.perform(scope, "POST", "/operator/sales", sale_draft.body(draft), done="Saved as a draft.")
        if reply is not None:
            _forget("new")
            navigation.go("sale", sale=reply.data["id"])
    st.rerun()


FROM_PARAM = "from"


def _start() -> SaleDraft:
    """What the form begins with: nothing, the sale that is repeated, or items from a file."""
    today = datetime.now(zones.zone(st.context.timezone or "UTC")).date()
    repeated = st.query_params.get(FROM_PARAM, "")
    kept = st.session_state.get("new-begun")
    if kept is None or kept[0] != repeated:
        _forget("new")
        if repeated:
            draft = sale_draft.duplicate(session.read(f"/operator/sales/{repeated}"), today)
        else:
            draft = sale_draft.fresh(today)
            if st.context.timezone in zones.names():
                draft.time_zone = st.context.timezone
        kept = (repeated, draft)
        st.session_state["new-begun"] = kept
    start: SaleDraft = kept[1]
    return start


def _import(skus: list[dict[str, Any]]) -> None:
    """Items from a CSV, in place of those in the form; what could not be taken is named line by line."""
    with st.expander("Import items from a CSV"):
        st.caption("Columns: sku, price, currency, allotment, per_shopper_limit. Commas, semicolons or tabs.")
        st.code(item_csv.EXAMPLE, language=None)
        number = st.session_state.setdefault("items-upload", 0)
        file = st.file_uploader("CSV file", type=["csv", "txt"], key=f"items-file-{number}")
        told: list[str] = st.session_state.get("items-told", [])
        if told:
            st.markdown("\n".join(told))
        if file is None:
            return
        st.session_state["items-upload"] = number + 1
        try:
            items, bad = item_csv.read(file.getvalue(), frozenset(sku["sku"] for sku in skus))
        except item_csv.CsvError as error:
            st.session_state["items-told"] = [f":red[{wording.literal(str(error), 300)}]"]
            st.rerun()
        told = [f"- :green[{len(items)} items taken.]"] if items else []
        told += [f"- :red[Line {one.line}:] {wording.literal(one.why, 300)}" for one in bad]
        st.session_state["items-told"] = told
        if items:
            _take_items(items)
        st.rerun()


def _take_items(items: list[ItemDraft]) -> None:
    """Put items into the form: their rows get numbers that no widget has had yet."""
    for key in [k for k in st.session_state if str(k).startswith("new-item-")]:
        del st.session_state[key]
    repeated, draft = st.session_state["new-begun"]
    draft.items = items
    st.session_state["new-begun"] = (repeated, draft)
    st.session_state["new-rows"] = list(range(len(items)))


def edit_page() -> None:
    sale_id = navigation.sale_id()
    prefix = f"edit-{sale_id}"
    st.title("Edit sale", anchor=False)
    if not sale_id:
        navigation.go("sales")
    # What is edited is the version that was opened, kept while the form is: a newer one that arrives
    # meanwhile must lead to 412, not be overwritten with the If-Match of the moment.
    opened = st.session_state.get(f"{prefix}-opened")
    if opened is None:
        reply = session.read_reply(f"/operator/sales/{sale_id}")
        opened = (reply.data, reply.etag)
        st.session_state[f"{prefix}-opened"] = opened
    sale, etag = opened
    navigation.link("sale", f"← {wording.literal(sale['title'])}", sale=sale_id)
    scope = f"sale {sale_id}: edit"
    if sale["status"] not in EDITABLE:
        st.warning(f"A sale that is {wording.status(sale['status']).lower()} is changed by actions on its own page.")
        return
    stored = sale_draft.from_sale(sale)
    skus = session.read("/operator/skus")["skus"]
    draft = _form(prefix, stored, skus, scope, edit=True)
    why_not = refusal(session.operator().role, EDITORS)
    with st.container(horizontal=True):
        pressed = parts.action_button("Save changes", scope, why_not=why_not, type="primary")
        reload_pressed = st.button("Load the current version", key=f"{prefix}-reload")
    parts.show_problem(scope)
    if reload_pressed:
        _forget(prefix)
        st.rerun()
    if not pressed:
        return
    if _passes(prefix, draft, was=stored):
        changed = sale_draft.changes(stored, draft)
        if not changed:
            parts.flash("Nothing was changed.")
            st.rerun()
        path = f"/operator/sales/{sale_id}"
        if parts.perform(scope, "PATCH", path, changed, done="Saved.", if_match=etag) is not None:
            _forget(prefix)
            navigation.go("sale", sale=sale_id)
    st.rerun()


def _passes(prefix: str, draft: SaleDraft, was: SaleDraft | None = None) -> bool:
    """Whether our own checks find nothing; from now on they are shown as the form is filled in."""
    st.session_state[f"{prefix}-checked"] = True
    return not sale_draft.check(draft, was=was)


def _form(prefix: str, start: SaleDraft, skus: list[dict[str, Any]], scope: str, *, edit: bool) -> SaleDraft:
    """Draw the form and return what it holds."""
    draft = SaleDraft(**{f.name: getattr(start, f.name) for f in fields(SaleDraft)})
    shown = _shown_errors(prefix, scope)
    with st.container(key=f"card-{prefix}-what", border=True):
        st.subheader("What", anchor=False)
        _what(prefix, draft, shown)
    with st.container(key=f"card-{prefix}-when", border=True):
        st.subheader("When", anchor=False)
        _when(prefix, draft, shown)
    with st.container(key=f"card-{prefix}-items", border=True):
        st.subheader("Items", anchor=False)
        if prefix == "new":
            _import(skus)
        draft.items = _items(prefix, start.items, skus, shown)
    with st.container(key=f"card-{prefix}-rules", border=True):
        st.subheader("Rules", anchor=False)
        _rules(prefix, draft, shown, edit=edit)
    st.session_state[f"{prefix}-draft"] = draft
    st.session_state[f"{prefix}-start"] = start if edit else None
    return draft


def _shown_errors(prefix: str, scope: str) -> dict[str, str]:
    """Errors to draw beside fields: our checks of the last drawn state, and the API's of the last try."""
    errors: dict[str, str] = {}
    last = st.session_state.get(f"{prefix}-draft")
    if st.session_state.get(f"{prefix}-checked") and last is not None:
        errors |= sale_draft.check(last, was=st.session_state.get(f"{prefix}-start"))
    error = parts.problem(scope)
    if isinstance(error, ApiError):
        errors |= {sale_draft.form_field(f.field): f.message for f in error.fields}
    return errors


def _what(prefix: str, draft: SaleDraft, errors: dict[str, str]) -> None:
    title, slug = st.columns(2)
    with title:
        draft.title = st.text_input("Title", value=draft.title, key=f"{prefix}-title", max_chars=200) or ""
        parts.field_error(errors, "title")
    with slug:
        suggestion = sale_draft.suggest_slug(draft.title)
        typed = st.text_input(
            "Slug",
            value=draft.slug,
            key=f"{prefix}-slug",
            max_chars=63,
            placeholder=suggestion or "friday-tee",
            help="The page's address: /s/slug/. Left empty, it follows the title.",
        )
        draft.slug = (typed or "").strip() or suggestion
        parts.field_error(errors, "slug")


def _when(prefix: str, draft: SaleDraft, errors: dict[str, str]) -> None:
    names = list(zones.names())
    if draft.time_zone not in names:
        names.insert(0, draft.time_zone)
    draft.time_zone = st.selectbox(
        "Time zone", names, index=names.index(draft.time_zone), key=f"{prefix}-zone",
        help="Times below are on the clocks of this zone; shoppers see their own.",
    )  # fmt: skip
    for word, name in (("Opens", "opens"), ("Closes", "closes")):
        day, clock = st.columns(2)
        with day:
            chosen = st.date_input(
                f"{word} on", value=getattr(draft, f"{name}_on"), key=f"{prefix}-{name}-on", format="YYYY-MM-DD"
            )
            setattr(draft, f"{name}_on", chosen)
        with clock:
            typed = st.text_input(
                f"{word} at", value=getattr(draft, f"{name}_clock"), key=f"{prefix}-{name}-at",
                help="Hours and minutes, and seconds if you like: 20:00:05.",
            )  # fmt: skip
            setattr(draft, f"{name}_clock", typed or "")
        parts.field_error(errors, f"{name}_at")
    opens, closes, wrong = sale_draft.window(draft)
    if not wrong and opens and closes:
        _say_window(opens, closes)


def _say_window(opens: zones.Moment, closes: zones.Moment) -> None:
    """The window as the machines see it, with a word about the night on which the clocks go back."""
    length = wording.duration((closes.utc - opens.utc).total_seconds())
    st.caption(f"Open for {length}: {opens.utc:%Y-%m-%d %H:%M:%S} to {closes.utc:%Y-%m-%d %H:%M:%S} UTC.")
    for word, moment in (("opening", opens), ("closing", closes)):
        if moment.ambiguous:
            st.caption(f":orange[The {word} time comes twice that night; the first is taken.]")


def _items(prefix: str, start: list[ItemDraft], skus: list[dict[str, Any]], errors: dict[str, str]) -> list[ItemDraft]:
    """The items editor: a row of plain fields per item, so it works by keyboard and on a phone."""
    rows_key = f"{prefix}-rows"
    if rows_key not in st.session_state:
        st.session_state[rows_key] = list(range(len(start)))
    rows: list[int] = st.session_state[rows_key]
    known = {sku["sku"]: sku for sku in skus}
    items = [
        _item(f"{prefix}-item-{row}", start[row] if row < len(start) else ItemDraft(), known, errors, index, len(rows))
        for index, row in enumerate(rows)
    ]
    removed = [row for row in rows if st.session_state.get(f"{prefix}-item-{row}-remove")]
    if removed:
        st.session_state[rows_key] = [row for row in rows if row not in removed]
        st.rerun()
    parts.field_error(errors, "items")
    if st.button("Add another item", key=f"{prefix}-add", disabled=len(rows) >= ITEM_LIMIT):
        st.session_state[rows_key] = [*rows, max(rows, default=-1) + 1]
        st.rerun()
    return items


def _item(
    key: str, start: ItemDraft, known: dict[str, Any], errors: dict[str, str], index: int, row_count: int
) -> ItemDraft:
    choices = list(dict.fromkeys(([start.sku] if start.sku else []) + list(known)))
    product, price, currency, units, limit, remove = st.columns([3, 1.5, 1.2, 1.5, 1.5, 1], vertical_alignment="bottom")
    sku = product.selectbox(
        "Product",
        choices,
        index=choices.index(start.sku) if start.sku else None,
        format_func=lambda s: wording.plain(f"{s} – {known[s]['name']}" if s in known else s),
        key=f"{key}-sku",
        placeholder="Choose a product",
    )
    usual = known.get(sku, {}).get("usual_price", {}) if sku else {}
    unit = currency.selectbox(
        "Currency", list(dict.fromkeys([start.currency, *money.CURRENCIES])), key=f"{key}-currency"
    )
    item = ItemDraft(
        sku=sku or "",
        price=price.text_input("Price", value=start.price, key=f"{key}-price", placeholder=money.example(unit)) or "",
        currency=unit,
        allotment=int(units.number_input("Allotment", value=start.allotment, min_value=0, step=1, key=f"{key}-units")),
        per_shopper_limit=int(
            limit.number_input("Per shopper", value=start.per_shopper_limit, min_value=1, step=1, key=f"{key}-limit")
        ),
    )
    remove.button("Remove", key=f"{key}-remove", disabled=row_count == 1, type="tertiary")
    if usual:
        st.caption(f"Usual price {money.label(usual)}")
    for name in ("sku", "price", "allotment", "per_shopper_limit"):
        parts.field_error(errors, f"items.{index}.{name}")
    return item


def _rules(prefix: str, draft: SaleDraft, errors: dict[str, str], *, edit: bool) -> None:
    def number(place: Any, label: str, name: str, low: int, why: str, error: str = "") -> None:
        value = place.number_input(
            label, value=int(getattr(draft, name)), min_value=low, step=1, key=f"{prefix}-{name}", help=why
        )
        setattr(draft, name, int(value))
        with place:
            parts.field_error(errors, error or name)

    first = st.columns(4)
    with first[0]:
        draft.rate_per_s = parts.rate_input(
            draft.rate_per_s, f"{prefix}-rate_per_s", why="Attempts let through each second; 0.5 is one every two."
        )
        parts.field_error(errors, "throttle.rate_per_s")
    number(first[1], "Burst", "burst", 1, "How many may come at once after a quiet moment.", "throttle.burst")
    number(
        first[2],
        "Wait budget, ms",
        "wait_budget_ms",
        0,
        "An attempt that would get through within this time is held, not refused.",
        "throttle.wait_budget_ms",
    )
    number(first[3], "Repeat window, ms", "repeat_window_ms", 0,
           "A shopper gets one try in this time; more gain nothing.", "throttle.repeat_window_ms")  # fmt: skip
    units = sum(item.allotment for item in draft.items)
    st.caption(admission.pace(draft.rate_per_s, draft.burst, units))
    second = st.columns(4)
    number(second[0], "Link lasts, s", "ttl_s", 1, "How long a shopper's secret link works.", "link.ttl_s")
    number(second[1], "Link overlap, s", "overlap_s", 0, "Old links work this long after a rotation.", "link.overlap_s")
    if edit:
        number(second[2], "Prepare before, s", "lead_s", 0, "Stock, links and page are ready this long before.")
    draft.payment_required = st.toggle(
        "Payment required", value=draft.payment_required, key=f"{prefix}-payment",
        help="A unit is held until it is paid or the hold ends; then it goes back on sale.",
    )  # fmt: skip
    if draft.payment_required:
        number(st.columns(4)[0], "Hold, s", "hold_s", 1, "How long a shopper has to pay.", "payment.hold_s")


def _forget(prefix: str) -> None:
    """Drop everything the form holds, so that it starts afresh when it is opened again."""
    for key in [k for k in st.session_state if str(k).startswith(f"{prefix}-")]:
        del st.session_state[key]
