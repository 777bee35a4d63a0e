"""Base64 for URLs: every byte string has one spelling, and every other text is refused."""

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.encoding import from_base64url, to_base64url

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _by_round_trip(text: str) -> bytes | None:
    """The slow and obvious way: decode leniently, encode again, compare."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text else None


@given(st.binary(max_size=80))
def test_there_and_back(data: bytes) -> None:
    text = to_base64url(data)
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    assert from_base64url(text) == data


@given(st.text(alphabet=ALPHABET, max_size=12) | st.text(alphabet=ALPHABET + "+/= \n\x00é", max_size=12))
def test_it_decodes_what_a_round_trip_would(text: str) -> None:
    assert from_base64url(text) == _by_round_trip(text)


@pytest.mark.parametrize(
    "text", ["A", "AB", "AAB", "AA==", "AAA=", "=", "A===", "AA=", "AA+A", "AA/A", "AA\nA", "ÄAAA"]
)
def test_other_spellings_are_refused(text: str) -> None:
    assert from_base64url(text) is None
