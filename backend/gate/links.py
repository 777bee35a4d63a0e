"""Secret links: one per shopper and item, signed with the sale's secret of the current epoch.

A link is 16 bytes of item id, 4 of epoch, 6 of expiry (ms), 8 of nonce, and a keyed BLAKE2b tag of 16 bytes over
those and the shopper's id, in base64url: 67 characters. The shopper is not in it, so a link that leaks names nobody
and is of use only together with the bearer token of the shopper it was made for.
"""

import secrets
import struct
from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from backend.core.encoding import from_base64url, to_base64url
from backend.core.signing import TAG_BYTES, same, tag

_BODY = struct.Struct(">16sI6s8s")
LINK_CHARS = 67


class Link(NamedTuple):
    """What a link says, before anybody has checked that it is genuine."""

    item: bytes
    """The sale item's id, as its 16 bytes."""
    epoch: int
    expires_at_ms: int
    body: bytes
    tag: bytes


def issue_link(secret: bytes, *, item_id: UUID, shopper_id: UUID, epoch: int, expires_at_ms: int) -> str:
    """A fresh link. Two of the same shopper have nothing in common but their item and epoch."""
    return issue_link_bytes(
        secret, item=item_id.bytes, shopper=shopper_id.bytes, epoch=epoch, expires_at_ms=expires_at_ms
    )


def issue_link_bytes(secret: bytes, *, item: bytes, shopper: bytes, epoch: int, expires_at_ms: int) -> str:
    """The same, from ids that are bytes already."""
    body = _BODY.pack(item, epoch, expires_at_ms.to_bytes(6, "big"), secrets.token_bytes(8))
    return to_base64url(body + tag(secret, body + shopper))


def parse_link(text: str) -> Link | None:
    """Split a link into its parts, or None when it cannot be one."""
    if len(text) != LINK_CHARS:
        return None
    raw = from_base64url(text)
    if raw is None:
        return None
    body, tag = raw[:-TAG_BYTES], raw[-TAG_BYTES:]
    item, epoch, expires, _nonce = _BODY.unpack(body)
    return Link(item, epoch, int.from_bytes(expires, "big"), body, tag)


def is_genuine(link: Link, shopper: bytes, secrets_by_epoch: Mapping[int, bytes]) -> bool:
    """Whether the link was issued to this shopper (16 bytes of id) under a known epoch's secret."""
    secret = secrets_by_epoch.get(link.epoch)
    if secret is None:
        return False
    return same(tag(secret, link.body + shopper), link.tag)
