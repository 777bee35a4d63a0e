"""Asking for work, after the commit, without ever failing the request that asks."""

import asyncio
from collections.abc import Awaitable, Callable

import dramatiq
from dramatiq.errors import BrokerError
from redis.exceptions import RedisError

from backend.core.log import get_logger
from backend.jobs.contracts import Job

log = get_logger()

Enqueue = Callable[..., Awaitable[bool]]
"""``await enqueue(job, *args)``: whether the broker took the nudge."""

ENQUEUE_TIMEOUT_S = 4.0


class Enqueuer:
    """Sends jobs by name. The broker's client blocks, so each call goes through a thread (about 150 µs)."""

    def __init__(self, broker: dramatiq.Broker) -> None:
        self._broker = broker

    async def __call__(self, job: Job, *args: str | int) -> bool:
        """Nudge a worker. A broker that is down costs a delay until the clock's next tick, so that is logged,
        and answered with False, instead of raised."""
        try:
            async with asyncio.timeout(ENQUEUE_TIMEOUT_S):
                await asyncio.to_thread(self.send, job, *args)
        except (BrokerError, RedisError, OSError, TimeoutError) as error:
            log.warning("job.not_enqueued", job=job.name, error=type(error).__name__)
            return False
        return True

    def send(self, job: Job, *args: str | int) -> None:
        """The blocking call, for callers without an event loop."""
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=job.queue.value, actor_name=job.name, args=args, kwargs={}, options={}
        )
        self._broker.enqueue(message)
