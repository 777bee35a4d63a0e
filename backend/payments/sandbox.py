"""The local stack's payment provider: a page with two buttons, and a signed callback over real HTTP.

It stands on our own origin, but plays a stranger: what it knows of the shop is its secret and the address for
callbacks. It is there in the local environment alone (see ``backend.payments.service.providers``).
"""

import base64
import hashlib
import ssl
import time
from dataclasses import dataclass
from functools import cache
from uuid import UUID

import httpx
from jinja2 import Environment, PackageLoader, StrictUndefined

from backend.core.encoding import from_base64url, to_base64url
from backend.core.signing import derive_key, mac, same
from backend.payments.providers import CAPTURED, Callback
from backend.payments.signatures import SIGNATURE_HEADER, is_signed, sign
from backend.settings import Settings
from page_renderer.model import Money
from page_renderer.text import clean, money

NAME = "sandbox"
CALLBACK_TIMEOUT_S = 5.0

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:30rem;margin:3rem auto;padding:0 1rem}"
    "button{font:inherit;padding:.7rem 1.4rem;margin:.5rem .5rem 0 0;min-width:8rem}"
    ".sum{font-size:1.75rem;font-weight:600;margin:0}"
)
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
"""No script at all, and the one style named by its hash."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """What the checkout page shows of a payment."""

    payment_id: UUID
    title: str
    item: str
    quantity: int
    amount_minor: int
    currency: str
    captured: bool


class Sandbox:
    """The provider's two sides: what the shop asks of it, and what its own page needs."""

    name = NAME

    def __init__(self, settings: Settings) -> None:
        self._origin = settings.public_url.rstrip("/")
        self._callback_key = derive_key(settings.secret_key, "payments/sandbox/callback")
        self._checkout_key = derive_key(settings.secret_key, "payments/sandbox/checkout")

    def payment_url(self, payment_id: UUID) -> str:
        """The checkout page; its signature keeps others from paying or declining by a guessed id."""
        return f"{self._origin}/api/v1/payments/sandbox/{payment_id}?t={self._signature(payment_id)}"

    def is_genuine(self, signature: str, body: bytes, now_s: int) -> bool:
        return is_signed(self._callback_key, signature, body, now_s)

    def is_checkout(self, payment_id: UUID, signature: str) -> bool:
        """Whether ``signature`` is the one in this payment's address."""
        given = from_base64url(signature)
        return given is not None and same(self._checkout_mac(payment_id), given)

    async def capture(self, checkout: Checkout) -> bool:
        """Tell the shop that the money is there; True when it took the message.

        The event's id follows from the payment's, so that pressing the button again repeats the message
        instead of making another.
        """
        callback = Callback(
            event_id=f"capture-{checkout.payment_id.hex}",
            type=CAPTURED,
            payment_id=checkout.payment_id,
            amount_minor=checkout.amount_minor,
            currency=checkout.currency,
        )
        try:
            answer = await self.send(callback)
        except httpx.HTTPError:
            return False
        return answer.is_success

    async def send(self, callback: Callback, *, signed_at_s: int | None = None) -> httpx.Response:
        """Sign a callback and post it to the shop, once. Raises ``httpx.HTTPError`` without an answer."""
        body = callback.model_dump_json().encode()
        now_s = int(time.time()) if signed_at_s is None else signed_at_s
        # A proxy from the environment has no business between the two. An empty TLS context, because a full one
        # reads all of the system's certificates (20 ms of CPU each time) and the local stack speaks plain HTTP.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        async with httpx.AsyncClient(timeout=CALLBACK_TIMEOUT_S, trust_env=False, verify=tls) as client:
            return await client.post(
                f"{self._origin}/api/v1/payments/webhooks/{self.name}",
                content=body,
                headers={
                    "Content-Type": "application/json",
                    SIGNATURE_HEADER: sign(self._callback_key, body, now_s),
                },
            )

    def _checkout_mac(self, payment_id: UUID) -> bytes:
        return mac(self._checkout_key, payment_id.bytes)

    def _signature(self, payment_id: UUID) -> str:
        return to_base64url(self._checkout_mac(payment_id))


@cache
def _templates() -> Environment:
    environment = Environment(loader=PackageLoader("backend.payments"), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"clean": clean}
    return environment


def checkout_page(checkout: Checkout, message: str = "") -> str:
    """The page with the two buttons, or with what came of pressing one."""
    template = _templates().get_template("checkout.html.j2")
    return template.render(
        checkout=checkout,
        amount=money(Money(checkout.amount_minor, checkout.currency)),
        message=message,
        style=_STYLE,
    )
