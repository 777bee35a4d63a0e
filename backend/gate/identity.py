"""Who a reservation is: an id derived from shopper, sale item and ``Idempotency-Key``.

A retry after a lost answer derives the same id and so finds its first try, in the gate and in the ledger.
"""

import hashlib
from uuid import UUID


def reservation_bytes(shopper: bytes, item: bytes, idempotency_key: str) -> bytes:
    """The first 16 bytes of SHA-256 over the three, each of fixed length but the last.

    Nobody gains by computing it: an id is used only together with its shopper's own bearer token.
    """
    return hashlib.sha256(shopper + item + idempotency_key.encode()).digest()[:16]


def reservation_id(shopper_id: UUID, item_id: UUID, idempotency_key: str) -> UUID:
    """The same for ids."""
    return UUID(bytes=reservation_bytes(shopper_id.bytes, item_id.bytes, idempotency_key))
