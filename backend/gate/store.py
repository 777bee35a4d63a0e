"""The gate's way to Redis or Valkey: no re-sending, explicit time-outs, one exception for all that fails.

Scripts go over one shared ``Wire``; plain commands, and reads that block, over redis-py's pool.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from backend.gate.scripts import SCRIPTS
from backend.gate.wire import GateUnavailable, UnknownScript, Wire

POOL_SIZE = 64
"""The blocking pool waits for a free connection; the default one raises at its 101st."""


@asynccontextmanager
async def unavailable_on_error() -> AsyncIterator[None]:
    """Turn every way in which the client fails into ``GateUnavailable``."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        # The text may hold keys and arguments; only its kind and first words are of use.
        raise GateUnavailable(f"{type(error).__name__}: {str(error)[:200]}") from error


class Store:
    """The scripts, and a pool of connections for everything else.

    redis-py re-sends commands by itself by default (10 times): a lost answer would become a second try that
    nobody asked for, so that is off here.
    """

    def __init__(self, url: str, *, timeout_s: float, name: str) -> None:
        self.timeout_s = timeout_s
        self._wire = Wire(url, timeout_s=timeout_s, name=name)
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=POOL_SIZE,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            client_name=f"stampede-{name}",
            protocol=2,
        )
        # Untyped: redis-py's annotations say bytes | str of what decode_responses makes str.
        self.client: Any = Redis(connection_pool=self._pool)

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script by its hash, sending its text when the server does not know it (restart, failover)."""
        script = SCRIPTS[name]
        assert len(keys) == script.keys, (name, keys)
        try:
            return await self._wire.call("EVALSHA", script.sha, len(keys), *keys, *args)
        except UnknownScript:
            # Nothing was carried out: NOSCRIPT is answered before the script starts.
            return await self._wire.call("EVAL", script.source, len(keys), *keys, *args)

    async def blocking_read(self, streams: dict[str, str], *, block_ms: int) -> list[Any]:
        """``XREAD BLOCK``, for at most half of the socket's time-out."""
        async with unavailable_on_error():
            reply = await self.client.xread(streams, count=1, block=min(block_ms, int(self.timeout_s * 500)))
        return list(reply or [])

    async def close(self) -> None:
        await self._wire.close()
        await self.client.aclose()
        await self._pool.disconnect()
