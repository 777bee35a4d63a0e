"""The catalogues say the same things in every language, and a page is in one language from head to foot."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from page_renderer import IndexPage, Money, SaleItemView, SalePage, assets, money, render_index, render_sale
from page_renderer.text import duration, every, local_time
from page_renderer.words import LANGUAGES, PLURALS, catalogue, fill, words

_PLACE = re.compile(r"\{([a-z_]+)\}")
_OTHERS = [language for language in LANGUAGES if language != "en"]


def _texts(message: Any) -> list[str]:
    if isinstance(message, str):
        return [message]
    return list(message.values() if isinstance(message, dict) else message)


def _messages(language: str) -> Iterator[tuple[str, Any]]:
    found = catalogue(language)
    for part in ("page", "script"):
        for name, message in found[part].items():
            yield f"{part}.{name}", message


@pytest.mark.parametrize("language", _OTHERS)
def test_each_language_says_everything_in_the_same_form(language: str) -> None:
    english, other = dict(_messages("en")), dict(_messages(language))
    assert other.keys() == english.keys()
    for name, message in english.items():
        assert type(other[name]) is type(message), name
        if isinstance(message, list):
            assert len(other[name]) == len(message), name
        # A number may be a word of its own ("ساعتين"), so only forms without it are compared.
        places = set(_PLACE.findall(" ".join(_texts(message))))
        assert set(_PLACE.findall(" ".join(_texts(other[name])))) == places, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_counted_message_has_each_form_of_its_language(language: str) -> None:
    counted = {name: message for name, message in _messages(language) if isinstance(message, dict)}
    assert len(counted) == 9
    for name, message in counted.items():
        assert message.keys() == PLURALS[language], name


@pytest.mark.parametrize("language", _OTHERS)
def test_nothing_is_left_in_english(language: str) -> None:
    english, other = dict(_messages("en")), dict(_messages(language))
    same = {name for name in english if other[name] == english[name]}
    # Signs and words that both languages share.
    assert same <= {"script.unit.s", "script.unit.min", "script.wait.in", "page.delivery_name"}


def test_every_message_of_the_scripts_is_asked_for_and_every_one_asked_for_is_there() -> None:
    sources = " ".join(text.decode() for name, text in assets().items() if not name.startswith("words_"))
    names = {name.removeprefix("script.") for name, _ in _messages("en") if name.startswith("script.")}
    spelled = set(re.findall(r"""["'`]([a-z]+\.[A-Za-z_]+)["'`]""", sources))
    # Names that are put together from a group and a code.
    groups = {"phase", "note", "buy", "badge", "no_use", "refused", "rejected", "signin", "action", "delivery", "order"}
    missing = {name for name in spelled if name.partition(".")[0] in {one.partition(".")[0] for one in names}} - names
    assert missing == set()
    assert {name for name in names - spelled if name.partition(".")[0] not in groups} == set()


@pytest.mark.parametrize(
    ("language", "number", "category"),
    [
        ("en", 1, "one"), ("en", 0, "other"), ("de", 1, "one"), ("de", 2, "other"),
        ("ar", 0, "zero"), ("ar", 1, "one"), ("ar", 2, "two"), ("ar", 3, "few"), ("ar", 10, "few"),
        ("ar", 11, "many"), ("ar", 99, "many"), ("ar", 100, "other"), ("ar", 102, "other"), ("ar", 103, "few"),
    ],
)  # fmt: skip
def test_plural_forms(language: str, number: int, category: str) -> None:
    expected = fill(catalogue(language)["page"]["minutes"][category], {"n": number})
    assert words(language).counted("minutes", number) == expected


def test_times_amounts_and_durations_in_other_languages() -> None:
    at = datetime(2026, 12, 4, 18, tzinfo=UTC)
    german, arabic = words("de"), words("ar")
    assert local_time(at, "Europe/Berlin", german) == "Freitag, 4. Dezember 2026, 19:00 Uhr (Europe/Berlin)"
    assert local_time(at, "Europe/Berlin", arabic) == "الجمعة 4 ديسمبر 2026، 19:00 (Europe/Berlin)"
    assert money(Money(119_000, "EUR"), german) == "1.190,00\u00a0€"
    assert money(Money(1_500, "JPY"), german) == "1.500\u00a0¥"
    assert duration(7200, arabic) == "ساعتين"
    assert every(10_000, german) == "10 Sekunden"
    assert every(1_000, german) == "Sekunde"


def test_values_are_never_looked_at_for_places() -> None:
    assert fill("{one} {two}", {"one": "{two}", "two": "2"}) == "{two} 2"
    with pytest.raises(KeyError):
        fill("{missing}", {})
    with pytest.raises(KeyError):
        words("fr")


@pytest.mark.parametrize("own", LANGUAGES)
def test_a_page_is_rendered_in_every_language_and_its_own_is_the_first(page: SalePage, own: str) -> None:
    files = render_sale(replace(page, language=own)).files
    assert files.keys() == {"index.html"} | {f"index.{one}.html" for one in LANGUAGES if one != own}
    for language in LANGUAGES:
        html = files["index.html" if language == own else f"index.{language}.html"].decode()
        direction = "rtl" if language == "ar" else "ltr"
        assert html.startswith(
            f'<!doctype html>\n<html lang="{language}" dir="{direction}" data-words="/assets/words_{language}.'
        )
        # The merchant's words stay the merchant's, and say so to a screen reader.
        assert f'<bdi lang="{own}">Friday tee</bdi>' in html
        assert words(language)("my_orders") in html


def test_the_list_of_sales_speaks_every_language() -> None:
    files = render_index(IndexPage(())).files
    assert "Zurzeit ist keine Aktion angekündigt." in files["index.de.html"].decode()
    assert 'dir="rtl"' in files["index.ar.html"].decode()


def test_an_unknown_language_is_refused(page: SalePage, tee: SaleItemView) -> None:
    with pytest.raises(ValueError, match="no catalogue"):
        replace(page, language="xx", items=(tee,))
