"""Messages to shoppers: an outbox in the ledger, delivered at least once under one key each.

Whoever decides something writes a ``Notification`` row in the same transaction; ``deliver_due`` sends it.
"""

from backend.notifications.channel import Channel, EmailChannel, SendFailed
from backend.notifications.messages import Message, compose
from backend.notifications.previews import previews, trial_message
from backend.notifications.service import Delivery, deliver_due

__all__ = [
    "Channel",
    "Delivery",
    "EmailChannel",
    "Message",
    "SendFailed",
    "compose",
    "deliver_due",
    "previews",
    "trial_message",
]
