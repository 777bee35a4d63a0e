"""Gate stores of every topology for a whole test run, and clients with every right on them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode

from stack.servers import ClusterGate, SentinelGate
from stack.servers.base import LOOPBACK
from stack.servers.gate import ADMIN_USER

SERVERS = {"standalone": "gate_server", "sentinel": "sentinel_gate", "cluster": "cluster_gate"}
"""Topology → the fixture with its servers."""
NO_FAILOVER_MS = 20_000
"""Tests that share servers must not find another primary, because the machine was busy for a second."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sentinel_gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SentinelGate]:
    """A primary, a replica and three sentinels of this test process; tests that kill make their own."""
    async with SentinelGate(tmp_path_factory.mktemp("sentinel"), down_after_ms=NO_FAILOVER_MS) as servers:
        yield servers


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster_gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClusterGate]:
    """Three primaries and their replicas of this test process; tests that kill make their own."""
    async with ClusterGate(tmp_path_factory.mktemp("cluster"), node_timeout_ms=NO_FAILOVER_MS) as servers:
        yield servers


def cluster_admin(servers: ClusterGate) -> RedisCluster:
    """redis-py's own client: what a test reads with it does not come through our code."""
    nodes = [ClusterNode(LOOPBACK, member.port) for member in servers.members]
    return RedisCluster(startup_nodes=nodes, username=ADMIN_USER, password=servers.admin_password)
