"""The languages of the pages: one catalogue each, for what is rendered and for what the scripts say.

A message is text with `{name}` in it, a pair (title and text), or, where a number decides the form, one text for
each plural category of the language. The categories are Unicode's (CLDR); the scripts get theirs from the browser.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

DEFAULT = "en"
LANGUAGES = ("en", "de", "ar")

_PLACE = re.compile(r"\{([a-z_]+)\}")


def _one_or_other(number: int) -> str:
    return "one" if number == 1 else "other"


def _arabic(number: int) -> str:
    if number <= 2:
        return ("zero", "one", "two")[number]
    rest = number % 100
    if 3 <= rest <= 10:
        return "few"
    return "many" if rest >= 11 else "other"


_PLURAL: Mapping[str, Callable[[int], str]] = {"en": _one_or_other, "de": _one_or_other, "ar": _arabic}
PLURALS = {
    "en": {"one", "other"},
    "de": {"one", "other"},
    "ar": {"zero", "one", "two", "few", "many", "other"},
}


class Words:
    """One language's catalogue."""

    def __init__(self, language: str, catalogue: Mapping[str, Any]) -> None:
        self.language = language
        self.name: str = catalogue["name"]
        self.direction: str = catalogue["direction"]
        self.tag: str = catalogue["tag"]
        self.weekdays: list[str] = catalogue["weekdays"]
        self.months: list[str] = catalogue["months"]
        self.date: str = catalogue["date"]
        self.money: Mapping[str, str] = catalogue["money"]
        self._page: Mapping[str, Any] = catalogue["page"]
        self._script: Mapping[str, Any] = catalogue["script"]

    def __call__(self, name: str, **values: object) -> str:
        """A message of the rendered page; KeyError for one that is not there, or for a value it needs."""
        return fill(self._page[name], values)

    def counted(self, name: str, number: int) -> str:
        """The form of a message that goes with a number."""
        return fill(self._page[name][_PLURAL[self.language](number)], {"n": number})

    def script(self) -> dict[str, Any]:
        """What the scripts say, with what `Intl` needs to say it."""
        return {"tag": self.tag, "messages": dict(self._script)}


def fill(message: str, values: Mapping[str, object]) -> str:
    """The message with its places filled. Values are never looked at for places of their own."""
    return _PLACE.sub(lambda match: str(values[match[1]]), message)


def catalogue(language: str) -> dict[str, Any]:
    """The catalogue as written."""
    text = (files("page_renderer") / "catalogues" / f"{language}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def words(language: str) -> Words:
    """A language's words; KeyError for a language without a catalogue."""
    if language not in LANGUAGES:
        raise KeyError(language)
    return Words(language, catalogue(language))
