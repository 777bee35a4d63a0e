"""Base64 for URLs, without padding, and strict: one byte string has exactly one spelling."""

import base64
import binascii


def to_base64url(data: bytes) -> str:
    """Encode without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes | None:
    """Decode, or None when ``text`` is not the canonical spelling of any bytes.

    The round trip is compared because base64 has spare bits in its last character: without it four
    spellings of one signed link would verify, and a "one bit flipped" link could pass.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if to_base64url(raw) == text else None
