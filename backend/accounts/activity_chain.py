"""What the activity log's chain hashes and how its head is sealed: pure, so that it can be checked by anybody.

A digest is SHA-256 over the digest before it and the entry's fields, each with its length in front, numbers and times
as text. The fields are read back from the database: what JSONB makes of a number (``1e16`` becomes seventeen digits)
is what a later check will see. No secret goes into a digest, so whoever holds a copy of the tables can compute them
all; only the head's seal needs the key. docs/decisions/0012 says what that does and does not detect.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from backend.core.signing import derive_key, mac, same
from backend.models import ActivityPart

_LABEL = "stampede/activity/1"
KEY_LABEL = "activity-head/1"

BEGUN_FIELDS = (
    "id", "merchant_id", "operator_id", "sale_id", "kind", "idempotency_key", "request_hash", "reason", "at", "before",
)  # fmt: skip
"""What never changes once a command is recorded."""
WHOLE_FIELDS = (*BEGUN_FIELDS, "after", "response_status", "response_body", "done_at")

Value = UUID | str | bytes | int | datetime | None


class CommandRow(Protocol):
    """A row of ``commands``; its JSON columns as PostgreSQL writes them, as text."""

    def __getattr__(self, name: str) -> Any: ...


def _text(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").encode()
    return str(value).encode()


def _packed(values: Sequence[Value]) -> bytes:
    """Every value with its length in front, so that no two lists of values have one spelling; NULL is its own."""
    parts = []
    for value in values:
        if value is None:
            parts.append(b"-")
        else:
            raw = _text(value)
            parts.append(b"%d:%b" % (len(raw), raw))
    return b"".join(parts)


def genesis(merchant_id: UUID) -> bytes:
    """The digest before a merchant's first entry."""
    return hashlib.sha256(_packed([_LABEL, merchant_id])).digest()


def digest_of(before: bytes, seq: int, part: ActivityPart, row: CommandRow) -> bytes:
    """The digest of entry ``seq``, which stands for ``part`` of a command's row."""
    names = WHOLE_FIELDS if part is ActivityPart.WHOLE else BEGUN_FIELDS
    values = [getattr(row, name) for name in names]
    return hashlib.sha256(before + _packed([_LABEL, seq, part.value, *values])).digest()


@dataclass(frozen=True, slots=True)
class Head:
    """Where a merchant's chain ends."""

    merchant_id: UUID
    entries: int
    digest: bytes
    broken_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class SealKey:
    """The key of the seals, derived from the environment's secret: a copy of the database cannot make one."""

    key: bytes

    @classmethod
    def of(cls, secret_key: str) -> "SealKey":
        return cls(derive_key(secret_key, KEY_LABEL))

    def seal(self, head: Head) -> bytes:
        """HMAC-SHA-256 over all that the head says."""
        return mac(self.key, _packed([_LABEL, head.merchant_id, head.entries, head.digest, head.broken_since]))

    def fits(self, head: Head, seal: bytes) -> bool:
        """Whether the seal is this head's, in constant time."""
        return same(self.seal(head), seal)
