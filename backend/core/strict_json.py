"""JSON from strangers, read strictly.

The standard parser takes ``NaN``, ``1e999`` (infinity), a byte order mark, UTF-16 and duplicate keys, and
hands on lone surrogates that no UTF-8 encoder and NUL characters that no PostgreSQL text can hold. Each
of them has become a 500, or two readings of one body, somewhere. Here each is a refusal.
"""

import json
from typing import Any, NoReturn

from backend.core.errors import Code, Refused, invalid_field

MAX_BODY_BYTES = 64 * 1024
"""The largest sale (50 items) is about 10 KiB."""
MAX_DEPTH = 16
"""The deepest body of ours has four levels."""
MAX_INT_DIGITS = 19
"""2^63 has 19 digits; more can be no field of ours, and reading them costs quadratic time."""


def _unparsable(why: str) -> Refused:
    return Refused(Code.INVALID, f"The body is not JSON as RFC 8259 means it: {why}.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _unparsable("a key appears twice")
    return members


def _constant(_: str) -> NoReturn:
    raise _unparsable("NaN and Infinity are no numbers")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _unparsable("a number is too large")
    return number


def _int(text: str) -> int:
    if len(text.lstrip("-")) > MAX_INT_DIGITS:
        raise _unparsable("a number has too many digits")
    return int(text)


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int)


def _check_text(text: str, path: str) -> None:
    if "\x00" in text:
        raise invalid_field(path, "NUL characters are not allowed.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _unparsable("a string holds half a surrogate pair") from None


def _check(document: Any) -> None:
    """Walk without recursion: the depth is the caller's."""
    todo: list[tuple[Any, str, int]] = [(document, "", 1)]
    while todo:
        value, path, depth = todo.pop()
        if isinstance(value, str):
            _check_text(value, path)
            continue
        if not isinstance(value, (dict, list)):
            continue
        if depth > MAX_DEPTH:
            raise _unparsable("it is nested too deeply")
        if isinstance(value, list):
            todo.extend((inner, f"{path}.{at}", depth + 1) for at, inner in enumerate(value))
            continue
        for name, inner in value.items():
            _check_text(name, path or "body")
            todo.append((inner, f"{path}.{name}" if path else name, depth + 1))


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object that ``body`` spells.

    Raises ``Refused``: ``INVALID`` for what is not strict JSON in UTF-8, ``INVALID_FIELD`` for a value that
    is not an object and for NUL in a string.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _unparsable("it is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise _unparsable("it starts with a byte order mark")
    try:
        document, end = _decoder.raw_decode(text, len(text) - len(text.lstrip(" \t\r\n")))
    except json.JSONDecodeError as error:
        raise _unparsable(f"error at character {error.pos}") from None
    except RecursionError:
        raise _unparsable("it is nested too deeply") from None
    if text[end:].strip(" \t\r\n"):
        raise _unparsable("something follows it")
    _check(document)
    if not isinstance(document, dict):
        raise invalid_field("body", "Send a JSON object.")
    return document
