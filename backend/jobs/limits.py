"""Bounds that hold for either broker."""

from dramatiq.errors import BrokerError

BROKER_TIMEOUT_S = 3.0
"""Connecting, and one answer."""
WAITING_MAX = 1_000
"""Messages of a queue. While no worker runs the clock fills its queues within minutes; from then on nudges are
refused, so that a forgotten worker does not fill the broker's memory, which may be
the gate's. Nothing is lost by a refusal: the work stands in the ledger or the gate."""
DEAD_MESSAGE_TTL_MS = 3_600_000
"""Failed and outdated nudges are kept for an hour, for a person who wonders; nobody works on them."""


class QueueFull(BrokerError):
    """``WAITING_MAX`` messages wait already."""

    def __init__(self, queue_name: str) -> None:
        super().__init__(f"{WAITING_MAX} messages wait on {queue_name}")
