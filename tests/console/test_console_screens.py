"""Home, orders, audit, settings and the sales list against a peer that speaks the contract, by AppTest."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from console.history import Units
from tests.console.peer import NASTY, Peer, make_sale, stamp
from tests.console.test_console_pages import button, press, texts

Opener = Callable[..., AppTest]
AT = "2026-12-04T18:00:00Z"


def home_sale(sale_id: str, status: str = "live", **changes: Any) -> dict[str, Any]:
    return {
        "id": sale_id, "slug": f"sale-{sale_id}", "title": f"Sale {sale_id}", "status": status, "phase": status,
        "opens_at": stamp(datetime.now(UTC) + timedelta(seconds=90)), "time_zone": "Europe/Berlin",
        "closes_at": stamp(datetime.now(UTC) + timedelta(hours=1)), "allotment": 200, "reserved": 24, "sold": 122,
    } | changes  # fmt: skip


def life(order_id: str = "o-1", status: str = "reserved", **changes: Any) -> dict[str, Any]:
    return {
        "id": order_id, "reservation_id": "r-1", "sku": "TEE-M", "quantity": 1, "status": status,
        "price": {"amount_minor": 1900, "currency": "EUR"}, "shopper_id": "s-1", "contact_masked": "a•••@mail.test",
        "created_at": AT, "releases": [], "ledger": [],
        "attempt": {"journal_entry": "1-7", "lane": 0, "admitted_at": AT, "decided_at": AT, "delay_ms": 8,
                    "recovered": False},
        "notifications": [{"id": "n-1", "kind": "order_reserved", "status": "sent", "attempts": 1, "created_at": AT}],
    } | changes  # fmt: skip


@pytest.fixture
def with_order(peer: Peer) -> Peer:
    peer.add(make_sale("1", "live"))
    peer.lives["o-1"] = life()
    peer.orders.append({name: value for name, value in peer.lives["o-1"].items() if name != "attempt"})
    return peer


def test_home_begins_with_the_first_steps(open_app: Opener) -> None:
    app = open_app("token-owner", "home")
    assert not app.exception
    assert "Your first sale" in texts(app)
    assert [link.value[:4] for link in app.page_link] == ["**1.", "**2.", "**3."]


def test_home_says_what_needs_a_hand_and_leads_there(open_app: Opener, peer: Peer) -> None:
    peer.home = {
        "live": [home_sale("1")],
        "next": [home_sale("2", "scheduled", title=NASTY)],
        "needs": [
            {"kind": "fault", "sale_id": "1", "title": "Sale 1", "detail": "drift", "count": 1},
            {"kind": "refunds_due", "sale_id": "1", "title": "Sale 1", "detail": "Money goes back.", "count": 3},
        ],
        "dependencies": {"database": "up", "gate": "down"},
    }
    app = open_app("token-owner", "home")
    said = texts(app)
    assert not app.exception
    assert "Stopped by the platform" in said
    assert "Gate and ledger disagree on the units left" in said
    assert "Refunds due (3)" in said
    assert "Gate down" in said
    assert "opens in **1:" in said
    assert "<img" not in "".join(h.value for h in app.html)
    queries = [link.proto.query_string for link in app.page_link]
    assert "sale=1&tab=Control+room" in queries
    assert "sale=1&tab=Orders" in queries


def test_home_without_the_api_says_so_and_comes_back(open_app: Opener, peer: Peer) -> None:
    peer.fail[("GET", "/operator/home")] = (503, {"title": "x", "status": 503, "code": "DEGRADED"})
    app = open_app("token-owner", "home")
    assert not app.exception
    assert "No figures now" in texts(app)


def test_home_of_another_merchant_is_never_shown(open_app: Opener, peer: Peer) -> None:
    from console.views import home

    peer.home = {"live": [home_sale("1", title="Secret parka")]}
    assert "Secret parka" in "".join(link.value for link in open_app("token-owner", "home").page_link)
    peer.home = {}
    app = open_app("token-other", "home")
    assert "Secret parka" not in "".join(link.value for link in app.page_link)
    home._poll.clear()


def test_an_order_is_looked_at_from_the_first_try(open_app: Opener, with_order: Peer) -> None:
    app = open_app("token-owner", "sale", sale="1", tab="Orders")
    assert not app.exception
    assert "journal entry 1-7" in " ".join(app.dataframe[1].value["Record"])
    assert "Order o-1" in texts(app)


def test_cancelling_an_order_asks_for_a_reason_and_happens_once(open_app: Opener, with_order: Peer) -> None:
    app = open_app("token-owner", "sale", sale="1", tab="Orders")
    press(app, "Cancel order")
    assert with_order.sent("POST") == []
    assert "Give a reason; it is recorded." in texts(app)
    app.text_input(key="order o-1: cancel-reason").set_value("the shopper asked").run()
    press(app, "Cancel order")
    (sent,) = with_order.sent("POST", "/cancel")
    assert sent.body == {"reason": "the shopper asked"}
    assert "Cancel order" not in [b.label for b in app.button]


def test_a_message_is_sent_again(open_app: Opener, with_order: Peer) -> None:
    app = open_app("token-owner", "sale", sale="1", tab="Orders")
    press(app, "Send again: order reserved")
    assert with_order.acted == ["POST /operator/notifications/n-1/resend"]


def test_a_refund_is_marked_where_it_is_due(open_app: Opener, with_order: Peer) -> None:
    with_order.lives["o-1"]["status"] = "refund_due"
    app = open_app("token-owner", "sale", sale="1", tab="Orders")
    assert "Cancel order" not in [b.label for b in app.button]
    app.text_input(key="order o-1: refunded-reason").set_value("transfer 12").run()
    press(app, "Mark as refunded")
    assert with_order.lives["o-1"]["status"] == "refunded"


def test_an_auditor_sees_orders_and_may_not_act(open_app: Opener, with_order: Peer) -> None:
    app = open_app("token-auditor", "sale", sale="1", tab="Orders")
    for label in ("Cancel order", "Send again: order reserved"):
        assert button(app, label).disabled is True


def test_an_auditor_signs_a_run_off_with_a_remark(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "ended"))
    app = open_app("token-auditor", "sale", sale="1", tab="Reconciliation")
    press(app, "Run reconciliation")
    press(app, "Sign off")
    assert peer.signed == []
    assert "Write a remark" in texts(app)
    app.text_input(key="run run-1: sign off-remark").set_value("counted twice").run()
    press(app, "Sign off")
    assert [one["remark"] for one in peer.signed] == ["counted twice"]
    assert "counted twice" in texts(app)
    assert any("run-1.html" in h.value for h in app.html), "the report can be downloaded"


def test_an_operator_may_not_sign_off(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "ended"))
    open_app("token-owner", "sale", sale="1", tab="Reconciliation")
    press(open_app("token-owner", "sale", sale="1", tab="Reconciliation"), "Run reconciliation")
    assert button(open_app("token-operator", "sale", sale="1", tab="Reconciliation"), "Sign off").disabled is True


def test_the_ledger_is_found_by_a_cause_and_says_what_is_no_id(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live"))
    peer.entries.append(
        {"id": 9, "at": AT, "sku": "TEE-M", "kind": "reserve", "quantity": 1, "allotment_delta": 0,
         "available_delta": -1, "reserved_delta": 1, "sold_delta": 0, "journal_entry": "1-7", "order_id": "o-1"}
    )  # fmt: skip
    app = open_app("token-auditor", "sale", sale="1", tab="Ledger")
    assert app.dataframe[0].value["Available"].tolist() == ["-1"]
    app.text_input(key="ledger-cause").set_value("not an id").run()
    assert "That is no id" in texts(app)
    cause = "01a2053d-fd2a-71e2-9055-caff6c30d585"
    app.text_input(key="ledger-cause").set_value(cause).run()
    assert peer.sent("GET", "/entries")[-1].query == {"cause": cause}


def test_a_dead_letter_is_dealt_with_by_saying_how(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "live"))
    peer.dead_letters.append(
        {"id": "d-1", "sale_id": "1", "source": "journal", "reference": "1-7", "error": NASTY, "created_at": AT}
    )
    app = open_app("token-owner", "sale", sale="1", tab="Activity")
    assert not app.exception
    assert "put aside, its neighbours went through" in texts(app)
    press(app, "Mark as dealt with")
    assert peer.acted == []
    assert "Say what was done; it is recorded." in texts(app)
    app.text_input(key="letter d-1: resolve-reason").set_value("called").run()
    press(app, "Mark as dealt with")
    assert peer.acted == ["POST /operator/dead-letters/d-1/resolve"]


def test_a_sale_that_is_over_is_replayed_on_the_same_screen(open_app: Opener, peer: Peer) -> None:
    peer.add(make_sale("1", "reconciled"))
    app = open_app("token-owner", "sale", sale="1")
    assert not app.exception
    strip = next(h.value for h in app.html if 'class="sp-equation"' in h.value)
    assert "<strong>200</strong>" in strip
    assert "Adds up" in strip
    slider = app.select_slider(key="replay-moment")
    assert slider.value == 2
    slider.set_value(1).run()
    strip = next(h.value for h in app.html if 'class="sp-equation"' in h.value)
    assert "<strong>122</strong>" in strip
    assert peer.sent("GET", "/live") == [], "what is over is not polled"


def test_the_chart_begins_before_the_first_viewer(open_app: Opener, peer: Peer) -> None:
    from console import poller

    peer.add(make_sale("1", "live"))
    open_app("token-owner", "sale", sale="1")
    history = poller._history("m-ember", "1").points()
    assert [p.sold for p in history][:3] == [0, 122, 200]


def test_what_happened_while_nobody_watched_is_filled_in(open_app: Opener, peer: Peer) -> None:
    from console import poller

    sale = peer.add(make_sale("1", "live"))
    opens = datetime.fromisoformat(sale["opens_at"])
    history = poller._history("m-ember", "1")
    history.add(Units(at_ms=int(opens.timestamp() * 1_000), allotment=200, available=200, reserved=0, sold=0, drift=0))
    open_app("token-owner", "sale", sale="1")
    # The known point, the two of the replay that came after it, and the reading itself.
    assert [p.sold for p in poller._history("m-ember", "1").points()] == [0, 122, 200, 122]
    poller._poll.clear()  # type: ignore[attr-defined]
    open_app("token-owner", "sale", sale="1")
    assert len(peer.sent("GET", "/replay")) == 1, "asked for a gap, not at each reading"


def test_a_live_chart_keeps_its_identity_while_its_figure_changes(open_app: Opener, peer: Peer) -> None:
    """The browser draws a chart of another identity anew: an empty card in between, and the zoom lost."""
    from streamlit.elements import plotly_chart

    from console import poller, steady

    def identities() -> set[str]:
        found, figures = set(), set()
        app = open_app("token-owner", "sale", sale="1")
        for sold in (122, 130):
            peer.sales["1"]["items"][0].update(sold=sold, available=176 - sold)
            poller._poll.clear()  # type: ignore[attr-defined]
            app.run()
            (chart,) = app.get("plotly_chart")
            found.add(chart.proto.id)
            figures.add(chart.proto.spec)
        assert len(figures) == 2
        return found

    peer.add(make_sale("1", "live"))
    assert len(identities()) == 1
    # The negative control: Streamlit's own way makes two charts of it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steady, "install", lambda: None)
        patch.setattr(plotly_chart, "compute_and_register_element_id", steady._by_figure)
        assert len(identities()) == 2


def test_settings_are_the_owners(open_app: Opener, peer: Peer) -> None:
    app = open_app("token-owner", "settings")
    app.text_input(key="person-email-0").set_value("new@ember.test")
    app.text_input(key="person-password-0").set_value("a long password")
    press(app, "Add")
    (sent,) = peer.sent("POST", "/operator/operators")
    assert sent.body == {"email": "new@ember.test", "role": "operator", "password": "a long password"}
    assert app.text_input(key="person-email-1").value == ""
    other = open_app("token-operator", "settings")
    assert not other.exception
    assert button(other, "Add").disabled is True
    (dismiss,) = [b for b in other.button if b.label.startswith("Dismiss")]
    assert dismiss.disabled is True


def test_a_duplicate_begins_with_the_old_terms(open_app: Opener, peer: Peer) -> None:
    peer.skus.append({"id": "s1", "sku": "TEE-M", "name": "Tee"})
    peer.add(make_sale("1", "reconciled", title="Friday tee", slug="friday-tee"))
    opened = open_app("token-owner", "new-sale", **{"from": "1"})
    assert not opened.exception
    assert opened.text_input(key="new-title").value == "Friday tee (again)"
    press(opened, "Save as draft")
    (sent,) = peer.sent("POST", "/operator/sales")
    assert sent.body["items"][0]["sku"] == "TEE-M"
    assert sent.body["slug"].startswith("friday-tee-")


def test_overlapping_sales_are_named(open_app: Opener, peer: Peer) -> None:
    now = datetime.now(UTC)
    for sale_id, hours in (("1", 1), ("2", 1.5)):
        opens = now + timedelta(hours=hours)
        peer.add(make_sale(sale_id, "scheduled", opens_at=stamp(opens), closes_at=stamp(opens + timedelta(hours=1))))
    app = open_app("token-owner")
    assert "**Overlap:**" in texts(app)
    assert any("sp-timeline" in h.value and "Sale 1" in h.value for h in app.html)
