"""Every job: its queue, how often it is tried, how long it may take, how old a nudge is still worth doing."""

from dataclasses import dataclass
from enum import StrEnum


class Queue(StrEnum):
    """Separate queues, so that slow mail never delays an order."""

    ORDERS = "orders"
    RELEASE = "release"
    CONTROL = "control"
    NOTIFY = "notify"
    PAGES = "pages"


@dataclass(frozen=True, slots=True)
class Job:
    """A message contract. Nudges are not retried: the clock sends the next one a second later."""

    name: str
    queue: Queue
    time_limit_ms: int
    max_retries: int = 0
    max_age_ms: int | None = 10_000
    """Older nudges are dropped: after an outage the newest one does it all."""


DRAIN = Job("orders.drain", Queue.ORDERS, time_limit_ms=60_000)
"""Apply journals to the ledger, for at most 30 s; twice that before the broker's time limit stops it."""
EXPIRE = Job("orders.expire", Queue.RELEASE, time_limit_ms=30_000)
"""End holds whose time is up."""
SETTLE = Job("orders.settle", Queue.RELEASE, time_limit_ms=30_000)
"""Settle payments whose process died between capturing and settling."""
RELAY = Job("gate.relay", Queue.RELEASE, time_limit_ms=30_000)
"""Tell the gate of units given back."""
RECOVER = Job("orders.recover", Queue.CONTROL, time_limit_ms=120_000, max_age_ms=3_000)
"""Find gates that have lost history and rebuild them; of a large sale that takes a while."""
TRANSITIONS = Job("sales.transitions", Queue.CONTROL, time_limit_ms=60_000)
"""Preload, rotate and publish what is due."""
CONFIGURE = Job("gate.configure", Queue.CONTROL, time_limit_ms=30_000)
"""Re-apply the ledger's wishes to every lane."""
CLOCKS = Job("sales.clocks", Queue.CONTROL, time_limit_ms=10_000, max_age_ms=3_000)
"""Hold the gate's clock against the database's."""
AUDIT = Job("sales.audit", Queue.CONTROL, time_limit_ms=60_000)
"""Reconcile every live sale."""
PAGE_STATES = Job("pages.states", Queue.PAGES, time_limit_ms=15_000, max_age_ms=3_000)
"""Write each sale's state.json."""
PUBLISH = Job("pages.publish", Queue.PAGES, time_limit_ms=60_000, max_retries=3, max_age_ms=None)
"""Publish one sale's page (sale id). Asked for by a person, so it is retried."""
NOTIFY = Job("notifications.deliver", Queue.NOTIFY, time_limit_ms=120_000)
"""Send what is due; slow servers get two minutes for a batch."""

ALL = (DRAIN, EXPIRE, SETTLE, RELAY, RECOVER, TRANSITIONS, CONFIGURE, CLOCKS, AUDIT, PAGE_STATES, PUBLISH, NOTIFY)
