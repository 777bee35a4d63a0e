"""Jobs over Redis or Valkey."""

from typing import Any

import redis
from dramatiq import MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed, DecodeError
from dramatiq.message import Message
from dramatiq.middleware import Middleware
from redis.backoff import NoBackoff
from redis.retry import Retry

from backend.core.log import get_logger
from backend.jobs.limits import BROKER_TIMEOUT_S, DEAD_MESSAGE_TTL_MS, WAITING_MAX, QueueFull
from backend.jobs.messages import is_ours

log = get_logger()

HEARTBEAT_TIMEOUT_MS = 10_000
"""After a worker is killed its unacknowledged messages come back after this and a maintenance roll."""
MAINTENANCE_CHANCE = 10_000
"""Of a million commands: once in 100 instead of once in 1,000, so that they come back in seconds."""


class JobsOverRedis(RedisBroker):
    """dramatiq's broker with bounded queues, and consumers that garbage does not stop."""

    def __init__(self, url: str, *, middleware: list[Middleware]) -> None:
        client = redis.Redis.from_url(
            url,
            socket_timeout=BROKER_TIMEOUT_S,
            socket_connect_timeout=BROKER_TIMEOUT_S,
            client_name="stampede-broker",
            # A message sent twice is harmless (jobs are nudges), ten tries with back-off would take seconds.
            retry=Retry(NoBackoff(), 1),
            protocol=2,
        )
        super().__init__(
            client=client,
            middleware=middleware,
            heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
            maintenance_chance=MAINTENANCE_CHANCE,
            dead_message_ttl=DEAD_MESSAGE_TTL_MS,
        )

    @property
    def consumer_class(self) -> type[_RedisConsumer]:
        return _Consumer

    def enqueue(self, message: "Message[Any]", *, delay: int | None = None) -> "Message[Any]":
        """Raises ``QueueFull``, and redis-py's errors."""
        if self.client.llen(f"{self.namespace}:{message.queue_name}") >= WAITING_MAX:
            raise QueueFull(message.queue_name)
        return super().enqueue(message, delay=delay)

    def keep_alive(self) -> None:
        """Nothing: an idle connection to Redis stays."""

    def close(self) -> None:
        self.client.close()


class _Consumer(_RedisConsumer):
    """Everything that Redis may answer (time-outs, read-only, out of memory, no permission) is a lost connection:
    dramatiq tries again, instead of giving the message up as a fault of its own."""

    def __next__(self) -> MessageProxy | None:
        try:
            message: MessageProxy | None = super().__next__()
        except (DecodeError, TypeError):
            # It stays among what this process has not acknowledged: its id stood inside.
            log.warning("job.garbage", queue=self.queue_name)
            return None
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None
        if message is None or is_ours(message, self.queue_name):
            return message
        log.warning("job.garbage", queue=self.queue_name)
        self._refuse(message)
        return None

    def _refuse(self, message: MessageProxy) -> None:
        options: Any = message.options
        if isinstance(options, dict) and isinstance(options.get("redis_message_id"), str):
            self.nack(message)
        else:
            self.queued_message_ids.discard(message.message_id)

    def ack(self, message: MessageProxy) -> None:
        try:
            super().ack(message)
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None

    def nack(self, message: MessageProxy) -> None:
        try:
            super().nack(message)
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None

    def requeue(self, messages: Any) -> None:
        try:
            super().requeue(messages)
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None
