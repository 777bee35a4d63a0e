"""The console's pages against a peer that speaks the contract, by AppTest."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from tests.console.peer import NASTY, Peer, make_sale

Opener = Callable[..., AppTest]
PROBLEM = {"type": "about:blank", "title": "Degraded", "status": 503, "code": "DEGRADED"}


def texts(app: AppTest) -> str:
    """Everything the page says, for assertions on words."""
    kinds = (app.markdown, app.caption, app.title, app.subheader, app.error, app.warning, app.toast, app.html)
    titles = [getattr(e.proto, "title", "") for e in (*app.error, *app.warning)]
    return "\n".join([*(str(e.value) for kind in kinds for e in kind), *titles])


def press(app: AppTest, label: str) -> AppTest:
    """Press the button of that label."""
    found = [b for b in app.button if b.label == label]
    assert found, [b.label for b in app.button]
    return found[0].click().run()


def button(app: AppTest, label: str) -> object:
    return next(b for b in app.button if b.label == label)


def test_no_session_says_so_in_words(open_app: Opener) -> None:
    app = open_app(None)
    assert not app.exception
    assert "Your session has ended" in texts(app)


def test_a_session_that_ends_meanwhile_leads_to_the_sign_in(open_app: Opener, peer: Peer) -> None:
    app = open_app("token-owner")
    peer.revoked.add("token-owner")
    app.text_input(key="sales-q").set_value("x").run()
    assert not app.exception
    assert "Your session has ended" in texts(app)
    assert any("/console/sign-in?why=ended" in h.value for h in app.html)


def test_an_empty_list_teaches_the_first_steps(open_app: Opener) -> None:
    assert "Three steps lead to the first" in texts(open_app("token-owner"))


def test_the_list_is_searched_by_the_api(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", title="Friday tee"))
    peer.add(make_sale("2", title="Parka"))
    app = open_app("token-owner")
    app.text_input(key="sales-q").set_value("park").run()
    assert [link.value for link in app.page_link] == ["**Parka**"]
    assert peer.sent("GET", "/operator/sales")[-1].query == {"q": "park"}


def test_stored_text_is_shown_as_typed(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live", title=NASTY))
    for app in (open_app("token-owner"), open_app("token-owner", "sale", sale="1")):
        assert not app.exception
        assert "![x](http" not in texts(app)
        assert "<img" not in "".join(h.value for h in app.html)


@pytest.mark.parametrize("token", ["token-owner", "token-operator", "token-auditor"])
def test_roles_see_why_they_may_not(open_app: Opener, peer: Peer, token: str) -> None:
    peer.add(make_sale("1", "live"))
    app = open_app(token, "sale", sale="1")
    assert not app.exception
    pause = button(app, "Pause sale")
    assert pause.disabled is (token == "token-auditor")
    if pause.disabled:
        assert "auditor" in pause.help


def test_pausing_is_one_press_and_one_action(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live"))
    app = open_app("token-owner", "sale", sale="1")
    key = button(app, "Pause sale").key
    press(app, "Pause sale")
    assert peer.acted == ["POST /operator/sales/1/pause"]
    assert peer.sales["1"]["status"] == "paused"
    assert key not in [b.key for b in app.button], "the pressed button is gone: a second click falls on nothing"
    app.run()
    assert len(peer.sent("POST", "/pause")) == 1


def test_a_lost_answer_is_asked_for_again_with_the_same_key(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live"))
    peer.drop.add(("POST", "/publish"))
    app = open_app("token-owner", "sale", sale="1")
    press(app, "Publish page")
    assert "The API did not answer" in texts(app)
    press(app, "Publish page")
    sent = peer.sent("POST", "/publish")
    assert len(sent) == 2
    assert len({s.headers["Idempotency-Key"] for s in sent}) == 1
    assert peer.acted == ["POST /operator/sales/1/publish"]


def test_two_presses_meant_are_two_actions_and_a_slow_double_click_is_one(
    open_app: Opener, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from console import intents

    peer.add(make_sale("1", "live"))
    app = open_app("token-owner", "sale", sale="1")
    monkeypatch.setattr(intents, "REST_S", 600)
    press(press(app, "Publish page"), "Publish page")
    assert peer.acted == ["POST /operator/sales/1/publish"]
    monkeypatch.setattr(intents, "REST_S", 0)
    press(app, "Publish page")
    assert peer.acted == ["POST /operator/sales/1/publish"] * 2


def test_the_control_room_reads_the_equation_aloud(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live"))
    app = open_app("token-owner", "sale", sale="1")
    assert not app.exception
    strip = next(h.value for h in app.html if 'class="sp-equation"' in h.value)
    for figure in ("200", "54", "24", "122", "Drift 0", "Gate 54"):
        assert figure in strip
    assert "s old" in texts(app)


def test_drift_is_said_and_not_only_coloured(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "paused", fault="drift", generation=2))
    peer.live_extra = {"drift": -3}
    app = open_app("token-owner", "sale", sale="1")
    said = texts(app)
    assert "The two stores disagree" in said
    assert "Stopped by the platform" in said
    assert "Gate and ledger disagree on the units left." in said
    assert "Drift -3" in said


def test_without_the_gate_nothing_is_called_drift_0(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live"))
    peer.live_extra = {"drift": None, "dependencies": {"database": "up", "gate": "down"}}
    peer.fail[("GET", "/throughput")] = (503, PROBLEM)
    app = open_app("token-owner", "sale", sale="1")
    said = texts(app)
    assert not app.exception
    assert "Not compared" in said
    assert "Drift 0" not in said
    assert "Gate down" in said


def test_the_events_say_what_changed_who_did_it_and_why(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live"))
    app = open_app("token-owner", "sale", sale="1")
    (said,) = [m.value for m in app.markdown if "calmer than rehearsal" in m.value]
    line = next(line for line in said.splitlines() if "Throttle" in line)
    assert "rate per s 300 → 500" in line
    assert "calmer than rehearsal" in line
    assert "olga" in line
    assert "burst" not in line


def test_an_api_that_is_away_is_words_and_comes_back(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live"))
    peer.fail[("GET", "/live")] = (503, PROBLEM)
    app = open_app("token-owner", "sale", sale="1")
    assert not app.exception
    assert "No live figures now" in texts(app)


def test_ten_viewers_cost_what_one_costs(open_app: Opener, peer: Peer) -> None:
    import streamlit as st

    from console import poller, session

    peer.add(make_sale("1", "live"))
    open_app("token-owner", "sale", sale="1")
    poller._poll.clear()
    before = len(peer.sent("GET", "/live"))
    me = session.Operator("o", "e", "owner", "m-ember", "Ember")
    readings = [poller._poll(me.merchant_id, "1", f"token-{n}") for n in ("owner", "operator", "auditor") * 4]
    assert len(peer.sent("GET", "/live")) == before + 1
    assert len({r.read_at_s for r in readings}) == 1
    st.cache_data.clear()


def test_another_merchant_is_never_shown_a_shared_reading(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live", title="Secret parka"))
    open_app("token-owner", "sale", sale="1")
    app = open_app("token-other", "sale", sale="1")
    assert not app.exception
    said = texts(app)
    assert "This does not exist, or belongs to another merchant." in said
    assert "Secret parka" not in said
    assert not [h for h in app.html if 'class="sp-equation"' in h.value]


def fill(app: AppTest, **values: object) -> None:
    """Fill in the new-sale form: one product at 19.00."""
    app.text_input(key="new-title").set_value(values.get("title", "Friday tee"))
    app.selectbox(key="new-item-0-sku").set_value("TEE-M")
    app.text_input(key="new-item-0-price").set_value(values.get("price", "19.00"))
    app.run()


@pytest.fixture
def with_product(peer: Peer) -> Peer:
    price = {"amount_minor": 4900, "currency": "EUR"}
    peer.skus.append({"id": "s1", "sku": "TEE-M", "name": "Tee", "usual_price": price})
    return peer


def test_without_products_the_form_says_what_comes_first(open_app: Opener) -> None:
    assert "First a product" in texts(open_app("token-owner", "new-sale"))


def test_a_sale_is_created_as_entered(open_app: Opener, with_product: Peer) -> None:
    app = open_app("token-owner", "new-sale")
    fill(app)
    press(app, "Save as draft")
    assert not app.exception
    (sent,) = with_product.sent("POST", "/operator/sales")
    assert sent.body["slug"] == "friday-tee"
    assert sent.body["items"] == [
        {"sku": "TEE-M", "price": {"amount_minor": 1900, "currency": "EUR"}, "allotment": 100, "per_shopper_limit": 1}
    ]


def test_faults_are_named_before_anything_is_sent(open_app: Opener, with_product: Peer) -> None:
    app = open_app("token-owner", "new-sale")
    fill(app, title="", price="19.999")
    press(app, "Save as draft")
    assert with_product.sent("POST") == []
    assert "Give the sale a title" in texts(app)
    assert "EUR has 2 decimals" in texts(app)


def test_the_apis_field_errors_stand_at_their_fields(open_app: Opener, with_product: Peer) -> None:
    with_product.fail[("POST", "/operator/sales")] = (
        422,
        {"title": "x", "status": 422, "code": "INVALID_FIELD",
         "errors": [{"field": "items.0.price.amount_minor", "message": "at most 50 here"}]},
    )  # fmt: skip
    app = open_app("token-owner", "new-sale")
    fill(app)
    press(app, "Save as draft")
    assert not app.exception
    assert any(m.value == ":red[at most 50 here]" for m in app.markdown)


def test_a_stale_edit_is_explained_and_the_current_version_can_be_loaded(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1"))
    app = open_app("token-owner", "edit-sale", sale="1")
    peer.sales["1"].update(version=4, title="Changed by a colleague")
    app.text_input(key="edit-1-title").set_value("Mine").run()
    press(app, "Save changes")
    assert "Somebody else changed this" in texts(app)
    assert peer.sales["1"]["title"] == "Changed by a colleague"
    press(app, "Load the current version")
    assert app.text_input(key="edit-1-title").value == "Changed by a colleague"
    app.text_input(key="edit-1-title").set_value("Agreed").run()
    press(app, "Save changes")
    assert peer.sales["1"]["title"] == "Agreed"
    assert peer.sent("PATCH")[-1].body == {"title": "Agreed"}


def test_a_taken_sku_is_said_at_the_field(open_app: Opener, with_product: Peer) -> None:
    app = open_app("token-owner", "products")
    app.text_input(key="product-sku-0").set_value("TEE-M")
    app.text_input(key="product-new-0-name").set_value("Again")
    app.text_input(key="product-new-0-price").set_value("49,00").run()
    press(app, "Add product")
    assert "already taken" in texts(app)
    app.text_input(key="product-sku-0").set_value("TEE-L").run()
    press(app, "Add product")
    assert with_product.skus[0]["usual_price"] == {"amount_minor": 4900, "currency": "EUR"}
    assert app.text_input(key="product-sku-1").value == ""


def test_preflight_names_what_is_missing(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1"))
    app = open_app("token-owner", "sale", sale="1")
    said = texts(app)
    assert "1 of 2 checks need a hand" in said
    assert "Schedule the sale" in said
    press(app, "Schedule")
    assert peer.sales["1"]["status"] == "scheduled"


def test_a_dialogs_body_asks_for_a_reason_and_acts_once(open_app: Opener, peer: Peer) -> None:
    """The body as a function: AppTest cannot drive what is inside a dialog; a browser test does."""
    sale = peer.add(make_sale("1", "live"))
    open_app("token-owner")

    def script(sale: dict) -> None:  # type: ignore[type-arg]
        from console.sale_actions import ACTIONS
        from console.views import steering

        steering.dialog_body(sale, ACTIONS["top-up"])

    app = AppTest.from_function(script, args=(sale,), default_timeout=30).run()
    assert not app.exception
    press(app, "Top up stock")
    assert peer.acted == []
    assert "Give a reason" in texts(app)
    app.number_input[0].set_value(10)
    app.text_area[0].set_value("more came").run()
    assert app.dataframe[0].value["After"].tolist() == ["210", "64"]
    press(app, "Top up stock")
    assert peer.acted == ["POST /operator/sales/1/top-up"]
    assert peer.sent("POST", "/top-up")[-1].body == {"sku": "TEE-M", "quantity": 10, "reason": "more came"}


def test_a_resume_after_a_fault_names_the_generation_it_was_shown(open_app: Opener, peer: Peer) -> None:
    sale = peer.add(make_sale("1", "paused", fault="regressed", generation=3))
    open_app("token-owner")

    def script(sale: dict) -> None:  # type: ignore[type-arg]
        from console.sale_actions import ACTIONS
        from console.views import steering

        steering.dialog_body(sale, ACTIONS["resume"])

    app = AppTest.from_function(script, args=(dict(sale),), default_timeout=30).run()
    assert "The gate has lost a part of its history." in texts(app)
    assert app.dataframe[0].value["After"].tolist() == ["live", "cleared for generation 3"]
    app.text_area[0].set_value("rebuilt and compared").run()
    press(app, "Resume sale")
    assert peer.sent("POST", "/resume")[-1].body == {"generation": 3, "reason": "rebuilt and compared"}


def test_a_rate_may_be_a_fraction(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1"))
    app = open_app("token-owner", "edit-sale", sale="1", step="rules")
    app.number_input(key="edit-1-rate_per_s").set_value(0.5).run()
    press(app, "Save changes")
    assert not app.exception
    assert peer.sent("PATCH")[-1].body["throttle"]["rate_per_s"] == 0.5


def test_no_own_module_hides_one_of_the_standard_library() -> None:
    """Streamlit puts the script's folder first on the path: `console/secrets.py` would break Python."""
    import sys
    from pathlib import Path

    import console

    folder = Path(console.__file__).parent
    names = {p.stem for p in folder.iterdir() if p.suffix == ".py" or p.is_dir()} - {"__init__", "__main__"}
    assert not names & set(sys.stdlib_module_names)
    assert "pages" not in names
