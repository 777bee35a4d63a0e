"""Both job brokers as a test treats them: healthy, dead, frozen, in alarm, read-only, with garbage on a queue."""

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pika
import pytest
import redis.asyncio as redis

from backend.jobs import Queue
from stack.binaries import find_rabbitmq
from stack.errors import ServerNotFoundError
from stack.servers import GateServer, RabbitmqServer, Server
from stack.servers.rabbitmq import USER

FAULTS = ("down", "frozen", "in alarm", "read-only")
NAMES = ("redis", "rabbitmq")


class BrokerServer(ABC):
    """One broker's server and its faults."""

    server: Server

    @property
    @abstractmethod
    def url(self) -> str:
        """As the application's user."""

    @asynccontextmanager
    async def suffering(self, fault: str) -> AsyncIterator[None]:
        """One of ``FAULTS``, for as long as the block lasts."""
        begin, heal = {
            "down": (self._down, self.server.start),
            "frozen": (self._freeze, self._thaw),
            "in alarm": (self._alarm, self._calm),
            "read-only": (self._forbid, self._allow),
        }[fault]
        await begin()
        try:
            yield
        finally:
            await heal()

    async def _down(self) -> None:
        self.server.kill()

    async def _freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    async def _thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.server.pid is not None
        os.kill(self.server.pid, number)

    @abstractmethod
    async def _alarm(self) -> None: ...
    @abstractmethod
    async def _calm(self) -> None: ...
    @abstractmethod
    async def _forbid(self) -> None: ...
    @abstractmethod
    async def _allow(self) -> None: ...

    @abstractmethod
    async def put(self, queue: str, *bodies: bytes) -> None:
        """Put bytes on a queue, as a stranger with a client would."""

    @abstractmethod
    async def empty(self) -> None:
        """Drop every message."""

    @abstractmethod
    async def waiting(self, queue: str) -> int:
        """Messages that nobody has taken."""


class RedisBroker(BrokerServer):
    """A server of its own, so that its faults are not the gate store's."""

    def __init__(self, folder: Path) -> None:
        self.server: GateServer = GateServer(folder, name="broker")

    @property
    def url(self) -> str:
        return self.server.broker_url

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[redis.Redis]:
        async with redis.Redis.from_url(self.server.admin_url.removesuffix("/0") + "/1", socket_timeout=5) as client:
            yield client

    async def _alarm(self) -> None:
        async with self._admin() as client:
            await client.config_set("maxmemory", 1)

    async def _calm(self) -> None:
        async with self._admin() as client:
            await client.config_set("maxmemory", "1gb")

    async def _forbid(self) -> None:
        async with self._admin() as client:
            await client.execute_command("REPLICAOF", "127.0.0.1", "1")

    async def _allow(self) -> None:
        async with self._admin() as client:
            await client.execute_command("REPLICAOF", "NO", "ONE")

    async def put(self, queue: str, *bodies: bytes) -> None:
        async with self._admin() as client, client.pipeline() as pipe:
            for body in bodies:
                number = os.urandom(8).hex()
                pipe.hset(f"dramatiq:{queue}.msgs", number, body)
                pipe.rpush(f"dramatiq:{queue}", number)
            await pipe.execute()

    async def empty(self) -> None:
        async with self._admin() as client:
            await client.flushdb()

    async def waiting(self, queue: str) -> int:
        async with self._admin() as client:
            return int(await client.llen(f"dramatiq:{queue}"))


class RabbitmqBroker(BrokerServer):
    """RabbitMQ as Debian has it."""

    def __init__(self, folder: Path) -> None:
        self.server: RabbitmqServer = RabbitmqServer(folder)

    @property
    def url(self) -> str:
        return self.server.url

    async def _alarm(self) -> None:
        await self.server.control("set_vm_memory_high_watermark", "absolute", "1MB")

    async def _calm(self) -> None:
        await self.server.control("set_vm_memory_high_watermark", "absolute", "512MB")

    async def _forbid(self) -> None:
        await self.server.control("set_permissions", USER, "^$", "^$", "^$")
        # Channels remember for a while what was allowed; new ones ask.
        await self.server.control("close_all_connections", "permissions")

    async def _allow(self) -> None:
        await self.server.control("set_permissions", USER, ".*", ".*", ".*")

    async def put(self, queue: str, *bodies: bytes) -> None:
        def publish(channel: pika.adapters.blocking_connection.BlockingChannel) -> None:
            for body in bodies:
                channel.basic_publish("", queue, body)

        await asyncio.to_thread(self._with_channel, publish)

    async def empty(self) -> None:
        def purge(channel: pika.adapters.blocking_connection.BlockingChannel) -> None:
            for queue in Queue:
                for name in (queue.value, f"{queue.value}.DQ", f"{queue.value}.XQ"):
                    try:
                        channel.queue_purge(name)
                    except pika.exceptions.ChannelClosedByBroker:  # it was never declared
                        channel = channel.connection.channel()

        await asyncio.to_thread(self._with_channel, purge)

    async def waiting(self, queue: str) -> int:
        return await asyncio.to_thread(
            self._with_channel, lambda channel: channel.queue_declare(queue, passive=True).method.message_count
        )

    def _with_channel(self, use):
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            return use(connection.channel())
        finally:
            connection.close()


@asynccontextmanager
async def running_broker(name: str, folder: Path) -> AsyncIterator[BrokerServer]:
    """The broker of that name. Without RabbitMQ on the machine its tests are skipped, but never in CI."""
    if name == "rabbitmq" and "CI" not in os.environ:
        try:
            find_rabbitmq()
        except ServerNotFoundError as error:
            pytest.skip(str(error))
    broker = RedisBroker(folder) if name == "redis" else RabbitmqBroker(folder)
    async with broker.server:
        yield broker
