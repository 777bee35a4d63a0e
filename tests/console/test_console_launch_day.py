"""What an operator needs when something is wrong: faults, dependencies, findings, what waits, addresses."""

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from tests.console.peer import NASTY, Peer, make_sale
from tests.console.test_console_pages import button, press, texts
from tests.console.test_console_screens import AT, with_order

Opener = Callable[..., AppTest]

__all__ = ["with_order"]


def test_a_fault_says_what_fits_it_and_leads_there(open_app: Opener, peer: Peer) -> None:
    from console import poller

    peer.add(make_sale("1", "paused", fault="poison", generation=2, recovery="automatic"))
    app = open_app("token-owner", "sale", sale="1")
    assert not app.exception
    assert "the drain meets the same entry again" in texts(app)
    assert "sale=1&tab=Activity" in [link.proto.query_string for link in app.page_link]
    assert "Under way" not in texts(app)
    peer.sales["1"]["fault"] = "regressed"
    poller._poll.clear()  # type: ignore[attr-defined]
    said = texts(open_app("token-owner", "sale", sale="1"))
    assert "**Under way.** Its gate is being written anew" in said
    assert "goes on by itself" in said


def test_a_dependency_that_fails_is_said_with_what_to_do(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live", durability="acknowledged"))
    peer.live_extra = {
        "dependencies": {"database": "up", "gate": "up", "broker": "slow", "workers": "down", "clock": "unknown"},
        "gate_call_p99_ms": 11.2, "gate_unanswered": 0,
    }  # fmt: skip
    app = open_app("token-owner", "sale", sale="1")
    said = texts(app)
    assert not app.exception
    assert "Start the workers again" in said
    assert said.index(":red[**No worker is at work") < said.index(":orange[**The job broker takes work slowly")
    assert "Clock not known" in said
    assert "about a second for each buyer" in said
    assert "11 ms" in said


def test_another_hands_throttle_reaches_the_steering(open_app: Opener, peer: Peer) -> None:
    """The page's own copy is older than the reading: the dialog would show a "before" that is no more."""
    from console import poller

    sale = peer.add(make_sale("1", "live"))
    app = open_app("token-owner", "sale", sale="1")
    read = len(peer.sent("GET", "/operator/sales/1"))
    poller._poll.clear()  # type: ignore[attr-defined]
    app.run()
    assert len(peer.sent("GET", "/operator/sales/1")) == read + 1
    peer.live_extra = {"throttle": sale["throttle"] | {"rate_per_s": 9.0}}
    poller._poll.clear()  # type: ignore[attr-defined]
    app.run()
    # The page, its live part that found another throttle, and the page anew.
    assert len(peer.sent("GET", "/operator/sales/1")) == read + 3


def test_before_and_after_are_those_of_this_second(open_app: Opener, peer: Peer) -> None:
    old = make_sale("1", "live")
    sale = peer.add(make_sale("1", "live"))
    sale["items"][0].update(available=50, sold=126)
    open_app("token-owner")

    def script(sale: dict) -> None:  # type: ignore[type-arg]
        from console.sale_actions import ACTIONS
        from console.views import steering

        steering.dialog_body(sale, ACTIONS["reduce"])

    app = AppTest.from_function(script, args=(old,), default_timeout=30).run()
    assert not app.exception
    assert app.dataframe[0].value["Before"].tolist() == ["200", "50"]


def test_a_finding_is_told_in_words_and_leads_to_its_order_and_entries(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "ended"))
    found = {"rule": "I11", "message": f"A reservation is expired. {NASTY}", "ids": {"reservation_id": "r-9"}}
    peer.runs["1"] = [
        {"id": "run-1", "verdict": "findings", "oversold": 0, "stranded": 0, "drift": 0, "duplicates": 0,
         "findings": [found | {"numbers": {}}] * 21, "started_at": AT, "finished_at": AT, "trigger": "clock"}
    ]  # fmt: skip
    app = open_app("token-auditor", "sale", sale="1", tab="Reconciliation")
    assert not app.exception
    said = texts(app)
    assert "Orders and reservations say the same" in said
    assert "![x](http" not in said
    queries = [link.proto.query_string for link in app.page_link]
    assert queries.count("sale=1&tab=Orders&q=r-9") == queries.count("sale=1&tab=Ledger&cause=r-9") == 20
    assert len(next(table.value for table in app.dataframe if "Rule" in table.value)) == 1
    # The way there: the list is searched at once, and what is typed afterwards stays.
    orders = open_app("token-auditor", "sale", sale="1", tab="Orders", q="r-9")
    assert peer.sent("GET", "/orders")[-1].query == {"q": "r-9"}
    orders.text_input(key="orders-q").set_value("r-1").run()
    assert peer.sent("GET", "/orders")[-1].query == {"q": "r-1"}


def test_an_address_is_masked_until_it_is_asked_for(open_app: Opener, with_order: Peer) -> None:
    with_order.sales["1"]["delivery_required"] = True
    with_order.lives["o-1"]["delivery"] = {
        "name": "Ada Byron", "address": "5 Mill Lane", "postal_code": "N1 9GU", "city": "London", "country": "GB",
        "updated_at": AT,
    }  # fmt: skip
    app = open_app("token-owner", "sale", sale="1", tab="Orders")
    assert not app.exception
    said = texts(app)
    assert "A•••, London" in said
    assert "Mill Lane" not in said
    assert any("orders.csv?delivery=true" in h.value for h in app.html)
    app.toggle(key="order o-1: delivery").set_value(True).run()
    for words in ("Ada Byron", "5 Mill Lane", "N1 9GU London"):
        assert words in texts(app)
    del with_order.lives["o-1"]["delivery"]
    auditor = open_app("token-auditor", "sale", sale="1", tab="Orders")
    assert "an owner or operator may do this" in texts(auditor)
    assert not any("delivery=true" in h.value for h in auditor.html)


def test_a_message_that_was_given_up_is_sent_again_from_what_waits(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live"))
    peer.dead_letters.append(
        {"id": "d-1", "sale_id": "1", "source": "notification", "reference": "n-7", "error": "550", "created_at": AT}
    )
    press(open_app("token-owner", "sale", sale="1", tab="Activity"), "Send again")
    assert peer.acted == ["POST /operator/notifications/n-7/resend"]
    auditor = open_app("token-auditor", "sale", sale="1", tab="Activity")
    assert button(auditor, "Send again").disabled is True
    assert button(auditor, "Mark as dealt with").disabled is True
