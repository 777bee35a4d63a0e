"""Fixtures of the gate's tests: on a standalone store, and with the mark ``each_topology`` on the two others too."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis, RedisCluster

from backend.gate import Gate
from stack.servers import ClusterGate, GateServer, SentinelGate
from tests.support.lane import Lane
from tests.support.topologies import SERVERS, cluster_admin, cluster_gate, sentinel_gate

__all__ = ["cluster_gate", "sentinel_gate"]

AnyStore = GateServer | SentinelGate | ClusterGate


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The standalone store comes first: a plain fault shows there already."""
    if metafunc.definition.get_closest_marker("each_topology"):
        metafunc.parametrize("topology", list(SERVERS), indirect=True)


@pytest.fixture
def topology(request: pytest.FixtureRequest) -> AnyStore:
    """The store of this test: standalone unless it is marked."""
    store: AnyStore = request.getfixturevalue(SERVERS[getattr(request, "param", "standalone")])
    return store


@pytest_asyncio.fixture(loop_scope="session")
async def gate(topology: AnyStore) -> AsyncIterator[Gate]:
    """A gate on an empty store. Ten seconds: a busy test machine is no fault of the store's."""
    await topology.flush()
    gate = Gate.connect(topology.url, timeout_s=10.0, name="tests")
    yield gate
    await gate.close()


@pytest_asyncio.fixture(loop_scope="session")
async def admin(topology: AnyStore) -> AsyncIterator[Redis | RedisCluster]:
    """The store with every right."""
    if isinstance(topology, ClusterGate):
        client: Redis | RedisCluster = cluster_admin(topology)
    else:
        server = await topology.primary() if isinstance(topology, SentinelGate) else topology
        client = server.admin()
    yield client
    await client.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def lane(gate: Gate, admin: Redis) -> Lane:
    """A lane that is not loaded yet."""
    return Lane(gate, admin)
