"""A Redis Cluster: which node serves a key's slot, and one connection to each.

    call ─► slot of the key ─► node ─► reply
                 ▲                      │ MOVED: remember, send there      nothing was carried out, so the same
                 └──────────────────────┘ ASK: send there once, ASKING     command may be sent again
                                          anything else: GateUnavailable   nobody knows, so it may not

All keys of a lane share a hash tag, so a script is one node's affair. While a slot moves, its keys stand on two nodes
and scripts are refused (``TRYAGAIN``): unavailable for as long as the move takes, nothing lost.
"""

import asyncio
import binascii
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from backend.core.breaker import Breaker
from backend.core.log import get_logger
from backend.core.store_address import HostPort, StoreAddress
from backend.gate.wire import Asked, Endpoint, GateUnavailable, Moved, PrimaryWire, Wire

log = get_logger()

SLOTS = 16_384
REDIRECTS_MAX = 5
"""A slot that moves on while it is followed; above that the nodes contradict each other."""
_TRIES = 4
_SCRIPTS = ("EVALSHA", "EVAL")
_KEYLESS = ("INFO", "CONFIG", "CLUSTER")


@lru_cache(maxsize=4096)
def slot_of(key: str) -> int:
    """The slot of a key: CRC-16/XMODEM of what stands between the first ``{`` and the next ``}``, else of all."""
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


def key_of(command: Sequence[Any]) -> str | None:
    """The key by which a command finds its node; None for one that any node may answer (``TIME``)."""
    if command[0] in _KEYLESS:
        return None
    at = command.index("STREAMS") + 1 if command[0] == "XREAD" else 3 if command[0] in _SCRIPTS else 1
    return str(command[at]) if len(command) > at else None


class SlotMap:
    """Which node serves which slot, as last told; shared by all connections of a process."""

    def __init__(self, address: StoreAddress, *, timeout_s: float, name: str) -> None:
        self._address = address
        self._name = name
        self._part_s = timeout_s / _TRIES
        self._owners: list[HostPort | None] = [None] * SLOTS
        self._nodes: list[HostPort] = []
        self._first = 0
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def nodes(self) -> list[HostPort]:
        """The primaries that serve slots."""
        return self._nodes

    async def owner(self, slot: int) -> HostPort:
        """The node of a slot. Raises ``GateUnavailable`` when no node says who that is."""
        found = self._owners[slot]
        if found is None:
            await self.refresh()
            found = self._owners[slot]
        if found is None:
            raise GateUnavailable("no node of the cluster serves this slot")
        return found

    def learn(self, slot: int, owner: HostPort) -> None:
        """What a ``MOVED`` said; others have moved too, most likely."""
        self._owners[slot] = owner
        self.doubt()

    def doubt(self) -> None:
        """Ask again, in the background: a node did not answer as it should."""
        if self._refreshing is None:
            self._begin().add_done_callback(_looked_at)

    async def refresh(self) -> None:
        """Ask the nodes for the map; callers that meet share one attempt. Raises ``GateUnavailable``."""
        await asyncio.shield(self._refreshing or self._begin())

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])

    def _begin(self) -> "asyncio.Task[None]":
        task = self._refreshing = asyncio.create_task(self._ask_nodes())
        task.add_done_callback(self._ended)
        return task

    def _ended(self, _: "asyncio.Task[None]") -> None:
        self._refreshing = None

    async def _ask_nodes(self) -> None:
        # Another node first each time: one that was cut off would tell yesterday's map again and again.
        candidates = list(dict.fromkeys((*self.nodes, *self._address.hosts)))
        self._first += 1
        doubts = []
        for turn in range(len(candidates)):
            node = candidates[(self._first + turn) % len(candidates)]
            try:
                rows = await self._ask(node)
            except (OSError, TimeoutError, GateUnavailable) as error:
                doubts.append(f"{node[0]}:{node[1]}: {type(error).__name__} {str(error)[:60]}")
                continue
            self._take(rows, node)
            return
        raise GateUnavailable(f"no node of the cluster answers: {'; '.join(doubts)}"[:300])

    def _take(self, rows: list[Any], told_by: HostPort) -> None:
        owners: list[HostPort | None] = [None] * SLOTS
        for low, high, (host, port, *_), *_ in rows:  # replicas follow
            owners[low : high + 1] = [(host or told_by[0], int(port))] * (high - low + 1)
        self._owners = owners
        self._nodes = sorted({(row[2][0] or told_by[0], int(row[2][1])) for row in rows})

    async def _ask(self, node: HostPort) -> list[Any]:
        connection = await Endpoint.of(self._address, node, name=self._name).dial(self._part_s)
        try:
            rows: list[Any] = await connection.call(("CLUSTER", "SLOTS"))
        finally:
            connection.drop("asked")
        return rows


def _looked_at(task: "asyncio.Task[None]") -> None:
    """The next call will say that no node answers."""
    if not task.cancelled():
        task.exception()


class ClusterWire:
    """What a ``Wire`` is for one server, for a cluster: one connection a node, each command to its slot's node."""

    def __init__(
        self,
        slots: SlotMap,
        address: StoreAddress,
        *,
        timeout_s: float,
        name: str,
        new_breaker: Callable[[], Breaker] | None = None,
    ) -> None:
        """``new_breaker`` makes the breaker of a node: one that is silent must not keep callers from the others."""
        self._slots = slots
        self._new_breaker = new_breaker
        self._address = address
        self._timeout_s = timeout_s
        self._name = name
        self._wires: dict[HostPort, Wire] = {}

    async def call(self, *command: Any) -> Any:
        """The reply to one command. Raises as ``Wire.call``."""
        key = key_of(command)
        slot = slot_of(key) if key is not None else None
        node = await self._slots.owner(slot if slot is not None else 0)
        asking = False
        for _ in range(REDIRECTS_MAX):
            wire = self.wire(node)
            try:
                return await (_asking(wire, command) if asking else wire.call(*command))
            except Asked as asked:
                node, asking = _elsewhere(asked, node), True
            except Moved as moved:
                node, asking = _elsewhere(moved, node), False
                if slot is not None:
                    self._slots.learn(slot, node)
            except GateUnavailable:
                self._slots.doubt()
                raise
        raise GateUnavailable("sent from node to node too often")

    async def together(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to commands on one slot, sent one directly after another; errors in their places.

        A slot that has moved is an error like others: some of the commands were refused, some were not.
        """
        key = next(key for command in commands if (key := key_of(command)) is not None)
        slot = slot_of(key)
        node = await self._slots.owner(slot)
        try:
            replies = await self.wire(node).together(commands)
        except GateUnavailable:
            self._slots.doubt()
            raise
        for reply in replies:
            if isinstance(reply, Moved) and not isinstance(reply, Asked):
                self._slots.learn(slot, _elsewhere(reply, node))
            elif isinstance(reply, GateUnavailable):
                self._slots.doubt()
        return replies

    async def everywhere(self, *command: Any) -> list[Any]:
        """The replies of all primaries to one command. Raises ``GateUnavailable`` if one does not answer."""
        await self._slots.refresh()
        return list(await asyncio.gather(*(self.wire(node).call(*command) for node in self._slots.nodes)))

    async def place(self, key: str) -> HostPort:
        """The node of a key: commands for one place may be sent together."""
        return await self._slots.owner(slot_of(key))

    def wire(self, node: HostPort) -> Wire:
        """The connection to a node."""
        wire = self._wires.get(node)
        if wire is None:
            self._forget_strangers()
            endpoint = Endpoint.of(self._address, node, name=self._name)
            breaker = self._new_breaker() if self._new_breaker is not None else None
            wire = self._wires[node] = PrimaryWire(endpoint, timeout_s=self._timeout_s, breaker=breaker)
        return wire

    def _forget_strangers(self) -> None:
        """Nodes that serve nothing any more: containers come and go under new addresses."""
        serving = set(self._slots.nodes)
        for node in [node for node, wire in self._wires.items() if node not in serving and wire.idle]:
            self._wires.pop(node).forget()

    async def close(self) -> None:
        for wire in self._wires.values():
            await wire.close()


def _elsewhere(moved: Moved, asked: HostPort) -> HostPort:
    host, port = moved.address
    return host or asked[0], port


async def _asking(wire: Wire, command: tuple[Any, ...]) -> Any:
    _, reply = await wire.together([("ASKING",), command])
    if isinstance(reply, BaseException):
        raise reply
    return reply
