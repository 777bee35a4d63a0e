"""Readiness refuses a store that would lose what it is given, and says why."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from backend.gate import Gate
from stack.servers import ClusterGate, GateServer, SentinelGate
from stack.servers.gate import APP_USER, REPLICATED_RULES, ask


@pytest.mark.each_topology
async def test_the_stacks_own_stores_are_fit(gate: Gate) -> None:
    assert await gate.fitness() == []


@asynccontextmanager
async def setting(server: GateServer, **values: str) -> AsyncIterator[None]:
    names = {name.replace("_", "-"): value for name, value in values.items()}
    async with server.admin() as admin:
        before = {name: (await admin.config_get(name))[name] for name in names}
        try:
            for name, value in names.items():
                await admin.config_set(name, value)
            yield
        finally:
            for name, value in before.items():
                await admin.config_set(name, value)


async def one_member(servers: GateServer | SentinelGate | ClusterGate) -> GateServer:
    if isinstance(servers, SentinelGate):
        return await servers.primary()
    return await servers.primary_of(9_000) if isinstance(servers, ClusterGate) else servers


@pytest.mark.each_topology
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"appendonly": "no"}, "append-only file is off: set `appendonly yes`"),
        ({"maxmemory_policy": "allkeys-lru"}, "policy allkeys-lru would evict stock: set `noeviction`"),
    ],
)
async def test_what_no_store_may_have(gate: Gate, topology: GateServer, values: dict[str, str], said: str) -> None:
    """On one of several primaries is enough."""
    async with setting(await one_member(topology), **values):
        assert await gate.fitness() == [said]
    assert await gate.fitness() == []


@pytest.mark.each_topology
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"min_replicas_to_write": "0"}, "no replica is waited for"),
        ({"min_replicas_max_lag": "0"}, "no replica is waited for"),
        ({"min_replicas_max_lag": "11"}, "a replica may lag too far behind (11 s)"),
        ({"min_replicas_to_write": "2"}, None),
    ],
)
async def test_what_a_replicated_store_may_not_have(
    gate: Gate, topology: GateServer, values: dict[str, str], said: str | None
) -> None:
    async with setting(await one_member(topology), **values):
        faults = await gate.fitness()
    alone = isinstance(topology, GateServer)
    assert [fault.startswith(said or "-") for fault in faults] == ([] if alone or said is None else [True])


async def test_a_standalone_address_of_a_store_with_replicas_is_judged_as_replicated(
    sentinel_gate: SentinelGate,
) -> None:
    primary = await sentinel_gate.primary()
    replica = next(one for one in sentinel_gate.members if one is not primary)
    gate = Gate.connect(primary.url, timeout_s=10.0, name="tests")
    try:
        assert await gate.fitness() == []
        async with setting(primary, min_replicas_to_write="0"):
            assert [one.partition(":")[0] for one in await gate.fitness()] == ["no replica is waited for"]
        replica.freeze()
        try:
            async with setting(primary, min_replicas_max_lag="1"):
                await _until_no_replica_is_good(primary)
                assert "no replica is in step: writes are refused until one is" in await gate.fitness()
        finally:
            replica.thaw()
    finally:
        await gate.close()


async def _until_no_replica_is_good(primary: GateServer) -> None:
    async with primary.admin() as admin:
        while int((await admin.info("replication"))["min_slaves_good_slaves"]) > 0:
            pass


async def test_a_replica_is_no_gate(sentinel_gate: SentinelGate) -> None:
    primary = await sentinel_gate.primary()
    replica = next(one for one in sentinel_gate.members if one is not primary)
    gate = Gate.connect(replica.url, timeout_s=10.0, name="tests")
    try:
        assert "this is a replica: point STAMPEDE_GATE_URL at the primary" in await gate.fitness()
    finally:
        await gate.close()


async def test_without_the_right_to_read_the_lag_it_says_so(sentinel_gate: SentinelGate) -> None:
    gate = Gate.connect(sentinel_gate.url, timeout_s=10.0, name="tests")
    primary = await sentinel_gate.primary()
    async with primary.admin() as admin:
        await ask(admin, "ACL", "SETUSER", APP_USER, "-config|get")
        try:
            assert [one.partition(":")[0] for one in await gate.fitness()] == ["the replicas' lag cannot be read"]
        finally:
            await ask(admin, "ACL", "SETUSER", APP_USER, *REPLICATED_RULES.split(" ")[-1:])
        assert await gate.fitness() == []
    await gate.close()


async def test_a_cluster_with_a_slot_that_nobody_serves(cluster_gate: ClusterGate) -> None:
    gate = Gate.connect(cluster_gate.url, timeout_s=10.0, name="tests")
    slot = 9_000
    owner = await cluster_gate.primary_of(slot)
    for member in cluster_gate.members:
        await member.ask("CLUSTER", "DELSLOTS", slot)
    try:
        assert await gate.fitness() == ["not every slot is served: 1 are not"]
    finally:
        await owner.ask("CLUSTER", "ADDSLOTS", slot)
        await cluster_gate.wait_until_whole()
    assert await gate.fitness() == []
    await gate.close()
