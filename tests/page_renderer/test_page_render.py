"""What the pages say, and that merchants' words stay words."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser

import pytest

from page_renderer import (
    IndexEntry,
    IndexPage,
    ItemState,
    Money,
    SaleItemView,
    SalePage,
    SaleState,
    assets,
    render_index,
    render_sale,
    render_state,
)
from page_renderer.text import clean, duration, every, local_time, money, wall_time

# Attributes that run something, or could: none may stand in a page (the CSP would stop them, and a
# page that leans on its CSP has already lost one of its two walls).
_URL_ATTRIBUTES = {"href", "src", "action", "formaction", "srcset", "poster", "data"}


class _Page(HTMLParser):
    """A page as a browser takes it apart: elements, attributes, text."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        return [value for _, attrs in self.elements if (value := attrs.get(name)) is not None]


def _sale(page: SalePage) -> _Page:
    return _Page(render_sale(page).files["index.html"])


def test_the_page_says_what_is_sold_when_and_for_how_much(page: SalePage) -> None:
    text = _sale(page).text
    assert "Friday tee" in text
    assert "Northwind Supply" in text
    assert "Tee, size M" in text
    assert "€19.00" in text
    assert "€49.00" in text
    assert "One per person" in text
    assert "Opens Friday 4 December 2026, 19:00" in text
    assert "Ends Friday 4 December 2026, 20:00" in text
    assert "Times in Europe/Berlin" in text
    assert "Not paid in 15 minutes?" in text
    assert "Everyone gets one try per 10 seconds" in text
    assert "Buying needs JavaScript" in text


def test_the_script_finds_the_times_in_milliseconds(page: SalePage) -> None:
    main = next(attrs for tag, attrs in _sale(page).elements if tag == "main")
    assert main["data-slug"] == "friday-tee"
    assert main["data-opens-at-ms"] == "1796407200000"
    assert main["data-closes-at-ms"] == "1796410800000"


def test_several_items_are_a_choice_and_one_is_not(page: SalePage, tee: SaleItemView) -> None:
    assert "fieldset" not in [tag for tag, _ in _sale(page).elements]
    two = replace(page, items=(tee, replace(tee, sku="TEE-L", name="Tee, size L")))
    shown = _sale(two)
    assert "fieldset" in [tag for tag, _ in shown.elements]
    radios = [attrs for _, attrs in shown.elements if attrs.get("type") == "radio"]
    assert [radio["value"] for radio in radios] == ["TEE-M", "TEE-L"]
    assert ["checked" in radio for radio in radios] == [True, False]


def test_the_buy_button_is_closed_until_the_script_opens_it(page: SalePage) -> None:
    button = next(attrs for tag, attrs in _sale(page).elements if attrs.get("id") == "buy")
    assert "disabled" in button


@pytest.mark.parametrize(
    "usual",
    [None, Money(1900, "EUR"), Money(1800, "EUR"), Money(4900, "USD")],
    ids=["none", "equal", "lower", "another currency"],
)
def test_a_usual_price_that_is_not_higher_is_not_shown(page: SalePage, tee: SaleItemView, usual: Money | None) -> None:
    shown = _sale(replace(page, items=(replace(tee, usual_price=usual),)))
    assert shown.attributes("data-usual") == []
    assert "You save" not in shown.text
    assert ["hidden" in attrs for _, attrs in shown.elements if attrs.get("id") == "usual"] == [True]


def test_without_payment_nobody_is_told_to_pay(page: SalePage) -> None:
    shown = _sale(replace(page, payment_hold_s=None))
    assert "Not paid in" not in shown.text
    assert shown.attributes("data-hold-words") == []


# -- S21 -------------------------------------------------------------------------------------------

_HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    '" onmouseover="alert(1)" x="',
    "' autofocus onfocus='alert(1)",
    "{{7*7}}",
    "{% include 'x' %}{% raw %}{# c #}",
    "</title><script>alert(1)</script>",
    "</bdi></h1><!--",
    "&lt;b&gt; &amp;amp; &#x3c;",
    "${7*7} <%= 7*7 %>",
    "]]><svg onload=alert(1)>",
]


@pytest.mark.parametrize("hostile", _HOSTILE)
def test_merchants_words_are_shown_and_never_run(page: SalePage, tee: SaleItemView, hostile: str) -> None:
    item = replace(tee, name=hostile, description=hostile)
    twin = replace(item, sku="TEE-L")
    plain = _sale(replace(page, description="words", items=(tee, replace(tee, sku="TEE-L"))))
    shown = _sale(replace(page, title=hostile, merchant_name=hostile, description=hostile, items=(item, twin)))
    # The words are there to read, once for each place, exactly as they came.
    assert shown.words.count(hostile) >= 4
    assert shown.attributes("data-name") == [hostile, hostile]
    # And they made no element and no attribute, but what Markdown makes of a description's stars.
    added = {tag for tag, _ in shown.elements} - {tag for tag, _ in plain.elements}
    assert added <= {"em"}
    assert [a for tag, a in shown.elements if tag == "script"] == [a for tag, a in plain.elements if tag == "script"]
    known = {name for _, attrs in plain.elements for name in attrs}
    assert {name for _, attrs in shown.elements for name in attrs} <= known
    for name in _URL_ATTRIBUTES:
        assert shown.attributes(name) == plain.attributes(name)


def test_hostile_words_in_the_index_are_shown_and_never_run() -> None:
    for hostile in _HOSTILE:
        shown = _Page(render_index(IndexPage((_entry(title=hostile),), title=hostile)).files["index.html"])
        assert shown.words.count(hostile) >= 2
        assert shown.attributes("href").count("/s/friday-tee/") == 1
        assert len([tag for tag, _ in shown.elements if tag == "script"]) == 1


def test_characters_that_deceive_the_eye_are_left_out(page: SalePage) -> None:
    title = "Tee \u202e00.91€\u202c \u200bfree\u2060\ufeff \u2066x\u2069\x00\x1b[31m\U000e0041"
    shown = _sale(replace(page, title=title, merchant_name=title, description=title))
    assert "Tee 00.91€ free x[31m" in shown.words
    html = render_sale(replace(page, title=title, description=title)).files["index.html"].decode()
    for character in "\u202e\u202c\u200b\u2060\ufeff\u2066\u2069\x00\x1b\U000e0041":
        assert character not in html


def test_right_to_left_words_stay_right_to_left_in_their_own_box(page: SalePage) -> None:
    arabic, persian, family = "قميص الجمعة", "می\u200cخواهم", "👨\u200d👩\u200d👧"
    html = render_sale(replace(page, title=f"{arabic} {persian} {family}")).files["index.html"]
    assert f'<bdi lang="en">{arabic} {persian} {family}</bdi>' in html.decode()


def test_a_lone_surrogate_does_not_stop_publication(page: SalePage) -> None:
    assert "Tee \ufffd" in _sale(replace(page, title="Tee \ud800")).words


# -- the walls -------------------------------------------------------------------------------------


def test_a_page_has_no_inline_code_and_asks_nobody_else(page: SalePage) -> None:
    for html in (
        render_sale(page).files["index.html"],
        render_index(IndexPage((_entry(),))).files["index.html"],
    ):
        shown = _Page(html)
        assert shown.attributes("style") == []
        for tag, attrs in shown.elements:
            assert tag not in {"style", "iframe", "object", "embed", "base"}
            assert not [name for name in attrs if name.startswith("on")]
            if tag == "script" and attrs["type"] != "application/ld+json":
                assert attrs["type"] == "module"
                assert attrs["src"]
            for name in _URL_ATTRIBUTES & attrs.keys():
                assert (attrs[name] or "").startswith(("/", "#", "?lang="))
                assert not (attrs[name] or "").startswith("//")


def test_every_asset_a_page_names_exists(page: SalePage) -> None:
    for html in (
        render_sale(page).files["index.html"],
        render_index(IndexPage(())).files["index.html"],
    ):
        shown = _Page(html)
        named = {url for url in shown.attributes("href") + shown.attributes("src") if "/assets/" in url}
        assert named
        assert {url.removeprefix("/assets/") for url in named} <= set(assets())


def test_labels_point_to_fields_and_ids_are_unique(page: SalePage) -> None:
    shown = _sale(page)
    ids = shown.attributes("id")
    assert len(ids) == len(set(ids))
    for name in ("for", "aria-labelledby", "aria-describedby"):
        assert set(shown.attributes(name)) <= set(ids)


# -- determinism -----------------------------------------------------------------------------------


def test_the_same_context_gives_the_same_bytes(page: SalePage) -> None:
    # In another process, with another hash seed, locale and time zone.
    script = (
        "import sys; from datetime import UTC, datetime\n"
        "from page_renderer import *\n"
        "page = SalePage('friday-tee', 'Friday tee', 'Northwind Supply',"
        " datetime(2026, 12, 4, 18, tzinfo=UTC), datetime(2026, 12, 4, 19, tzinfo=UTC),"
        " 'Europe/Berlin', (SaleItemView('TEE-M', 'Tee, size M', Money(1900, 'EUR'),"
        " Money(4900, 'EUR')),), payment_hold_s=900)\n"
        "sys.stdout.buffer.write(render_sale(page).files['index.html'])\n"
    )
    environment = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONPATH": ":".join(sys.path)}
    other = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True, timeout=60)
    assert other.stdout == render_sale(page).files["index.html"]


def test_a_renderer_imports_nothing_of_ours() -> None:
    script = (
        "import sys; import page_renderer\n"
        "ours = {'backend', 'console', 'workers', 'stack', 'migrations', 'bench'}\n"
        "print(sorted(ours & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]"


# -- state.json ------------------------------------------------------------------------------------


def _state(**changes: object) -> SaleState:
    state = SaleState(
        phase="live",
        opens_at=datetime(2026, 12, 4, 18, tzinfo=UTC),
        closes_at=datetime(2026, 12, 4, 19, tzinfo=UTC),
        at=datetime(2026, 12, 4, 18, 0, 0, 123_999, tzinfo=UTC),
        items=(ItemState("TEE-M", "live", "few"), ItemState("TEE-L", "sold_out", "none")),
    )
    return replace(state, **changes)  # type: ignore[arg-type]


def test_the_state_has_the_agreed_shape() -> None:
    assert json.loads(render_state(_state())) == {
        "phase": "live",
        "opens_at_ms": 1796407200000,
        "closes_at_ms": 1796410800000,
        "at_ms": 1796407200123,
        "items": {
            "TEE-M": {"phase": "live", "available_hint": "few"},
            "TEE-L": {"phase": "sold_out", "available_hint": "none"},
        },
    }


def test_the_state_of_a_large_sale_stays_small() -> None:
    items = tuple(ItemState(f"SKU-{number:04d}", "live", "many") for number in range(100))
    assert len(render_state(_state(items=items))) < 8_000


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "open"},
        {"at": datetime(2026, 12, 4)},  # noqa: DTZ001 - a naive time is what must be refused
        {"items": tuple(ItemState(f"S{n}", "live", "many") for n in range(101))},
    ],
    ids=["phase", "naive time", "too many items"],
)
def test_a_bad_state_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        _state(**change)


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1900, "EUR", "€19.00"),
        (5, "USD", "$0.05"),
        (123_456_789, "GBP", "£1,234,567.89"),
        (500, "JPY", "¥500"),
        (1234, "KWD", "KWD\u00a01.234"),
        (0, "CHF", "CHF\u00a00.00"),
    ],
)
def test_money(amount: int, currency: str, text: str) -> None:
    assert money(Money(amount, currency)) == text


def test_local_time_names_the_day_of_the_zone() -> None:
    at = datetime(2026, 12, 4, 23, 30, tzinfo=UTC)
    assert local_time(at, "Europe/Berlin") == "Saturday 5 December 2026, 00:30 (Europe/Berlin)"
    assert wall_time(at + timedelta(seconds=7), "America/New_York") == "Friday 4 December 2026, 18:30:07"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 second"), (10, "10 seconds"), (60, "1 minute"), (90, "90 seconds"), (900, "15 minutes"), (7200, "2 hours")],
)
def test_duration(seconds: int, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "second"), (900, "second"), (1000, "second"), (10_000, "10 seconds"), (60_000, "minute")],
)
def test_every(milliseconds: int, text: str) -> None:
    assert every(milliseconds) == text


def test_clean_makes_one_line() -> None:
    assert clean("  a\r\n\tb \u00a0 c ") == "a b c"


_BERLIN_WINTER = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    "change",
    [
        {"slug": "../etc"},
        {"slug": "Friday"},
        {"slug": "-friday"},
        {"slug": "a" * 64},
        {"slug": "friday\n"},
        {"time_zone": "Mars/Olympus"},
        {"items": ()},
        {"opens_at": datetime(2026, 12, 4, 19, tzinfo=UTC)},
        {"opens_at": datetime(2026, 12, 4, 18)},  # noqa: DTZ001 - as above
        {"opens_at": datetime(2026, 12, 4, 18, tzinfo=_BERLIN_WINTER)},
        {"payment_hold_s": -1},
    ],
)
def test_a_bad_page_is_refused(page: SalePage, change: dict[str, object]) -> None:
    with pytest.raises((ValueError, LookupError)):
        replace(page, **change)  # type: ignore[arg-type]


def test_an_item_appears_once(page: SalePage, tee: SaleItemView) -> None:
    with pytest.raises(ValueError, match="once"):
        replace(page, items=(tee, tee))


@pytest.mark.parametrize("sku", ["", ".", "..", "../x", "a/b", "-a", "a" * 65, "a\n", "é"])
def test_a_bad_sku_is_refused(sku: str) -> None:
    with pytest.raises(ValueError, match="not a SKU"):
        SaleItemView(sku=sku, name="x", price=Money(1, "EUR"))


@pytest.mark.parametrize(("amount", "currency"), [(-1, "EUR"), (1, "eur"), (1, "EURO"), (1, "")])
def test_bad_money_is_refused(amount: int, currency: str) -> None:
    with pytest.raises(ValueError):
        Money(amount, currency)


# -- the index -------------------------------------------------------------------------------------


def _entry(slug: str = "friday-tee", title: str = "Friday tee", hour: int = 18) -> IndexEntry:
    return IndexEntry(
        slug=slug,
        title=title,
        merchant_name="Northwind Supply",
        opens_at=datetime(2026, 12, 4, hour, tzinfo=UTC),
        closes_at=datetime(2026, 12, 4, 22, tzinfo=UTC),
        time_zone="Europe/Berlin",
        price_from=Money(1900, "EUR"),
    )


def test_the_index_lists_sales_by_opening_time() -> None:
    sales = (_entry("late", hour=20), _entry("early", hour=17), _entry("also-early", hour=17))
    html = render_index(IndexPage(sales)).files["index.html"]
    links = [url for url in _Page(html).attributes("href") if url.startswith("/s/")]
    assert links == ["/s/also-early/", "/s/early/", "/s/late/"]
    assert html == render_index(IndexPage(sales[::-1])).files["index.html"]
    assert "Opens Friday 4 December 2026, 18:00 (Europe/Berlin)" in _Page(html).text
    assert "from €19.00" in _Page(html).text


def test_an_empty_index_says_so() -> None:
    assert "No sale is announced right now." in _Page(render_index(IndexPage(())).files["index.html"]).text
