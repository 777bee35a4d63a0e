"""redis-py's commands over our own connection, on every topology alike.

redis-py spells commands and reads replies; what it would do besides (pools, re-sending, following a cluster) is
left to the ``Door``. So a plain command is never sent twice, and every failure is ``GateUnavailable``.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import hiredis
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from backend.core.store_address import HostPort
from backend.gate.wire import GateUnavailable


class Door(Protocol):
    """A way to the store: ``Wire`` to one server, ``ClusterWire`` to the nodes of a cluster."""

    async def call(self, *command: Any) -> Any:
        """The reply to one command."""

    async def together(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to commands on one slot, with nothing between them."""

    async def everywhere(self, *command: Any) -> list[Any]:
        """The replies of every primary."""

    async def place(self, key: str) -> HostPort:
        """Which server has a key."""

    async def close(self) -> None:
        """Close the connections."""


def _words(args: Sequence[Any]) -> tuple[Any, ...]:
    """redis-py joins ``CONFIG GET`` to one word."""
    return (*str(args[0]).split(" "), *args[1:])


class PlainCommands(Redis):
    """A client whose commands go through a door; texts come as ``str``."""

    def __init__(self, door: Door) -> None:
        super().__init__(protocol=2, decode_responses=True)
        self._door = door

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command, and its reply as redis-py shapes it."""
        return self._shape(args, options, await self._door.call(*_words(args)))

    def _shape(self, args: Sequence[Any], options: dict[str, Any], reply: Any) -> Any:
        options.pop("keys", None)  # redis-py's note to its cache
        callback = self.response_callbacks.get(args[0])
        return reply if callback is None else callback(reply, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "PlainPipeline":  # noqa: ARG002
        """Several commands at once: with ``transaction`` on one slot and together, else each on its own."""
        return PlainPipeline(self, self._door, transaction=transaction)


class PlainPipeline(Pipeline):
    """Collects commands as redis-py's pipeline does and sends them through the door."""

    def __init__(self, client: PlainCommands, door: Door, *, transaction: bool) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, None)
        self._client = client
        self._door = door

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """All replies in order. Raises ``GateUnavailable`` if one failed, unless told to return it."""
        stack, self.command_stack = self.command_stack, []
        if not stack:
            return []
        commands = [_words(args) for args, _ in stack]
        replies = await (self._transaction(commands) if self.is_transaction else self._each(commands))
        failed = next((reply for reply in replies if isinstance(reply, Exception)), None)
        if failed is not None and raise_on_error:
            raise failed if isinstance(failed, GateUnavailable) else GateUnavailable(str(failed)[:200])
        return [
            reply if isinstance(reply, Exception) else self._client._shape(args, dict(options), reply)  # noqa: SLF001 its own
            for (args, options), reply in zip(stack, replies, strict=True)
        ]

    async def _each(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        return await asyncio.gather(*(self._door.call(*command) for command in commands), return_exceptions=True)

    async def _transaction(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        replies = await self._door.together([("MULTI",), *commands, ("EXEC",)])
        last = replies[-1]
        if isinstance(last, BaseException):
            raise last
        return [GateUnavailable(str(one)[:200]) if isinstance(one, hiredis.ReplyError) else one for one in last]
