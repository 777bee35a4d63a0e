"""A crowd of shoppers with everything in hand: bearer tokens, genuine links, keys, requests as bytes.

Tokens and links are signed here with the platform's own secrets, by its own code: 100,000 of them take a few
seconds, where asking the API for each would take minutes and measure something else.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from backend.accounts import SHOPPER_TOKEN_LABEL, SHOPPER_TOKEN_TTL_S, issue_shopper_token
from backend.core.clock import now_ms
from backend.core.signing import derive_key
from backend.gate import issue_link, reservation_id
from stack.load import request_bytes

LINK_TTL_S = 3_600
BODY = b'{"quantity":1}'
AUTHORITY = "127.0.0.1"
"""Nothing decides by the Host of a direct request; at the edge this one is a name of ours."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item on sale, and the secret of its links."""

    sale_id: UUID
    item_id: UUID
    slug: str
    sku: str
    epoch: int
    secret: bytes


@dataclass(frozen=True, slots=True)
class Shopper:
    """Somebody with a bearer token."""

    shopper_id: UUID
    token: str


@dataclass(frozen=True, slots=True)
class Attempts:
    """Buy requests, and the reservation that each derives to."""

    requests: list[bytes]
    reservations: list[UUID]
    shoppers: list[Shopper]

    def __len__(self) -> int:
        return len(self.requests)


class Crowd:
    """Makes shoppers and their requests."""

    def __init__(self, secret_key: str) -> None:
        """``secret_key`` is the platform's root secret."""
        self._key = derive_key(secret_key, SHOPPER_TOKEN_LABEL)

    def shoppers(self, count: int) -> list[Shopper]:
        """New shoppers, signed in. The ledger knows none of them, as with a shop that has its own accounts."""
        expires_at_ms = now_ms() + SHOPPER_TOKEN_TTL_S * 1000
        ids = [random_id() for _ in range(count)]
        return [Shopper(one, issue_shopper_token(self._key, one, expires_at_ms)) for one in ids]

    def attempts(self, items: Sequence[Item], shoppers: Sequence[Shopper], *, foreign: bool = False) -> Attempts:
        """One attempt of each shopper, the items in turn. ``foreign``: with a link made for somebody else."""
        requests, reservations = [], []
        expires_at_ms = now_ms() + LINK_TTL_S * 1000
        for at, shopper in enumerate(shoppers):
            item = items[at % len(items)]
            owner = random_id() if foreign else shopper.shopper_id
            link = issue_link(
                item.secret, item_id=item.item_id, shopper_id=owner, epoch=item.epoch, expires_at_ms=expires_at_ms
            )
            key = str(random_id())
            requests.append(buy_request(link, shopper.token, key))
            reservations.append(reservation_id(shopper.shopper_id, item.item_id, key))
        return Attempts(requests, reservations, list(shoppers))

    def forged(self, item: Item, shoppers: Sequence[Shopper]) -> list[bytes]:
        """One attempt of each shopper with a link of the right form, signed with a secret of the forger's own."""
        return self.attempts([replace(item, secret=os.urandom(32))], shoppers).requests


def nowhere() -> Item:
    """An item of no sale: for references, which get the very requests that the platform gets."""
    return Item(random_id(), random_id(), "nowhere", "NOTHING", 1, os.urandom(32))


def random_id() -> UUID:
    """A random UUID; ``uuid4`` takes three times as long."""
    return UUID(bytes=os.urandom(16))


def signed_in(shopper: Shopper, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers that a signed-in page sends."""
    return {"accept": "application/json", "authorization": f"Bearer {shopper.token}", **(more or {})}


def buy_request(link: str, token: str, key: str) -> bytes:
    """``POST /api/v1/buy/{link}`` as the page sends it."""
    headers = {"accept": "application/json", "authorization": f"Bearer {token}", "idempotency-key": key}
    return request_bytes("POST", f"/api/v1/buy/{link}", AUTHORITY, headers=headers, body=BODY)


def link_request(item: Item, shopper: Shopper) -> bytes:
    """``POST …/link`` as the page sends it."""
    path = f"/api/v1/sales/{item.slug}/items/{item.sku}/link"
    return request_bytes("POST", path, AUTHORITY, headers=signed_in(shopper))


def ticket_request(ticket: str, shopper: Shopper) -> bytes:
    """``GET /api/v1/tickets/{ticket}`` as the page sends it."""
    return request_bytes("GET", f"/api/v1/tickets/{ticket}", AUTHORITY, headers=signed_in(shopper))
