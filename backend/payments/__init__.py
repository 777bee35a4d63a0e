"""Payments: one for each order that has to be paid, opened on request, settled by a provider's signed callback.

Providers speak one interface (``Provider``). The only one so far is the sandbox of the local stack, which has
its own checkout page and calls back over HTTP like a real one.
"""

from backend.payments.providers import CAPTURED, Callback, Provider
from backend.payments.sandbox import CONTENT_SECURITY_POLICY, Checkout, Sandbox, checkout_page
from backend.payments.service import Receipt, checkout_of, open_payment, providers, receive, settled_receipt
from backend.payments.signatures import SIGNATURE_HEADER, TOLERANCE_S, is_signed, sign

__all__ = [
    "CAPTURED",
    "CONTENT_SECURITY_POLICY",
    "SIGNATURE_HEADER",
    "TOLERANCE_S",
    "Callback",
    "Checkout",
    "Provider",
    "Receipt",
    "Sandbox",
    "checkout_of",
    "checkout_page",
    "is_signed",
    "open_payment",
    "providers",
    "receive",
    "settled_receipt",
    "sign",
]
