"""Where the next page of a list starts: a time and an id, as one opaque text."""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query

from backend.core.encoding import from_base64url, to_base64url
from backend.core.errors import invalid_field

Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before")]
_POSITION = struct.Struct(">q16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = int(timedelta(days=365 * 7_000).total_seconds()) * 1_000_000


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next page of a list starts: below this time and id."""

    at: datetime
    id: UUID


def cursor_of(at: datetime, row_id: UUID) -> str:
    """The text of a position. Whole microseconds, as the database keeps them: rows of one millisecond are many."""
    return to_base64url(_POSITION.pack((at - _EPOCH) // timedelta(microseconds=1), row_id.bytes))


def position_of(cursor: str | None) -> Position | None:
    """The position of a text; None for none. Raises ``INVALID_FIELD`` for what is none of ours."""
    if cursor is None:
        return None
    raw = from_base64url(cursor)
    if raw is None or len(raw) != _POSITION.size:
        raise invalid_field("cursor", "Give the next_cursor of the page before.")
    micros, row_id = _POSITION.unpack(raw)
    if not 0 <= micros <= _LATEST_US:
        raise invalid_field("cursor", "Give the next_cursor of the page before.")
    return Position(_EPOCH + timedelta(microseconds=micros), UUID(bytes=row_id))
