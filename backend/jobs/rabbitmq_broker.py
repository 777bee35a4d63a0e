"""Jobs over RabbitMQ.

dramatiq keeps a connection for each thread that sends, and one for each consumer. All of ours send from one thread
(``backend.jobs.sender``), which also answers the server's heartbeats while nothing is sent.
"""

import logging
from typing import Any

from dramatiq import MessageProxy
from dramatiq.broker import Consumer
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer
from dramatiq.common import xq_name
from dramatiq.errors import ConnectionClosed
from dramatiq.message import Message
from dramatiq.middleware import Middleware
from pika.exceptions import AMQPError, NackError

from backend.core.log import get_logger
from backend.jobs.limits import BROKER_TIMEOUT_S, DEAD_MESSAGE_TTL_MS, WAITING_MAX, QueueFull
from backend.jobs.messages import is_ours

log = get_logger()

HEARTBEAT_S = 10
"""A server that is silent for this long is gone; what a worker had taken and not acknowledged goes to the others."""
HANDSHAKE_TIMEOUT_S = 5.0
"""TCP, TLS, sign-in: a frozen server's kernel still accepts connections."""


class JobsOverRabbitmq(RabbitmqBroker):
    """dramatiq's broker with time-outs on everything, bounded queues, and consumers that garbage does not stop."""

    def __init__(self, url: str, *, middleware: list[Middleware]) -> None:
        # Without confirmed delivery a message that the server never got counts as sent (off by default).
        super().__init__(url=url, middleware=middleware, confirm_delivery=True)
        parameters: Any = self.parameters  # one server's, or a list for "url;url"
        for one in parameters if isinstance(parameters, list) else [parameters]:
            one.heartbeat = HEARTBEAT_S
            one.socket_timeout = BROKER_TIMEOUT_S
            one.stack_timeout = HANDSHAKE_TIMEOUT_S
            # In a memory or disk alarm the server stops reading from whoever sends, and says so.
            one.blocked_connection_timeout = BROKER_TIMEOUT_S
            one.connection_attempts = 1
            one.client_properties = {"connection_name": "stampede-broker"}
        # Ten lines for each lost connection. What came of it is told by job.not_enqueued, or by dramatiq's consumer.
        logging.getLogger("pika").setLevel(logging.CRITICAL)

    @property
    def consumer_class(self) -> type[_RabbitmqConsumer]:
        return _Consumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        try:
            consumer = super().consume(queue_name, prefetch, timeout)
        finally:
            # The queue was declared over a connection of this thread, which nobody would keep alive.
            del self.connection
        return consumer

    def enqueue(self, message: "Message[Any]", *, delay: int | None = None) -> "Message[Any]":
        """Raises ``QueueFull``, ``ConnectionClosed``."""
        try:
            return super().enqueue(message, delay=delay)
        except ConnectionClosed as error:
            if error.args and isinstance(error.args[0], NackError):
                raise QueueFull(message.queue_name) from None
            raise
        except AMQPError as error:
            del self.connection
            raise ConnectionClosed(error) from None

    def keep_alive(self) -> None:
        """Answer the server's heartbeats on this thread's connection, if it has one."""
        connection = getattr(self.state, "connection", None)
        if connection is None:
            return
        try:
            connection.process_data_events(time_limit=0)
        except AMQPError:
            del self.connection

    def close(self) -> None:
        """Close this thread's connection. Those of other threads are theirs: pika's are not for two."""
        self._ignore_pika_logs()
        del self.connection

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        arguments: dict[str, Any] = super()._build_queue_arguments(queue_name)
        # The new one is refused, not the oldest dropped: among these may be what a person asked for.
        return {**arguments, "x-max-length": WAITING_MAX, "x-overflow": "reject-publish"}

    def _declare_xq_queue(self, queue_name: str) -> Any:
        arguments = {"x-message-ttl": DEAD_MESSAGE_TTL_MS, "x-max-length": WAITING_MAX}
        return self.channel.queue_declare(queue=xq_name(queue_name), durable=True, arguments=arguments)


class _Consumer(_RabbitmqConsumer):
    def __next__(self) -> MessageProxy | None:
        message: MessageProxy | None = super().__next__()
        if message is None or is_ours(message, self.queue_name):
            return message
        log.warning("job.garbage", queue=self.queue_name)
        self.nack(message)
        return None

    def close(self) -> None:
        try:
            super().close()
        except (AMQPError, OSError) as error:
            raise ConnectionClosed(error) from None
