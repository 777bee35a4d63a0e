"""The gate's way to Redis or Valkey: no re-sending, explicit time-outs, one exception for all that fails.

The address says which topology it is; everything above this module is the same on all three. Scripts, plain commands,
acknowledgements and reads that block go over connections of their own, so that none waits behind another's answer.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from weakref import ref

from redis.exceptions import RedisError

from backend.core.breaker import Breaker, CircuitState
from backend.core.store_address import StoreAddress, StoreTopology
from backend.gate.acknowledging import Acknowledger
from backend.gate.cluster import ClusterWire, SlotMap
from backend.gate.plain import Door, PlainCommands
from backend.gate.reading import BlockingReads
from backend.gate.scripts import SCRIPTS
from backend.gate.sentinel import PrimaryFinder
from backend.gate.wire import Endpoint, GateUnavailable, PrimaryWire, UnknownScript, Wire

_FAILURES_MAX = 2
_REST_S = 0.5
"""A store that is back takes calls again within this; one that is silent is dialled by one caller this often."""


@asynccontextmanager
async def unavailable_on_error() -> AsyncIterator[None]:
    """Turn every way in which the client fails into ``GateUnavailable``."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        # The text may hold keys and arguments; only its kind and first words are of use.
        raise GateUnavailable(f"{type(error).__name__}: {str(error)[:200]}") from error


class Store:
    """The scripts, plain commands, and what waits: for a stream to grow, for a write to be safe."""

    def __init__(self, url: str, *, timeout_s: float, name: str) -> None:
        """``url`` as in ``backend.core.store_address``; connects when first used."""
        self.timeout_s = timeout_s
        self.address = StoreAddress.parse(url)
        self._name = name
        self._slots: SlotMap | None = None
        if self.address.topology is StoreTopology.CLUSTER:
            self._slots = SlotMap(self.address, timeout_s=timeout_s, name=name)
        # One a server: a cluster's nodes come and go.
        self._breakers: list[ref[Breaker]] = []
        self._scripts = self._new_door(self._new_breaker)
        self._plain = self._new_door()
        # Untyped: redis-py's annotations say bytes | str of what is always str here.
        self.client: Any = PlainCommands(self._plain)
        self._acknowledging = self._new_door()
        self._acknowledger = Acknowledger(self._acknowledging, self.address, timeout_s=timeout_s)
        self._reads = BlockingReads(self._new_door, one_slot_each=self._slots is not None)

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script by its hash, sending its text when the server does not know it (restart, failover)."""
        script = SCRIPTS[name]
        assert len(keys) == script.keys, (name, keys)
        try:
            return await self._scripts.call("EVALSHA", script.sha, len(keys), *keys, *args)
        except UnknownScript:
            # Nothing was carried out: NOSCRIPT is answered before the script starts.
            return await self._scripts.call("EVAL", script.source, len(keys), *keys, *args)

    async def acknowledge(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script that writes, and answer once that write, and so every earlier one, is safe.

        Safe: on the disk of a standalone server, with ``acks`` replicas else. Raises ``GateUnavailable`` when that
        is not so in time.
        """
        return await self._acknowledger.run(SCRIPTS[name], keys, args)

    async def blocking_read(self, streams: Mapping[str, str], *, block_ms: int) -> list[Any]:
        """``XREAD BLOCK``, for at most half of the time-out."""
        return await self._reads.read(streams, block_ms=min(block_ms, int(self.timeout_s * 500)))

    @property
    def circuit(self) -> CircuitState:
        """Whether scripts are sent to the store: open when some server of it is not asked because it was silent."""
        states = {breaker.state for one in list(self._breakers) if (breaker := one()) is not None}
        return next((one for one in (CircuitState.OPEN, CircuitState.HALF_OPEN) if one in states), CircuitState.CLOSED)

    async def everywhere(self, *command: Any) -> list[Any]:
        """The replies of every primary to one command."""
        return await self._plain.everywhere(*command)

    async def look_again(self) -> None:
        """Close what plain commands go over; the next one connects anew, to whoever is the primary then."""
        await self._plain.close()

    async def close(self) -> None:
        await self._acknowledger.close()
        await self._reads.close()
        for door in (self._scripts, self._plain, self._acknowledging):
            await door.close()
        if self._slots is not None:
            await self._slots.close()

    def _new_breaker(self) -> Breaker:
        breaker = Breaker("gate", failures_max=_FAILURES_MAX, rest_s=_REST_S)
        self._breakers = [*(one for one in self._breakers if one() is not None), ref(breaker)]
        return breaker

    def _new_door(self, new_breaker: Callable[[], Breaker] | None = None) -> Door:
        address, timeout_s, name = self.address, self.timeout_s, self._name
        if self._slots is not None:
            return ClusterWire(self._slots, address, timeout_s=timeout_s, name=name, new_breaker=new_breaker)
        breaker = new_breaker() if new_breaker is not None else None
        if address.topology is StoreTopology.SENTINEL:
            finder = PrimaryFinder(address, timeout_s=timeout_s, name=name)
            return PrimaryWire(finder.dial, timeout_s=timeout_s, breaker=breaker)
        server = Endpoint.of(address, address.hosts[0], name=name, database=address.database)
        return Wire(server, timeout_s=timeout_s, breaker=breaker)
