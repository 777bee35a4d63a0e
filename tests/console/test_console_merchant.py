"""A merchant's screens against a peer that speaks the contract: products with pictures, the sale form's steps, the
page of a sale."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from streamlit.testing.v1 import AppTest

from tests.console.peer import NASTY, Peer, make_sale, stamp
from tests.console.peer_pages import version
from tests.console.test_console_pages import button, fill, press, texts

Opener = Callable[..., AppTest]
PRICE = {"amount_minor": 4900, "currency": "EUR"}


@pytest.fixture
def shop(peer: Peer) -> Peer:
    for number, size in enumerate("SM"):
        peer.skus.append(
            {"id": f"s{number}", "sku": f"TEE-{size}", "name": f"Tee {size}", "usual_price": PRICE,
             "options": [{"name": "Size", "value": size}]}
        )  # fmt: skip
    return peer


def errors(app: AppTest) -> list[str]:
    return [str(m.value)[5:-1].replace("\\", "") for m in app.markdown if str(m.value).startswith(":red[")]


# -- the form's steps ------------------------------------------------------------------------------------


def test_a_sale_is_set_up_step_by_step_and_each_step_is_saved(open_app: Opener, shop: Peer) -> None:
    app = open_app("token-owner", "new-sale")
    fill(app)
    assert button(app, "2. When").disabled is True
    press(app, "Save and go on")
    assert not app.exception
    (made,) = shop.sent("POST", "/operator/sales")
    assert made.body["slug"] == "friday-tee"
    sale_id = next(iter(shop.sales))

    app = open_app("token-owner", "edit-sale", sale=sale_id, step="when")
    app.text_input(key=f"edit-{sale_id}-opens-at").set_value("19:30").run()
    press(app, "Save and go on")
    assert app.query_params["step"] == ["units"] or app.query_params["step"] == "units"
    assert set(shop.sent("PATCH")[-1].body) == {"opens_at"}
    app.number_input(key=f"edit-{sale_id}-item-1-units").set_value(7).run()
    assert "**7 units** in all." in texts(app)
    press(app, "Save and go on")
    assert shop.sent("PATCH")[-1].body["items"][0]["allotment"] == 7
    press(app, "Use the suggested pace")
    assert app.number_input(key=f"edit-{sale_id}-rate_per_s-1").value == 1
    press(app, "Save and go on")
    assert shop.sent("PATCH")[-1].body["throttle"]["burst"] == 1
    app.text_area(key=f"edit-{sale_id}-description").set_value("**Wool** & more").run()
    assert any("**Wool** &amp; more" in h.value and "sp-prose" in h.value for h in app.html)
    app.toggle(key=f"edit-{sale_id}-delivery").set_value(True).run()
    press(app, "Save and go on")
    assert shop.sent("PATCH")[-1].body == {"description": "**Wool** & more", "delivery_required": True}
    assert not app.exception
    said = texts(app)
    for words in ("/s/friday", "7 units, 1 for each shopper", "Asks where to deliver", "In English"):
        assert words in said, words
    assert shop.previews == 1
    press(app, "Schedule")
    assert shop.sales[sale_id]["status"] == "scheduled"


def test_nothing_typed_is_lost_on_a_reload(open_app: Opener, shop: Peer) -> None:
    """Each `open_app` is a new session, as a reload is."""
    app = open_app("token-owner", "new-sale")
    fill(app, title="Friday tee", price="19.999")
    again = open_app("token-owner", "new-sale")
    assert again.text_input(key="new-title").value == "Friday tee"
    assert again.text_input(key="new-item-0-price").value == "19.999"
    assert "What you had typed is still here." in " ".join(i.value for i in again.info)
    press(again, "Start afresh")
    assert again.text_input(key="new-title").value == ""
    assert open_app("token-owner", "new-sale").text_input(key="new-title").value == ""
    fill(open_app("token-owner", "new-sale"))
    assert open_app("token-operator", "new-sale").text_input(key="new-title").value == "", "a colleague's is another"


def test_what_cannot_be_saved_yet_stays_while_the_rest_is_saved(open_app: Opener, shop: Peer) -> None:
    shop.add(make_sale("1"))
    app = open_app("token-owner", "edit-sale", sale="1", step="what")
    app.text_input(key="edit-1-item-0-price").set_value("cheap").run()
    press(app, "5. Page ✓")
    app.text_area(key="edit-1-description").set_value("Wool").run()
    press(app, "Save and go on")
    assert shop.sent("PATCH")[-1].body == {"description": "Wool"}
    assert "Type an amount such as 19.00" in texts(app).replace("\\", ""), "the review names what is left"
    assert button(app, "Schedule").disabled is True
    again = open_app("token-owner", "edit-sale", sale="1", step="what")
    assert again.text_input(key="edit-1-item-0-price").value == "cheap"
    assert "1. What !" in [b.label for b in again.button]
    again.text_input(key="edit-1-item-0-price").set_value("18").run()
    press(again, "Save changes")
    assert shop.sent("PATCH")[-1].body["items"][0]["price"]["amount_minor"] == 1800
    assert shop.sent("PATCH")[-1].headers["If-Match"] == '"4"'


def test_a_reload_does_not_overwrite_what_a_colleague_saved_meanwhile(open_app: Opener, shop: Peer) -> None:
    shop.add(make_sale("1"))
    app = open_app("token-owner", "edit-sale", sale="1")
    app.text_input(key="edit-1-title").set_value("Mine").run()
    shop.sales["1"].update(version=4, title="Theirs")
    again = open_app("token-owner", "edit-sale", sale="1")
    assert again.text_input(key="edit-1-title").value == "Mine"
    press(again, "Save changes")
    assert shop.sales["1"]["title"] == "Theirs"
    assert "Somebody else changed this" in texts(again)


def test_an_error_is_said_when_the_field_is_left_and_not_before(open_app: Opener, shop: Peer) -> None:
    app = open_app("token-owner", "new-sale")
    assert errors(app) == []
    app.text_input(key="new-item-0-price").set_value("19.999").run()
    assert errors(app) == ["EUR has 2 decimals: type an amount such as 19.00."]
    press(app, "Save and go on")
    assert "Give the sale a title; shoppers see it." in errors(app)
    assert "Choose a product." in errors(app)
    assert shop.sent("POST") == []


def test_a_taken_address_is_said_at_the_address(open_app: Opener, shop: Peer) -> None:
    shop.fail[("POST", "/operator/sales")] = (409, {"title": "x", "status": 409, "code": "CONFLICT"})
    app = open_app("token-owner", "new-sale")
    fill(app)
    press(app, "Save and go on")
    assert "Another sale has this address: choose another." in errors(app)


def test_what_is_typed_survives_a_look_at_another_page(open_app: Opener, shop: Peer) -> None:
    from tests.console.conftest import _switch

    app = open_app("token-owner", "new-sale")
    fill(app)
    _switch(app, "products")
    app.run()
    assert "Add product" in [b.label for b in app.button]
    _switch(app, "new-sale")
    app.run()
    assert app.text_input(key="new-title").value == "Friday tee"
    assert [t.value for t in app.text_input if t.label == "Price"] == ["19.00"]


def test_items_are_added_and_taken_away_and_keep_their_values(open_app: Opener, shop: Peer) -> None:
    app = open_app("token-owner", "new-sale")
    fill(app)
    press(app, "Add another item")
    app.selectbox(key="new-item-1-sku").set_value("TEE-S")
    app.text_input(key="new-item-1-price").set_value("49").run()
    assert "the sale's price is no lower" in texts(app)
    app.button(key="new-item-0-remove").click().run()
    assert [t.value for t in app.text_input if t.label == "Price"] == ["49"]
    press(app, "Save as draft")
    assert [i["sku"] for i in shop.sent("POST", "/operator/sales")[0].body["items"]] == ["TEE-S"]


def test_an_auditor_looks_at_the_form_and_may_not_save(open_app: Opener, shop: Peer) -> None:
    shop.add(make_sale("1"))
    app = open_app("token-auditor", "edit-sale", sale="1", step="review")
    assert not app.exception
    for label in ("Schedule", "Save changes"):
        assert button(app, label).disabled is True
    assert shop.previews == 0


# -- products --------------------------------------------------------------------------------------------


def upload(app: AppTest, name: str, content: bytes = b"pixels", kind: str = "image/jpeg") -> None:
    app.file_uploader[0].set_value([(name, content, kind)]).run()


def test_a_picture_is_added_with_its_words_and_put_in_order(open_app: Opener, shop: Peer) -> None:
    app = open_app("token-owner", "products")
    press(app, "Add picture")
    assert "Choose a file first." in errors(app)
    upload(app, "front.PNG")
    press(app, "Add picture")
    assert errors(app) == ["Say what the picture shows."]
    assert shop.sent("POST") == []
    app.text_input(key="product s0: picture-alt-0").set_value(' "Front" ').run()
    press(app, "Add picture")
    assert not app.exception
    (sent,) = shop.sent("POST", "/skus/s0/pictures")
    assert (sent.query, sent.body, sent.headers["Content-Type"]) == ({"alt": '"Front"'}, b"pixels", "image/png")
    assert any(
        'alt="&quot;Front&quot;"' in h.value and "/console/download/pictures/s0/p-1" in h.value for h in app.html
    )
    assert app.text_input(key="product s0: picture-alt-1").value == "", "an empty form for the next"

    shop.pictures["s0"].append({"id": "p-2", "alt": NASTY, "width": 1, "height": 1, "files": []})
    app.run()
    assert not any("<img src=x" in h.value for h in app.html)
    app.text_input(key="picture-p-1-alt").set_value("From the front").run()
    press(app, "Save words")
    [later] = [b for b in app.button if b.label == "Later" and not b.disabled]
    later.click().run()
    assert [(one["id"], one["alt"]) for one in shop.pictures["s0"]] == [("p-2", NASTY), ("p-1", "From the front")]
    press(app, "Remove picture")
    assert [one["id"] for one in shop.pictures["s0"]] == ["p-1"]


def test_what_the_api_says_of_a_picture_stands_beside_it(open_app: Opener, shop: Peer) -> None:
    app = open_app("token-owner", "products")
    for problem, said in (
        ({"code": "TOO_LARGE"}, "The file is larger than 10 MB: save it smaller and choose it again."),
        ({"code": "INVALID_FIELD", "errors": [{"field": "picture", "message": "Too small."}]}, "Too small."),
        ({"code": "INVALID_FIELD", "errors": [{"field": "query.alt", "message": "Too long."}]}, "Too long."),
    ):
        shop.fail[("POST", "/pictures")] = (422, {"title": "x", "status": 422, **problem})
        upload(app, "front.jpg")
        app.text_input(key="product s0: picture-alt-0").set_value("Front").run()
        press(app, "Add picture")
        assert errors(app) == [said]
        assert not app.error


def test_a_lost_answer_of_an_upload_is_asked_for_with_the_same_key(open_app: Opener, shop: Peer) -> None:
    shop.drop.add(("POST", "/pictures"))
    app = open_app("token-owner", "products")
    upload(app, "front.jpg")
    app.text_input(key="product s0: picture-alt-0").set_value("Front").run()
    press(press(app, "Add picture"), "Add picture")
    assert len({s.headers["Idempotency-Key"] for s in shop.sent("POST", "/pictures")}) == 1
    assert len(shop.pictures["s0"]) == 1


def test_options_are_whole_or_not_there(open_app: Opener, shop: Peer) -> None:
    app = open_app("token-owner", "products")
    app.text_input(key="product-sku-0").set_value("TEE-L")
    app.text_input(key="product-new-0-name").set_value("Tee L")
    app.text_input(key="product-new-0-option-0").set_value("Size").run()
    press(app, "Add product")
    assert "An option has a name and a value, such as Size and M." in errors(app)
    app.text_input(key="product-new-0-value-0").set_value("L").run()
    app.text_input(key="product-new-0-option-1").set_value("size")
    app.text_input(key="product-new-0-value-1").set_value("XL").run()
    press(app, "Add product")
    assert "The two options have the same name." in errors(app)
    app.text_input(key="product-new-0-option-1").set_value("Colour").run()
    press(app, "Add product")
    assert shop.skus[0]["options"] == [{"name": "Size", "value": "L"}, {"name": "Colour", "value": "XL"}]
    press(app, "Add its pictures")
    assert app.selectbox(key="product-chosen").value == shop.skus[0]["id"]
    app.text_input(key=f"product-{shop.skus[0]['id']}-value-1").set_value("Ember").run()
    press(app, "Save changes")
    assert shop.sent("PATCH")[-1].body["options"][1] == {"name": "Colour", "value": "Ember"}


def test_an_auditor_sees_pictures_and_may_not_touch_them(open_app: Opener, shop: Peer) -> None:
    shop.pictures["s0"] = [{"id": "p-1", "alt": "Front", "width": 1, "height": 1, "files": []}]
    app = open_app("token-auditor", "products")
    assert not app.exception
    assert any("/console/download/pictures/s0/p-1" in h.value for h in app.html)
    for label in ("Add picture", "Earlier", "Later", "Add product", "Remove picture"):
        assert button(app, label).disabled is True, label


# -- the page of a sale ----------------------------------------------------------------------------------


def test_the_page_tab_says_what_is_shown_and_what_is_not(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "scheduled"))
    app = open_app("token-owner", "sale", sale="1", tab="Page")
    assert not app.exception
    assert "**Not yet.**" in texts(app)
    peer.page_versions["1"] = [version(2, published_by=NASTY), version(1, current=True)]
    at = stamp(datetime.now(UTC) - timedelta(minutes=5))
    peer.page_changes = [
        {"id": "c", "at": at, "actor": "olga@ember.test", "kind": "sale.edit", "outcome": "done",
         "before": {"title": "Tee"}, "after": {"title": NASTY}},
    ]  # fmt: skip
    app.run()
    said = texts(app)
    assert "version 1" in said
    assert "Changed since" in said
    assert "Title: Tee" in said.replace("\\", "")
    assert "![x](http" not in said
    peer.page_changes = []
    app.run()
    assert "It is not the newest version" in texts(app)


def test_going_back_to_a_version_asks_for_a_reason_and_happens_once(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live"))
    peer.page_versions["1"] = [version(3, current=True), version(2), version(1, kept=False)]
    app = open_app("token-owner", "sale", sale="1", tab="Page")
    assert app.selectbox(key="sale 1: page-version").options == ["2"]
    assert "Shown: version 3 → **version 2**" in texts(app)
    press(app, "Go back to version 2")
    assert "Give a reason; it is recorded." in texts(app)
    assert peer.sent("POST", "/rollback") == []
    app.text_input(key="sale 1: page-reason").set_value("a wrong price").run()
    press(app, "Go back to version 2")
    (sent,) = peer.sent("POST", "/rollback")
    assert sent.body == {"version": 2, "reason": "a wrong price"}
    assert "Shoppers see **version 2**" in texts(app)
    press(app, "Publish page")
    assert "POST /operator/sales/1/publish" in peer.acted


def test_a_preview_is_made_once_a_version_and_anew_on_request(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "scheduled"))
    app = open_app("token-owner", "sale", sale="1", tab="Page")
    app.run()
    assert peer.previews == 1
    (frame,) = app.get("iframe")
    assert frame.proto.src == f"/preview/{1:032}/page"
    press(app, "Make it anew")
    assert peer.previews == 2
    peer.sales["1"]["version"] += 1
    app.run()
    assert peer.previews == 3
    peer.sales["1"]["version"] += 1
    peer.fail[("POST", "/preview")] = (503, {"title": "x", "status": 503, "code": "DEGRADED"})
    app.run()
    app.run()
    assert peer.previews == 3, "a refusal is not asked for again and again"
    assert open_app("token-auditor", "sale", sale="1", tab="Page").get("iframe") == []
