"""Keys derived from the one root secret, and one-shot MACs.

``hmac.digest`` is OpenSSL's one-shot HMAC: about 1 µs against 3–4 µs for an ``hmac.HMAC`` object.
"""

import hmac


def derive_key(root: str, label: str) -> bytes:
    """A 256-bit key for one purpose: HMAC-SHA-256 of ``label`` under the root secret.

    A key that leaks through one use (say, a webhook's signing secret) tells nothing of the others.
    """
    return hmac.digest(root.encode(), b"stampede/" + label.encode(), "sha256")


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256, 32 bytes."""
    return hmac.digest(key, message, "sha256")


same = hmac.compare_digest
"""Comparison in constant time."""
