"""A merchant's own words for messages: which placeholders there are, whether a text is sound, and what it becomes.

A placeholder is a name in braces, replaced and nothing more: no expression, so nothing in a text can reach further
than the facts of one order.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.models import NotificationKind

SUBJECT_MAX_CHARS = 150
BODY_MAX_CHARS = 5_000

_PLACEHOLDER = re.compile(r"\{([a-z_]{1,30})\}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\u2028\u2029\ud800-\udfff]")

MEANINGS: Mapping[str, str] = {
    "item": "the product's name",
    "quantity": "how many pieces",
    "total": "what they cost together",
    "sale": "the sale's title",
    "order": "the order's number",
    "page": "the address of the sale's page",
    "pay_by": "until when to pay, in the sale's time zone",
}
_COMMON = ("item", "quantity", "total", "sale", "order", "page")
PLACEHOLDERS: Mapping[NotificationKind, tuple[str, ...]] = {
    kind: (*_COMMON, "pay_by") if kind is NotificationKind.ORDER_RESERVED else _COMMON
    for kind in NotificationKind
    if kind is not NotificationKind.SIGN_IN_CODE
}
"""The messages whose words are the merchant's. A sign-in code belongs to the platform, and to no merchant's sale."""
NEEDED: Mapping[NotificationKind, tuple[str, ...]] = {NotificationKind.ORDER_RESERVED: ("page",)}
"""Without the page nobody could pay."""


@dataclass(frozen=True, slots=True)
class Words:
    """A merchant's subject and body, with placeholders."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a text, for the person who types it."""

    field: str
    message: str


def problems(kind: NotificationKind, words: Words) -> list[Problem]:
    """Everything that is wrong with a merchant's words; empty when they can be sent."""
    found = []
    for field, text, longest in (("subject", words.subject, SUBJECT_MAX_CHARS), ("body", words.body, BODY_MAX_CHARS)):
        if not text.strip():
            found.append(Problem(field, "Write something here."))
        if len(text) > longest:
            found.append(Problem(field, f"At most {longest:,} characters; these are {len(text):,}."))
        if _CONTROL.search(text) or (field == "subject" and "\n" in text):
            found.append(
                Problem(field, "Write one line." if field == "subject" else "Take out the control characters.")
            )
        found += [Problem(field, message) for message in _misspelt(kind, text)]
    named = set(_PLACEHOLDER.findall(words.body))
    found += [
        Problem("body", f"Put {{{name}}} in: {MEANINGS[name]}.") for name in NEEDED.get(kind, ()) if name not in named
    ]
    return found


def _misspelt(kind: NotificationKind, text: str) -> list[str]:
    known = PLACEHOLDERS[kind]
    unknown = [name for name in dict.fromkeys(_PLACEHOLDER.findall(text)) if name not in known]
    choice = ", ".join(f"{{{name}}}" for name in known)
    found = [f"There is no {{{name}}} here. There are: {choice}." for name in unknown]
    for number, line in enumerate(text.split("\n"), 1):
        if re.search(r"[{}]", _PLACEHOLDER.sub("", line)):
            found.append(f"Line {number} has a brace that belongs to no placeholder.")
    return found


def filled(text: str, values: Mapping[str, Any]) -> str:
    """The text with each placeholder replaced, once: what stands in a value is never looked at again."""
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)
