"""Rules for short texts that several parts share."""

import re

SLUG_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
SKU_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
SLUG = re.compile(SLUG_PATTERN)
SKU = re.compile(SKU_PATTERN)
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
"""Visible ASCII, as a header can carry it unharmed; 255 characters at most."""


def mask_contact(contact: str) -> str:
    """``ada@mail.example`` → ``a•••@mail.example``; a phone number keeps its last two digits."""
    name, at, domain = contact.partition("@")
    if at:
        return f"{name[:1]}•••@{domain}"
    return f"•••{contact[-2:]}"
