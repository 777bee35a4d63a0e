"""Identifiers.

Rows get UUIDv7: unguessable, and increasing, so that B-tree inserts stay at the right edge.
Reservations get a derived id instead (see ``backend.gate.identity``): a retry must find its first try.
"""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return uuid7()


def parse_id(text: str) -> UUID | None:
    """The UUID that ``text`` spells in hexadecimal, with or without dashes, or None."""
    if len(text) not in (32, 36):
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
