"""Asking for work, after the commit, without ever failing the request that asks."""

import asyncio
from collections.abc import Awaitable, Callable

import dramatiq
from dramatiq.errors import BrokerError
from redis.exceptions import RedisError

from backend.core.breaker import Breaker, CircuitState
from backend.core.log import get_logger
from backend.core.metrics import NUDGES
from backend.jobs.broker import JobBroker
from backend.jobs.contracts import Job
from backend.jobs.limits import QueueFull
from backend.jobs.sender import Sender

log = get_logger()

Enqueue = Callable[..., Awaitable[bool]]
"""``await enqueue(job, *args)``: whether the broker took the nudge."""

ENQUEUE_TIMEOUT_S = 4.0
_FAILURES_MAX = 2
"""A broker that says nothing costs whoever asks it four seconds."""


class Enqueuer:
    """Sends jobs by name, from a thread of its own."""

    def __init__(self, broker: JobBroker) -> None:
        self._sender = Sender(broker)
        self._breaker = Breaker("broker", failures_max=_FAILURES_MAX)

    @property
    def circuit(self) -> CircuitState:
        """Whether the broker is asked at all."""
        return self._breaker.state

    async def __call__(self, job: Job, *args: str | int) -> bool:
        """Nudge a worker. A broker that is down costs a delay until the clock's next tick, so that is logged,
        and answered with False, instead of raised."""
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=job.queue.value, actor_name=job.name, args=args, kwargs={}, options={}
        )
        try:
            # A full queue is an answer, and the next message may be for another.
            with self._breaker.guard(lambda error: not isinstance(error, QueueFull)):
                async with asyncio.timeout(ENQUEUE_TIMEOUT_S):
                    await asyncio.wrap_future(self._sender.submit(message))
        except (BrokerError, RedisError, OSError, TimeoutError) as error:
            log.warning("job.not_enqueued", job=job.name, error=type(error).__name__)
            NUDGES.labels(job.name, "refused").inc()
            return False
        NUDGES.labels(job.name, "taken").inc()
        return True

    def close(self) -> None:
        """Close the broker's connection; returns within a second, whatever state the broker is in."""
        self._sender.close()
