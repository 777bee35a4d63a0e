"""Bodies from strangers: each is read in one way, or refused with a code; none is an exception of another kind."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.errors import Code, Refused
from backend.core.strict_json import MAX_DEPTH, parse_object


def nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": 1} x',
        b'{"a": 1}{"a": 1}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": -1e999}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": ' + b"9" * 20 + b"}",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": "\xff"}',
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32"),
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": "\n"}',
        nested(MAX_DEPTH),
        nested(200_000),
        b"[" * 200_000,
        b'{"a":' * 200_000,
    ],
)
def test_what_is_no_strict_json_is_invalid(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_object(body)
    assert refused.value.code is Code.INVALID


@pytest.mark.parametrize("body", [b"null", b"1", b'"text"', b"[]", b"true"])
def test_what_is_no_object_is_an_invalid_field(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_object(body)
    assert refused.value.code is Code.INVALID_FIELD


@pytest.mark.parametrize(
    ("body", "field"),
    [(b'{"a": {"b": ["x", "\\u0000"]}}', "a.b.1"), (b'{"a\\u0000": 1}', "body")],
)
def test_nul_is_refused_where_it_stands(body: bytes, field: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_object(body)
    assert refused.value.code is Code.INVALID_FIELD
    assert refused.value.errors[0]["field"] == field


def test_what_json_allows_is_read() -> None:
    body = b' \r\n\t{"a": [1, -2, 1.5, 1e3, true, null, "\\ud83d\\ude00", "\xc3\xa9"], "b": {}} \n'
    assert parse_object(body) == {"a": [1, -2, 1.5, 1000.0, True, None, "😀", "é"], "b": {}}
    assert parse_object(b'{"a": ' + b"9" * 19 + b"}") == {"a": 10**19 - 1}
    assert parse_object(nested(MAX_DEPTH - 1))


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("abc"), _values))
def test_reading_is_the_inverse_of_writing(document: dict[str, Any]) -> None:
    assert parse_object(json.dumps(document, ensure_ascii=False).encode()) == document


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        assert isinstance(parse_object(body), dict)
    except Refused as refused:
        assert refused.code in (Code.INVALID, Code.INVALID_FIELD)
