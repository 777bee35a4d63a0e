"""The platform that is drilled: two of everything, proxies between the processes, and an own store for the broker.

    nginx ─ api-1, api-2 ─ [proxy] ─┬─ gate
            worker-1, worker-2 ─────┤
            clock-1, clock-2 ───────┴─ PostgreSQL          broker: a store of its own, so that it can go alone

The supervisor is the local stack's own and runs in this process: it starts what dies, and nothing outlives it.
"""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from redis.crc import key_slot

from backend.gate import LaneId, LaneKeys
from stack.local import LocalOptions, LocalStack
from stack.roles import PythonServer
from stack.servers import GateServer, PostgresServer, RabbitmqServer, Server
from stack.servers.cluster import ClusterGate, ClusterMember
from stack.servers.sentinel import SentinelGate, SentinelMember
from stack.supervisor import Stage
from tests.faults.mounts import SmallDisk
from tests.faults.proxy import Proxy
from tests.faults.seams import Arms

ALL_QUEUES = "orders,release,control,notify,pages"
_REPLACED = frozenset({"console", "worker-orders", "worker-notify", "clock"})
"""Streamlit has no part in a sale; workers and clock come in pairs here."""
_GATE_DISK_BYTES = 24 * 2**20
_WAL_DISK_BYTES = 160 * 2**20
_REPLICAS = 2
"""With one, an elected primary waits for the old one to come back before it sells (``stack.servers.sentinel``)."""


@dataclass(frozen=True)
class Shape:
    """What differs between the platforms that drills run on."""

    topology: Literal["standalone", "sentinel", "cluster"] = "standalone"
    broker: Literal["redis", "rabbitmq"] = "redis"
    small_disks: bool = False
    """The gate's folder and PostgreSQL's write-ahead log on file systems of their own, small enough to fill."""
    breakable: bool = False
    """With parts that can be broken (``tests.faults.broken``), for the negative controls."""

    def __str__(self) -> str:
        words = [
            self.topology,
            self.broker,
            "small disks" if self.small_disks else "",
            "breakable" if self.breakable else "",
        ]
        return ", ".join(word for word in words if word)


Member = SentinelMember | ClusterMember


class _LedgerOnSmallDisk(PostgresServer):
    """PostgreSQL with its write-ahead log on a small disk, mounted once the cluster is made."""

    disk: SmallDisk

    async def prepare(self) -> None:
        await super().prepare()
        folder = self._cluster / "pg_wal"
        if not self.disk.mounted:
            kept = folder.with_name("pg_wal.made")
            shutil.copytree(folder, kept)
            self.disk.mount(folder, _WAL_DISK_BYTES)
            shutil.copytree(kept, folder, dirs_exist_ok=True)
            shutil.rmtree(kept)
            folder.chmod(0o700)


class Platform(LocalStack):
    """The local stack in the shape that the drills need, with its servers at hand."""

    def __init__(self, data_dir: Path, shape: Shape) -> None:
        super().__init__(LocalOptions(data_dir, api_processes=2))
        self.shape = shape
        self.seams = self.data_dir / "seams"
        self.arms = Arms(self.seams)
        self.proxies: dict[str, Proxy] = {}
        self.disks: dict[str, SmallDisk] = {}
        self._servers: dict[str, Server] = {}
        self._left_out: list[Server] = []
        self._replicated: SentinelGate | ClusterGate | None = None

    def server(self, name: str) -> Server:
        """A server by its name in ``stampede ps``."""
        return self._servers[name]

    def of_role(self, role: str) -> list[Server]:
        """All servers of a role."""
        return [server for server in self._servers.values() if server.role == role]

    @property
    def postgres(self) -> PostgresServer:
        """The ledger."""
        server = self._servers["postgres"]
        assert isinstance(server, PostgresServer)
        return server

    async def primary(self, item_id: UUID) -> Member:
        """The member of a replicated store that decides about an item; waits through a failover."""
        if isinstance(self._replicated, ClusterGate):
            return await self._replicated.primary_of(_slot(item_id))
        assert self._replicated is not None, "a standalone store has no members"
        return await self._replicated.primary()

    async def replicas(self, item_id: UUID) -> list[Member]:
        """Those that follow it."""
        primary = await self.primary(item_id)
        if isinstance(self._replicated, ClusterGate):
            return [await self._replicated.replica_of(primary)]
        assert self._replicated is not None
        return [one for one in self._replicated.members if one is not primary]

    async def next_primary(self, old: Member, item_id: UUID) -> Member:
        """The one that was elected in its place."""
        if isinstance(self._replicated, ClusterGate):
            return await self._replicated.wait_for_failover(old, _slot(item_id))
        assert self._replicated is not None
        return await self._replicated.wait_for_failover(old)

    @property
    def direct_env(self) -> dict[str, str]:
        """The settings without the proxies: for the judge, who must see what is there."""
        return {
            **self.env,
            "STAMPEDE_DATABASE_URL": self.postgres.app_url,
            "STAMPEDE_GATE_URL": self._gate_url,
        }

    def _environment(self, *servers: Any) -> dict[str, str]:
        env = super()._environment(*servers)
        broker = self._broker
        env["STAMPEDE_BROKER_URL"] = broker.url if isinstance(broker, RabbitmqServer) else broker.broker_url
        if self._replicated is not None:
            env["STAMPEDE_GATE_URL"] = self._replicated.url
        self._gate_url = env["STAMPEDE_GATE_URL"]
        return env

    def _stages(self) -> Sequence[Stage]:
        self._broker = self._make_broker()
        self._replicated = self._make_store()
        described = [server for stage in super()._stages() for server in stage.servers]
        left_out = _REPLACED if self._replicated is None else _REPLACED | {"gate"}
        self._left_out = [one for one in described if one.name in left_out]
        self._servers = {one.name: one for one in described if one.name not in left_out}
        pairs = self._pairs()
        edge = self._servers["edge"]
        ledger = self._on_small_disks() if self.shape.small_disks else self._servers["postgres"]
        services: list[Server] = [self._servers["smtp"], *self.of_role("api"), *pairs]
        members: list[Server] = []
        if self._replicated is None:
            stores: list[Server] = [ledger, self._servers["gate"], self._broker]
        else:
            # Formed whole before the supervisor learns of its members, each of which it then starts again by itself.
            stores = [ledger, self._broker]
            members = [*self._replicated.members, *getattr(self._replicated, "sentinels", ())]
        self._servers |= {server.name: server for server in (self._broker, *pairs, *members)}
        return [Stage(stores, after=self._make_ready), Stage(members), Stage(services), Stage([edge])]

    def _make_broker(self) -> GateServer | RabbitmqServer:
        if self.shape.broker == "rabbitmq":
            return RabbitmqServer(self.data_dir, name="broker")
        broker = GateServer(self.data_dir, name="broker")
        broker.role = "broker"
        return broker

    def _make_store(self) -> SentinelGate | ClusterGate | None:
        if self.shape.topology == "sentinel":
            return SentinelGate(self.data_dir, replicas=_REPLICAS)
        return ClusterGate(self.data_dir) if self.shape.topology == "cluster" else None

    def _pairs(self) -> list[Server]:
        """Workers and clocks; and every process of ours gets its seams, its proxies and what is broken."""
        seams = ("--seams", str(self.seams))
        broken = ("--breakable",) if self.shape.breakable else ()
        env = {key: value for key, value in self.env.items() if key != "STAMPEDE_OWNER_DATABASE_URL"}
        api_env, worker_env = self._through_proxies(env, "api"), self._through_proxies(env, "worker")
        for server in self.of_role("api"):
            assert isinstance(server, PythonServer)
            server._module, server._env = "tests.faults.entries.api", api_env
            server._arguments = (*seams, *broken)
        worker = ("worker", self.data_dir, "tests.faults.entries.worker", *seams, *broken, "--queues", ALL_QUEUES)
        clock = ("clock", self.data_dir, "tests.faults.entries.clock", *seams)
        return [
            PythonServer(f"{what[0]}-{number}", *what, env=worker_env) for what in (worker, clock) for number in (1, 2)
        ]

    def _on_small_disks(self) -> Server:
        self.disks = {"gate": SmallDisk(), "postgres": SmallDisk()}
        self.disks["gate"].mount(self.data_dir / "gate", _GATE_DISK_BYTES)
        known = self._servers["postgres"]
        ledger = _LedgerOnSmallDisk(self.data_dir, port=known.port)
        # The port stays claimed by the description that the addresses were made from.
        ledger._claim = known._claim
        ledger.disk = self.disks["postgres"]
        self._servers["postgres"] = ledger
        return ledger

    def _through_proxies(self, env: dict[str, str], role: str) -> dict[str, str]:
        """The same settings with this role's own proxy before each store."""
        changed = dict(env)
        for store, variable in (("gate", "STAMPEDE_GATE_URL"), ("postgres", "STAMPEDE_DATABASE_URL")):
            if store not in self._servers:
                continue  # the members of a replicated store tell their clients where to go, past any proxy
            proxy = Proxy(f"{role}-{store}", self._servers[store].port)
            self.proxies[proxy.name] = proxy
            changed[variable] = _with_port(env[variable], proxy.port)
        return changed

    async def _make_ready(self) -> None:
        for proxy in self.proxies.values():
            await proxy.serve()
        if self._replicated is not None:
            await self._replicated.start()
        await self._migrate()

    async def close(self) -> None:
        """What is left when the servers have stopped: proxies, and mounts, whose contents are kept beside them."""
        await asyncio.gather(*(proxy.close() for proxy in self.proxies.values()))
        await asyncio.gather(*(server.stop() for server in self._left_out))  # they hold ports
        for disk in self.disks.values():
            disk.unmount()


def _slot(item_id: UUID) -> int:
    return key_slot(LaneKeys(LaneId(item_id)).lane.encode())


def _with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host.partition(':')[0]}:{port}"))
