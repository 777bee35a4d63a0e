"""From an outbox row to the words a shopper reads: plain text, the sale's own zone, money as the pages write it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined

from backend.models import NotificationKind
from page_renderer.model import Money
from page_renderer.text import clean, local_time, money

SUBJECT_MAX_CHARS = 150
"""Longer ones are cut by mail programs anyway; a merchant's title can be 200."""


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
    environment = Environment(  # noqa: S701
        loader=PackageLoader("backend.notifications"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_one_line,
    )
    environment.filters["local_time"] = local_time
    return environment


def compose(draft: Draft, public_url: str) -> Message:
    """The message of a draft that has a recipient. Its template's first line is the subject.

    Raises jinja2.TemplateError when the payload lacks what the template names.
    """
    assert draft.recipient is not None, draft.notification_id
    order = draft.order
    text = (
        _templates()
        .get_template(f"{draft.kind.value}.txt.j2")
        .render(
            order=order,
            total=money(Money(order.price_minor * order.quantity, order.currency)) if order else "",
            payload=draft.payload,
            public_url=public_url.rstrip("/"),
        )
    )
    subject, _, body = text.partition("\n")
    return Message(
        key=str(draft.notification_id),
        recipient=draft.recipient,
        subject=subject[:SUBJECT_MAX_CHARS],
        body=body.strip() + "\n",
    )
