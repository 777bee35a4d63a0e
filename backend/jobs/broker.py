"""The job broker, Redis or RabbitMQ by URL."""

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, AsyncIO, Retries, TimeLimit
from redis.backoff import NoBackoff
from redis.retry import Retry

from backend.jobs.contracts import Queue

BROKER_TIMEOUT_S = 3.0
HEARTBEAT_TIMEOUT_MS = 10_000
"""After a worker is killed its unacknowledged messages come back after this and a maintenance roll."""
MAINTENANCE_CHANCE = 10_000
"""Of a million commands: once in 100 instead of once in 1,000, so that they come back in seconds."""


def make_broker(url: str) -> dramatiq.Broker:
    """A broker with our queues and middleware. Connects lazily; no metrics server is opened.

    Actors are not interrupted at a shutdown: a drain watches ``Runtime.stopping`` and ends between two batches.
    """
    middleware = [
        AgeLimit(),
        TimeLimit(interval=500),
        Retries(min_backoff=1_000, max_backoff=30_000),
        AsyncIO(),
    ]
    broker: dramatiq.Broker
    if url.startswith("amqp"):
        # Only where it is used: pika need not be loaded for Redis.
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        # Without confirmed delivery a message that the server never got counts as sent (off by default).
        broker = RabbitmqBroker(url=url, middleware=middleware, confirm_delivery=True)
    else:
        client = redis.Redis.from_url(
            url,
            socket_timeout=BROKER_TIMEOUT_S,
            socket_connect_timeout=BROKER_TIMEOUT_S,
            client_name="stampede-broker",
            # A message sent twice is harmless (jobs are nudges), ten tries with back-off would take seconds.
            retry=Retry(NoBackoff(), 1),
            protocol=2,
        )
        broker = RedisBroker(  # type: ignore[no-untyped-call]  # dramatiq leaves it unannotated
            client=client,
            middleware=middleware,
            heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
            maintenance_chance=MAINTENANCE_CHANCE,
        )
    for queue in Queue:
        broker.declare_queue(queue.value)
    return broker
