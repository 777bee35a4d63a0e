"""Small secrets at rest: AES-256-GCM under a key of the environment, bound to the row they belong to."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
"""Random for each; thousands of secrets are far from the 2^32 at which two could meet."""


def seal(key: bytes, text: str, about: bytes) -> bytes:
    """Encrypt ``text``; only who names the same ``about`` can open it again."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text.encode(), about)


def open_sealed(key: bytes, sealed: bytes, about: bytes) -> str | None:
    """The text; None for another key, another row, or bytes that were changed."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about).decode()
    except (InvalidTag, ValueError):
        return None
