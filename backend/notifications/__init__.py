"""Messages to shoppers: an outbox in the ledger, delivered at least once under one key each.

Whoever decides something writes a ``Notification`` row in the same transaction; ``deliver_due`` sends it.
"""

from backend.notifications.channel import Channel, EmailChannel, SendFailed, TeamChannel
from backend.notifications.channels import (
    Vault,
    add_channel,
    channel_of,
    channels_of,
    check_address,
    remove_channel,
)
from backend.notifications.messages import Message, compose, platform_words
from backend.notifications.previews import preview, previews, trial_message
from backend.notifications.service import Delivery, deliver_due
from backend.notifications.services import SERVICES
from backend.notifications.templates_own import own_words, reset_words, set_words
from backend.notifications.wording import MEANINGS, PLACEHOLDERS, Words, problems

__all__ = [
    "MEANINGS",
    "PLACEHOLDERS",
    "SERVICES",
    "Channel",
    "Delivery",
    "EmailChannel",
    "Message",
    "SendFailed",
    "TeamChannel",
    "Vault",
    "Words",
    "add_channel",
    "channel_of",
    "channels_of",
    "check_address",
    "compose",
    "deliver_due",
    "own_words",
    "platform_words",
    "preview",
    "previews",
    "problems",
    "remove_channel",
    "reset_words",
    "set_words",
    "trial_message",
]
