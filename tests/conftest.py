"""Real servers for all tests: one PostgreSQL and one gate store for each test process.

``database_url`` is a fresh, migrated database for each test: a copy of a template, which costs some tens of
milliseconds. ``gate_url`` is an emptied gate for each test.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from stack.servers import GateServer, PostgresServer
from stack.servers.postgres import APP_ROLE, OWNER_ROLE

_TESTS = Path(__file__).parent
_PROJECT = _TESTS.parent
_TEMPLATE = "stampede_template"
_MIGRATION_TIMEOUT_S = 60
# Long enough for the settings' check, and plainly of no worth.
_SECRET_KEY = "tests-only-" + "0" * 32
_numbers = itertools.count(1)

_FIRST = ("workers", "stack", "concurrency", "deploy")
"""Folders with long files: begun last, one of them would keep one process busy while the other is idle."""
_LAST = "e2e"
"""Its platform and its browser stay up, and busy, until the test process ends."""

# Durability against a power cut costs more than everything else a test database does, and no test cuts the
# power: a killed PostgreSQL recovers without it, because the operating system keeps what was written.
_TEST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "300"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, what keeps a whole platform up last; within a folder the order stays."""
    rank = {**{folder: place for place, folder in enumerate(_FIRST)}, _LAST: len(_FIRST) + 1}
    items.sort(key=lambda item: rank.get(item.path.relative_to(_TESTS).parts[0], len(_FIRST)))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """A PostgreSQL of this test process, with a migrated template database."""
    server = PostgresServer(tmp_path_factory.mktemp("ledger"), settings=_TEST_SETTINGS)
    async with server:
        await server.create_database(_TEMPLATE)
        _migrate(server)
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gate_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GateServer]:
    """A gate store of this test process."""
    async with GateServer(tmp_path_factory.mktemp("gate")) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_database(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The name of a migrated database that only this test knows."""
    name = f"test_{next(_numbers)}"
    await postgres_server.create_database(name, template=_TEMPLATE)
    yield name
    await postgres_server.drop_database(name)


@pytest.fixture
def database_url(postgres_server: PostgresServer, fresh_database: str) -> str:
    """This test's database as the application's role (``postgresql+asyncpg://…``)."""
    return postgres_server.url_for(fresh_database, APP_ROLE)


@pytest.fixture
def owner_database_url(postgres_server: PostgresServer, fresh_database: str) -> str:
    """The same database as its owner."""
    return postgres_server.url_for(fresh_database, OWNER_ROLE)


@pytest_asyncio.fixture(loop_scope="session")
async def new_database(postgres_server: PostgresServer) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """``await new_database()`` makes one more database; ``migrated=False`` an empty one. Returns its name."""
    names: list[str] = []

    async def make(*, migrated: bool = True) -> str:
        name = f"test_{next(_numbers)}"
        await postgres_server.create_database(name, template=_TEMPLATE if migrated else None)
        names.append(name)
        return name

    yield make
    for name in names:
        await postgres_server.drop_database(name)


@pytest_asyncio.fixture(loop_scope="session")
async def gate_url(gate_server: GateServer) -> str:
    """An empty gate, as the application's user."""
    await gate_server.flush()
    return gate_server.url


@pytest.fixture
def broker_url(gate_server: GateServer, gate_url: str) -> str:
    """The broker's database on the same, emptied server."""
    assert gate_url
    return gate_server.broker_url


def _migrate(server: PostgresServer) -> None:
    """Bring the template to the newest revision, the way an operator does."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STAMPEDE_")}
    environment |= {
        "STAMPEDE_ENVIRONMENT": "local",
        "STAMPEDE_SECRET_KEY": _SECRET_KEY,
        "STAMPEDE_DATABASE_URL": server.url_for(_TEMPLATE, APP_ROLE),
        "STAMPEDE_OWNER_DATABASE_URL": server.url_for(_TEMPLATE, OWNER_ROLE),
    }
    done = subprocess.run(
        [sys.executable, "-m", "migrations"],
        cwd=_PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_MIGRATION_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"python -m migrations failed:\n{done.stdout}{done.stderr}"
