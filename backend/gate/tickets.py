"""Tickets: the signed receipt of a 202. It names the journal entry, so that it can be recognised even when the
gate that gave it has lost its history, and it is worth nothing to another shopper."""

import struct
from dataclasses import dataclass
from uuid import UUID

from backend.core.encoding import from_base64url, to_base64url
from backend.core.signing import mac, same
from backend.gate.keys import LaneId
from backend.gate.values import EntryId

_BODY = struct.Struct(">16sB16sIQ6s")
_MAC_BYTES = 16
TICKET_KEY_LABEL = "ticket/1"


@dataclass(frozen=True, slots=True)
class Ticket:
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
        body = _BODY.pack(
            ticket.lane_id.item_id.bytes,
            ticket.lane_id.lane,
            ticket.reservation_id.bytes,
            ticket.entry_id.generation,
            ticket.entry_id.seq,
            ticket.at_ms.to_bytes(6, "big"),
        )
        return to_base64url(body + mac(self._key, body + shopper_id.bytes)[:_MAC_BYTES])

    def read(self, text: str, shopper_id: UUID) -> Ticket | None:
        """The ticket, or None when it is not genuine or not this shopper's."""
        if len(text) > 128:
            return None
        raw = from_base64url(text)
        if raw is None or len(raw) != _BODY.size + _MAC_BYTES:
            return None
        body, tag = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not same(mac(self._key, body + shopper_id.bytes)[:_MAC_BYTES], tag):
            return None
        item, lane, reservation, generation, seq, at = _BODY.unpack(body)
        return Ticket(
            LaneId(UUID(bytes=item), lane),
            UUID(bytes=reservation),
            EntryId(generation, seq),
            int.from_bytes(at, "big"),
        )
