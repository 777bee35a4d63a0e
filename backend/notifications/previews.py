"""What each message says, shown to the merchant before a shopper reads it; and the one that tries the channel out."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from backend.models import NotificationKind
from backend.notifications.messages import Draft, Message, OrderFacts, compose
from backend.notifications.wording import Words

_EXAMPLE = UUID(int=1)
_RECIPIENT = "shopper@example.org"
_PAYLOADS = {NotificationKind.SIGN_IN_CODE: {"code": "123456", "minutes": 10}}
_REASONS = {NotificationKind.ORDER_REJECTED: "no_stock"}


def previews(
    merchant: str, public_url: str, own: Mapping[NotificationKind, Words] | None = None
) -> list[tuple[str, str, str]]:
    """(kind, subject, body) of every message, made by the very code that sends them, from an example order."""
    found = []
    for kind in NotificationKind:
        message = preview(kind, merchant, public_url, (own or {}).get(kind))
        found.append((kind.value, message.subject, message.body))
    return found


def preview(kind: NotificationKind, merchant: str, public_url: str, words: Words | None) -> Message:
    """One message with an example order's facts."""
    order = None
    if kind is not NotificationKind.SIGN_IN_CODE:
        order = OrderFacts(
            order_id=_EXAMPLE,
            slug="friday-tee",
            sale=f"Friday tee of {merchant}",
            item="Tee, size M",
            quantity=1,
            price_minor=1_900,
            currency="EUR",
            time_zone="Europe/Berlin",
            pay_by=datetime(2026, 12, 4, 18, 15, tzinfo=UTC),
            reason=_REASONS.get(kind),
        )
    draft = Draft(_EXAMPLE, kind, 1, _RECIPIENT, timedelta(0), order, payload=_PAYLOADS.get(kind, {}))
    return compose(draft, public_url, words)


def trial_message(key: str, recipient: str, merchant: str) -> Message:
    """A message that says it is a test."""
    return Message(
        key=key,
        recipient=recipient,
        subject=f"Test message from Stampede for {' '.join(merchant.split())}",
        body="This is a test. Messages to your shoppers go out by this channel.\n",
    )
