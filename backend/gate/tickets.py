"""Tickets: the signed receipt of a 202. It names the journal entry, so that it can be recognised even when the
gate that gave it has lost its history, and it is worth nothing to another shopper."""

import struct
from typing import NamedTuple
from uuid import UUID

from backend.core.encoding import from_base64url, to_base64url
from backend.core.signing import TAG_BYTES, same, tag
from backend.gate.keys import LaneId
from backend.gate.values import EntryId

_BODY = struct.Struct(">16sB16sIQ6s")
TICKET_KEY_LABEL = "ticket/1"


class Ticket(NamedTuple):
    """What a ticket says."""

    lane_id: LaneId
    reservation_id: UUID
    entry_id: EntryId
    at_ms: int


class Tickets:
    """Signs tickets and reads them back."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, ticket: Ticket, shopper_id: UUID) -> str:
        """The ticket as text; the same ticket always gives the same text."""
        lane_id = ticket.lane_id
        return self.sign_bytes(
            lane_id.item_id.bytes,
            lane_id.lane,
            ticket.reservation_id.bytes,
            ticket.entry_id,
            ticket.at_ms,
            shopper_id.bytes,
        )

    def sign_bytes(
        self, item: bytes, lane: int, reservation: bytes, entry_id: EntryId, at_ms: int, shopper: bytes
    ) -> str:
        """The same, from ids that are bytes already."""
        body = _BODY.pack(item, lane, reservation, entry_id.generation, entry_id.seq, at_ms.to_bytes(6, "big"))
        return to_base64url(body + tag(self._key, body + shopper))

    def read(self, text: str, shopper_id: UUID) -> Ticket | None:
        """The ticket, or None when it is not genuine or not this shopper's."""
        return self.read_bytes(text, shopper_id.bytes)

    def read_bytes(self, text: str, shopper: bytes) -> Ticket | None:
        """The same, from an id that is bytes already."""
        if len(text) > 128:
            return None
        raw = from_base64url(text)
        if raw is None or len(raw) != _BODY.size + TAG_BYTES:
            return None
        body, given = raw[:-TAG_BYTES], raw[-TAG_BYTES:]
        if not same(tag(self._key, body + shopper), given):
            return None
        item, lane, reservation, generation, seq, at = _BODY.unpack(body)
        return Ticket(
            LaneId(UUID(bytes=item), lane),
            UUID(bytes=reservation),
            EntryId(generation, seq),
            int.from_bytes(at, "big"),
        )
