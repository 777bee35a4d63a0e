"""From an outbox row to the words a shopper reads: plain text, the sale's own zone, money as the pages write it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined

from backend.models import NotificationKind
from backend.notifications.wording import PLACEHOLDERS, SUBJECT_MAX_CHARS, Words, filled
from page_renderer.model import Money
from page_renderer.text import clean, local_time, money


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What a message about an order tells."""

    order_id: UUID
    slug: str
    sale: str
    item: str
    quantity: int
    price_minor: int
    currency: str
    time_zone: str
    pay_by: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A claimed outbox row with what its message needs."""

    notification_id: UUID
    kind: NotificationKind
    attempts: int
    """This one included."""
    recipient: str | None
    """None when no contact of the shopper is known."""
    age: timedelta
    """Since the decision it tells of, by the database's clock."""
    order: OrderFacts | None
    merchant_id: UUID | None = None
    """Whose sale it is about; None for a sign-in code."""
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out. ``key`` stays the same over all tries, so that a second one is recognised."""

    key: str
    recipient: str
    subject: str
    body: str


def _one_line(value: object) -> object:
    """Every word that comes from outside, without line breaks: a merchant's title cannot end the subject's line."""
    return clean(value) if isinstance(value, str) else value


@cache
def _templates() -> Environment:
    # Plain text: nothing to escape. StrictUndefined: a message with a hole in it is worse than a late one.
    return Environment(  # noqa: S701
        loader=PackageLoader("backend.notifications"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_one_line,
    )


def compose(draft: Draft, public_url: str, words: Words | None = None) -> Message:
    """The message of a draft that has a recipient, in the merchant's own words when there are any.

    Raises jinja2.TemplateError when the payload lacks what the template names.
    """
    assert draft.recipient is not None, draft.notification_id
    if words is not None and draft.order is not None:
        values = facts(draft.order, public_url)
        text = Words(filled(words.subject, values), filled(words.body, values))
    else:
        values = facts(draft.order, public_url) if draft.order else {}
        text = _by_platform(draft.kind, values, draft.payload, draft.order.reason if draft.order else None)
    return Message(
        key=str(draft.notification_id),
        recipient=draft.recipient,
        subject=clean(text.subject)[:SUBJECT_MAX_CHARS],
        body=text.body.strip() + "\n",
    )


def facts(order: OrderFacts, public_url: str) -> dict[str, str]:
    """What the placeholders of a message about an order stand for; one line each."""
    return {
        "item": clean(order.item),
        "quantity": str(order.quantity),
        "total": money(Money(order.price_minor * order.quantity, order.currency)),
        "sale": clean(order.sale),
        "order": str(order.order_id),
        "page": f"{public_url.rstrip('/')}/s/{order.slug}/",
        "pay_by": local_time(order.pay_by, order.time_zone) if order.pay_by else "",
    }


def platform_words(kind: NotificationKind) -> Words:
    """The platform's own words with their placeholders: what a merchant starts from."""
    return _by_platform(kind, {name: f"{{{name}}}" for name in PLACEHOLDERS[kind]} | {"pay_by": "{pay_by}"}, {}, None)


def _by_platform(
    kind: NotificationKind, values: Mapping[str, str], payload: Mapping[str, Any], reason: str | None
) -> Words:
    """The platform's words; a template's first line is the subject."""
    text = _templates().get_template(f"{kind.value}.txt.j2").render(**values, payload=payload, reason=reason)
    subject, _, body = text.partition("\n")
    return Words(subject, body.strip() + "\n")
