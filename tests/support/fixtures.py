"""Fixtures over the servers of tests/conftest.py; a folder's conftest imports the ones its tests use."""

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from backend.gate import Gate
from backend.models import Database, make_engine
from backend.settings import Settings
from stack.servers import GateServer
from tests.support.lane import Lane
from tests.support.shop import Shop


@pytest_asyncio.fixture(loop_scope="session")
async def gate(gate_url: str) -> AsyncIterator[Gate]:
    """A gate on an empty store. Ten seconds: a busy test machine is no fault of the store's."""
    gate = Gate.connect(gate_url, timeout_s=10.0, name="tests")
    yield gate
    await gate.close()


@pytest_asyncio.fixture(loop_scope="session")
async def admin(gate_server: GateServer) -> AsyncIterator[Redis]:
    """The store with every right."""
    client = Redis.from_url(gate_server.admin_url)
    yield client
    await client.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def lane(gate: Gate, admin: Redis) -> Lane:
    """A lane that is not loaded yet."""
    return Lane(gate, admin)


@pytest_asyncio.fixture(loop_scope="session")
async def settings(database_url: str, gate_url: str, broker_url: str, tmp_path_factory) -> Settings:
    """The settings of a process on these servers."""
    return Settings(
        _env_file=None,
        environment="local",
        database_url=database_url,
        gate_url=gate_url,
        broker_url=broker_url,
        pages_dir=tmp_path_factory.mktemp("pages"),
        database_pool_size=40,
    )


@pytest_asyncio.fixture(loop_scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A fresh ledger as the application's role."""
    database = Database(make_engine(settings, role="tests"))
    yield database
    await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def shop(database: Database, gate: Gate, admin: Redis) -> Shop:
    """A merchant's live sale of one item: 10 units, limit 1, no payment; loaded, nothing drained."""
    return await Shop.open(database, gate, admin)
