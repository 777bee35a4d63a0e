"""A Redis Cluster on loopback: three primaries, a replica each, joined by ``CLUSTER`` commands alone.

A lane lives in one slot, so one primary's death stops that node's lanes and no others
(``cluster-require-full-coverage no``) until its replica is elected; ``min-replicas-to-write 1`` keeps that one from
writing until the dead node is back as its replica.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis.asyncio as redis

from stack.errors import StartError
from stack.files import SecretBook
from stack.ports import PortBook, PortClaim
from stack.servers.base import LOOPBACK
from stack.servers.gate import (
    ADMIN_USER,
    APP_USER,
    REPLICATED_RULES,
    GateServer,
    ask,
    plays,
    replication_config,
    start_all,
)

SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000
MIN_REPLICAS_MAX_LAG_S = 5
_LOOK_EVERY_S = 0.05
_WAIT_LIMIT_S = 60.0


def node_config(*, announce: str, bus_port: int, node_timeout_ms: int) -> list[str]:
    """What makes a store a node of a cluster."""
    return [
        "cluster-enabled yes",
        "cluster-config-file nodes.conf",
        f"cluster-port {bus_port}",
        f"cluster-announce-ip {announce}",
        f"cluster-node-timeout {node_timeout_ms}",
        "cluster-require-full-coverage no",
        "cluster-replica-validity-factor 0",
    ]


class ClusterMember(GateServer):
    """One node. Its part and its peers stand in ``nodes.conf``, which the server writes itself."""

    rules = REPLICATED_RULES

    def __init__(self, data_dir: Path, number: int, *, node_timeout_ms: int, min_replicas_max_lag_s: int) -> None:
        """Share the passwords of the whole cluster."""
        super().__init__(data_dir, name=f"gate-{number}", passwords="gate")
        self._replica_password = SecretBook(self.data_dir).get("gate_replica_password")
        self._node_timeout_ms = node_timeout_ms
        self._min_replicas_max_lag_s = min_replicas_max_lag_s
        self._bus_claim: PortClaim | None = None

    @property
    def bus_port(self) -> int:
        """Where the nodes talk to each other."""
        if self._bus_claim is None:
            self._bus_claim = PortBook(self.data_dir).claim(f"{self.name}-bus")
        return self._bus_claim.port

    def further_config(self) -> Sequence[str]:
        """A node of a cluster, on a bus port of its own choice."""
        return [
            *replication_config(self._replica_password, min_replicas_max_lag_s=self._min_replicas_max_lag_s),
            *node_config(announce=LOOPBACK, bus_port=self.bus_port, node_timeout_ms=self._node_timeout_ms),
        ]

    async def stop(self) -> None:
        """Give both ports back."""
        await super().stop()
        if self._bus_claim is not None:
            self._bus_claim.release()
            self._bus_claim = None

    async def ask(self, *command: str | int) -> Any:
        """One command with every right."""
        async with self.admin() as client:
            return await ask(client, *command)

    async def node_id(self) -> str:
        """Its name within the cluster."""
        return str((await self.ask("CLUSTER", "MYID")).decode())

    async def facts(self) -> dict[str, str]:
        """``CLUSTER INFO``; empty when it does not answer."""
        try:
            async with asyncio.timeout(1):
                said = await self.ask("CLUSTER", "INFO")
        except (redis.RedisError, OSError, TimeoutError):
            return {}
        text = said if isinstance(said, dict) else dict(
            line.split(":", 1) for line in said.decode().splitlines() if ":" in line
        )  # fmt: skip
        return {str(name): str(value) for name, value in text.items()}

    async def owners(self) -> dict[int, int]:
        """Port of the primary by slot, as this node sees it; empty when it does not answer."""
        try:
            async with asyncio.timeout(1), self.admin() as client:
                connection = client.client()
                async with connection:
                    connection.response_callbacks.pop("CLUSTER SLOTS", None)
                    rows = await ask(connection, "CLUSTER", "SLOTS")
        except (redis.RedisError, OSError, TimeoutError):
            return {}
        return {slot: int(row[2][1]) for row in rows for slot in range(int(row[0]), int(row[1]) + 1)}


class ClusterGate:
    """The whole cluster: the first half of ``members`` begin as primaries, the others as their replicas."""

    def __init__(
        self,
        data_dir: Path,
        *,
        primaries: int = 3,
        node_timeout_ms: int = NODE_TIMEOUT_MS,
        min_replicas_max_lag_s: int = MIN_REPLICAS_MAX_LAG_S,
    ) -> None:
        """Describe it. ``min_replicas_max_lag_s`` 0 leaves the guard off: for negative controls alone."""
        self.data_dir = data_dir
        self._primaries = primaries
        self.members = [
            ClusterMember(
                data_dir, number, node_timeout_ms=node_timeout_ms, min_replicas_max_lag_s=min_replicas_max_lag_s
            )
            for number in range(1, 2 * primaries + 1)
        ]
        secrets = SecretBook(data_dir)
        self._app_password = secrets.get("gate_app_password")
        self._admin_password = secrets.get("gate_admin_password")

    @property
    def url(self) -> str:
        """The address for the application: half of the nodes; the others are found."""
        hosts = ",".join(f"{LOOPBACK}:{one.port}" for one in self.members[: self._primaries])
        return f"redis+cluster://{APP_USER}:{self._app_password}@{hosts}"

    app_url = url

    @property
    def admin_password(self) -> str:
        """Of the user with every right, on every node."""
        return self._admin_password

    @property
    def pids(self) -> dict[str, int | None]:
        """Process ids by name; None for one that does not run."""
        return {one.name: one.pid for one in self.members}

    async def start(self) -> None:
        """Start, join (the first time) and wait until every slot has its primary and its replica."""
        known = [(one.data_dir / one.name / "nodes.conf").exists() for one in self.members]
        try:
            await start_all(self.members)
            if not all(known):
                await self._join()
            await self.wait_until_whole()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End everything, the frozen too."""
        for member in self.members:
            member.thaw()
        await asyncio.gather(*(one.stop() for one in self.members))

    async def flush(self) -> None:
        """Empty all primaries, scripts included."""
        for member in self.members:
            if await plays(member, "master"):
                await member.flush()
            else:
                async with member.admin() as client:
                    await client.script_flush()

    async def primary_of(self, slot: int) -> ClusterMember:
        """The living node that serves a slot and says so itself; waits through a failover."""
        deadline = time.monotonic() + _WAIT_LIMIT_S
        while time.monotonic() < deadline:
            for member in self.members:
                if (await member.owners()).get(slot) == member.port:
                    return member
            await asyncio.sleep(_LOOK_EVERY_S)
        raise StartError(f"nobody serves slot {slot}")

    async def replica_of(self, primary: ClusterMember) -> ClusterMember:
        """The living node that follows a primary."""
        name = await primary.node_id()
        for member in self.members:
            if member is not primary and member.running and await plays(member, "slave"):
                (_, _, port, *_) = await member.ask("ROLE")
                if int(port) == primary.port:
                    return member
        raise StartError(f"nobody follows {name}")

    async def wait_for_failover(self, old: ClusterMember, slot: int) -> ClusterMember:
        """The next primary of a slot, once every other living node names it."""
        deadline = time.monotonic() + _WAIT_LIMIT_S
        while time.monotonic() < deadline:
            seen = {(await one.owners()).get(slot) for one in self.members if one is not old and one.running}
            if len(seen) == 1 and old.port not in seen:
                (port,) = seen
                for member in self.members:
                    if member.port == port:
                        return member
            await asyncio.sleep(_LOOK_EVERY_S)
        raise StartError(f"no primary after {old.name} within {_WAIT_LIMIT_S:.0f} s")

    async def wait_until_whole(self) -> None:
        """Wait until all nodes agree: every slot served, every primary with a replica in step."""
        deadline = time.monotonic() + _WAIT_LIMIT_S
        while time.monotonic() < deadline:
            if await self._is_whole():
                return
            await asyncio.sleep(_LOOK_EVERY_S)
        raise StartError(f"the cluster was not whole after {_WAIT_LIMIT_S:.0f} s")

    async def move_slot(self, slot: int, target: ClusterMember) -> None:
        """Give a slot with its keys to another primary, as ``redis-cli --cluster reshard`` does."""
        source = await self.primary_of(slot)
        await self.begin_move(slot, source, target)
        while await self.move_keys(slot, source, target):
            pass
        await self.end_move(slot, source, target)

    async def begin_move(self, slot: int, source: ClusterMember, target: ClusterMember) -> None:
        """From now on the slot's keys may stand on both."""
        await target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", await source.node_id())
        await source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", await target.node_id())

    async def move_keys(self, slot: int, source: ClusterMember, target: ClusterMember, *, count: int = 100) -> int:
        """Move some of the slot's keys; how many there were."""
        keys = await source.ask("CLUSTER", "GETKEYSINSLOT", slot, count)
        if keys:
            credentials = ("AUTH2", ADMIN_USER, self._admin_password)
            await source.ask("MIGRATE", LOOPBACK, target.port, "", 0, 5_000, *credentials, "KEYS", *keys)
        return len(keys)

    async def end_move(self, slot: int, source: ClusterMember, target: ClusterMember) -> None:
        """The target serves the slot: it is told first, then the source, then the others."""
        name = await target.node_id()
        await target.ask("CLUSTER", "SETSLOT", slot, "NODE", name)
        await source.ask("CLUSTER", "SETSLOT", slot, "NODE", name)
        for member in self.members:
            if member not in (source, target) and await plays(member, "master"):
                await member.ask("CLUSTER", "SETSLOT", slot, "NODE", name)

    async def _join(self) -> None:
        first, *others = self.members
        for number, member in enumerate(self.members, start=1):
            await member.ask("CLUSTER", "SET-CONFIG-EPOCH", number)
        primaries, replicas = self.members[: self._primaries], self.members[self._primaries :]
        for number, member in enumerate(primaries):
            low, high = SLOTS * number // self._primaries, SLOTS * (number + 1) // self._primaries - 1
            await member.ask("CLUSTER", "ADDSLOTSRANGE", low, high)
        for member in others:
            await first.ask("CLUSTER", "MEET", LOOPBACK, member.port, member.bus_port)
        for primary, replica in zip(primaries, replicas, strict=True):
            await self._follow(replica, await primary.node_id())

    async def _follow(self, replica: ClusterMember, primary_id: str) -> None:
        deadline = time.monotonic() + _WAIT_LIMIT_S
        while True:
            try:
                await replica.ask("CLUSTER", "REPLICATE", primary_id)
                return
            except redis.ResponseError:  # it has not heard of that node yet
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_LOOK_EVERY_S)

    async def _is_whole(self) -> bool:
        for member in self.members:
            facts = await member.facts()
            if facts.get("cluster_state") != "ok" or facts.get("cluster_slots_ok") != str(SLOTS):
                return False
            if facts.get("cluster_known_nodes") != str(len(self.members)):
                return False
        for member in self.members:
            role, *rest = await member.ask("ROLE")
            if role == b"master" and not rest[1]:
                return False
            if role == b"slave" and rest[2] != b"connected":
                return False
        return True

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()
