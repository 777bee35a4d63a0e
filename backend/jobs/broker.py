"""The job broker, Redis or RabbitMQ by URL."""

from typing import TYPE_CHECKING, TypeAlias

from dramatiq.middleware import AgeLimit, AsyncIO, Middleware, Retries, TimeLimit

from backend.jobs.contracts import Queue
from backend.jobs.measuring import Measuring
from backend.jobs.redis_broker import JobsOverRedis

if TYPE_CHECKING:
    from backend.jobs.rabbitmq_broker import JobsOverRabbitmq

JobBroker: TypeAlias = "JobsOverRedis | JobsOverRabbitmq"


def make_broker(url: str) -> JobBroker:
    """A broker with our queues and middleware. Connects lazily; no metrics server is opened.

    Actors are not interrupted at a shutdown: a drain watches ``Runtime.stopping`` and ends between two batches.
    """
    broker = _open(
        url,
        [
            AgeLimit(),
            TimeLimit(interval=500),
            Retries(min_backoff=1_000, max_backoff=30_000),
            AsyncIO(),
            Measuring(),
        ],
    )
    for queue in Queue:
        broker.declare_queue(queue.value)
    return broker


def _open(url: str, middleware: list[Middleware]) -> JobBroker:
    if not url.startswith("amqp"):
        return JobsOverRedis(url, middleware=middleware)
    # Only where it is used: pika need not be loaded for Redis.
    from backend.jobs.rabbitmq_broker import JobsOverRabbitmq

    return JobsOverRabbitmq(url, middleware=middleware)
