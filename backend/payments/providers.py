"""What a payment provider is to us: a page to pay at, and callbacks that prove where they come from."""

from typing import Annotated, Protocol
from uuid import UUID

from pydantic import Field, StringConstraints

from backend.core.fields import Currency, Id, Strict

CAPTURED = "payment.captured"
"""The one type of callback that moves an order; others are recorded."""


class Callback(Strict):
    """A provider's message about one payment, in the form that all of ours are brought into."""

    event_id: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
    """The provider's own; used once."""
    type: Annotated[str, StringConstraints(pattern=r"^[a-z._]{1,64}$")]
    payment_id: Id
    amount_minor: Annotated[int, Field(ge=0, lt=2**63)]
    currency: Currency


class Provider(Protocol):
    """A way to be paid. Implementations hold keys, and nothing that changes."""

    @property
    def name(self) -> str:
        """Its name in addresses and in the ledger."""
        ...

    def payment_url(self, payment_id: UUID) -> str:
        """Where the shopper pays."""
        ...

    def is_genuine(self, signature: str, body: bytes, now_s: int) -> bool:
        """Whether a callback's signature is this provider's, over these bytes, and fresh."""
        ...
