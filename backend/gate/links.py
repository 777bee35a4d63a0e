"""Secret links: one per shopper and item, signed with the sale's secret of the current epoch.

A link is 16 bytes of item id, 4 of epoch, 6 of expiry (ms), 8 of nonce, and an HMAC-SHA-256 cut to 16 bytes over
those and the shopper's id, in base64url: 67 characters. The shopper is not in it, so a link that leaks names nobody
and is of use only together with the bearer token of the shopper it was made for.
"""

import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from backend.core.encoding import from_base64url, to_base64url
from backend.core.signing import mac, same

_BODY = struct.Struct(">16sI6s8s")
_MAC_BYTES = 16
LINK_CHARS = 67


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says, before anybody has checked that it is genuine."""

    item_id: UUID
    epoch: int
    expires_at_ms: int
    body: bytes
    tag: bytes


def issue_link(secret: bytes, *, item_id: UUID, shopper_id: UUID, epoch: int, expires_at_ms: int) -> str:
    """A fresh link. Two of the same shopper have nothing in common but their item and epoch."""
    body = _BODY.pack(item_id.bytes, epoch, expires_at_ms.to_bytes(6, "big"), secrets.token_bytes(8))
    return to_base64url(body + mac(secret, body + shopper_id.bytes)[:_MAC_BYTES])


def parse_link(text: str) -> Link | None:
    """Split a link into its parts, or None when it cannot be one."""
    if len(text) != LINK_CHARS:
        return None
    raw = from_base64url(text)
    if raw is None:
        return None
    body, tag = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    item, epoch, expires, _nonce = _BODY.unpack(body)
    return Link(UUID(bytes=item), epoch, int.from_bytes(expires, "big"), body, tag)


def is_genuine(link: Link, shopper_id: UUID, secrets_by_epoch: Mapping[int, bytes]) -> bool:
    """Whether the link was issued to this shopper under a known epoch's secret."""
    secret = secrets_by_epoch.get(link.epoch)
    if secret is None:
        return False
    return same(mac(secret, link.body + shopper_id.bytes)[:_MAC_BYTES], link.tag)
