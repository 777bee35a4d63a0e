"""Settings' messages and defaults, and the check of the activity log, against a peer that speaks the contract."""

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from tests.console.peer import Peer
from tests.console.test_console_pages import button, press, texts

Opener = Callable[..., AppTest]


def open_tab(open_app: Opener, token: str, tab: str) -> AppTest:
    app = open_app(token, "settings")
    app.session_state["settings-tab"] = tab
    app.run()
    assert not app.exception
    return app


def test_a_channels_address_is_sent_once_and_tried(open_app: Opener, peer: Peer) -> None:
    app = open_tab(open_app, "token-owner", "Messages")
    assert "3 sent, 0 waiting, 1 given up" in texts(app)
    assert "error\\=500" in texts(app)
    assert app.text_input(key="channel-url-0").proto.type == 1, "typed like a password"
    app.text_input(key="channel-name-0").set_value("Hook")
    app.text_input(key="channel-url-0").set_value("jsons://hooks.acme.example/in")
    press(app, "Add")
    (sent,) = peer.sent("POST", "/operator/channels")
    assert sent.body == {
        "name": "Hook", "audience": "team", "url": "jsons://hooks.acme.example/in", "kinds": ["order_confirmed"],
    }  # fmt: skip
    assert app.text_input(key="channel-url-1").value == ""
    (test,) = [one for one in app.button if one.key and one.key.startswith("channel ch-1: test#")]
    test.click().run()
    assert not app.exception
    assert len(peer.sent("POST", "/operator/channels/ch-1/test")) == 1
    assert "no answer within 10 s" in texts(app)


def test_words_are_checked_as_they_are_typed_and_not_saved_while_wrong(open_app: Opener, peer: Peer) -> None:
    app = open_tab(open_app, "token-owner", "Messages")
    assert "There is no \\{itm\\} here" in texts(app)
    app.text_area(key="words-body-order_confirmed-0").set_value("Hello {itm}").run()
    assert peer.sent("POST", "/operator/templates/order_confirmed/check")[-1].body == {
        "subject": "Yours: {item}", "body": "Hello {itm}",
    }  # fmt: skip
    assert button(app, "Save words").disabled is True
    press(app, "Back to the platform's words")
    assert len(peer.sent("DELETE", "/operator/templates/order_confirmed")) == 1

    other = open_tab(open_app, "token-operator", "Messages")
    assert not [one for one in other.text_area if one.key and one.key.startswith("words-")]
    assert "Good news." in [one.value for one in other.code]


def test_defaults_are_saved_whole_by_owners(open_app: Opener, peer: Peer) -> None:
    app = open_tab(open_app, "token-owner", "Defaults")
    app.number_input(key="defaults-hold-0").set_value(300)
    press(app, "Save defaults")
    (sent,) = peer.sent("PUT", "/operator/defaults")
    assert sent.body == {
        "throttle": {"rate_per_s": 500.0, "burst": 1000, "wait_budget_ms": 0, "repeat_window_ms": 10000},
        "link": {"ttl_s": 300, "overlap_s": 0}, "payment": {"hold_s": 300},
    }  # fmt: skip
    other = open_tab(open_app, "token-auditor", "Defaults")
    assert button(other, "Save defaults").disabled is True
    assert all(one.disabled for one in other.number_input)


def test_a_broken_log_is_told_in_words(open_app: Opener, peer: Peer) -> None:
    app = open_app("token-auditor", "activity")
    assert not app.exception
    press(app, "Check the whole log")
    (error,) = app.error
    assert "Entry 42 (Pause" in error.value
    assert "was changed after it was recorded" in error.value
    assert "ab" * 32 in app.code[0].value
    app.number_input(key="activity-noted-entries").set_value(50)
    app.text_input(key="activity-noted-digest").set_value("AB" * 32)
    press(app, "Check the whole log")
    assert peer.sent("GET", "/audit/activity/verify")[-1].query == {"entries": "50", "digest": "ab" * 32}
