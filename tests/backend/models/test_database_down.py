"""PostgreSQL goes away and comes back: its callers hear so at once, and nobody has to be told that it is back."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import exc, text

from backend.core.breaker import FAILURES_MAX, CircuitOpen, CircuitState
from backend.models import Database, make_engine
from backend.models.database import is_down
from backend.settings import Settings
from stack.servers import PostgresServer
from stack.servers.postgres import ADMIN_ROLE

WITHIN_S = 30.0


async def _ask(database: Database) -> int:
    async with database.transaction() as session:
        value = (await session.execute(text("SELECT 1"))).scalar_one()
    return int(value)


async def _failures(database: Database, count: int) -> list[BaseException]:
    found: list[BaseException] = []
    for _ in range(count):
        try:
            await _ask(database)
        except Exception as error:
            found.append(error)
    return found


async def _until_it_answers(database: Database) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                await _ask(database)
            except Exception as error:
                assert is_down(error), error
                await asyncio.sleep(0.05)
            else:
                return


@pytest.fixture
def few_connections(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        environment="local",
        database_url="postgresql+asyncpg://nobody@127.0.0.1:1/none",
        gate_url="redis://127.0.0.1:1",
        broker_url="redis://127.0.0.1:1",
        pages_dir=tmp_path / "pages",
        database_pool_size=2,
        database_timeout_s=0.3,
    )


async def test_killed_and_restarted(tmp_path: Path, few_connections: Settings) -> None:
    async with PostgresServer(tmp_path / "data") as server:
        url = server.url_for("postgres", ADMIN_ROLE)
        database = Database(make_engine(few_connections.model_copy(update={"database_url": url}), role="tests"))
        try:
            assert await _ask(database) == 1
            server.kill()
            errors = await _failures(database, FAILURES_MAX)
            assert len(errors) == FAILURES_MAX
            assert all(is_down(error) for error in errors), errors
            assert database.circuit is CircuitState.OPEN
            (refused,) = await _failures(database, 1)
            assert isinstance(refused, CircuitOpen), "nobody waits for a time-out of their own any more"
            await server.start()
            await _until_it_answers(database)
            assert database.circuit is CircuitState.CLOSED
        finally:
            await database.close()


async def test_frozen_and_thawed(tmp_path: Path, few_connections: Settings) -> None:
    """A frozen server keeps the pool's connections; whoever comes next waits for one in vain, and counts."""
    async with PostgresServer(tmp_path / "data") as server:
        url = server.url_for("postgres", ADMIN_ROLE)
        database = Database(make_engine(few_connections.model_copy(update={"database_url": url}), role="tests"))
        backends: list[int] = []
        held: list[asyncio.Task[int]] = []
        try:
            async with database.transaction() as first, database.transaction() as second:
                pid_of = text("SELECT pg_backend_pid()")
                backends += [(await session.execute(pid_of)).scalar_one() for session in (first, second)]
            for pid in backends:
                os.kill(pid, signal.SIGSTOP)
            held = [asyncio.create_task(_ask(database)) for _ in backends]
            await asyncio.sleep(0)
            errors = await _failures(database, FAILURES_MAX)
            assert [type(error) for error in errors] == [exc.TimeoutError] * FAILURES_MAX, errors
            assert database.circuit is CircuitState.OPEN
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
            backends.clear()
            assert await asyncio.wait_for(asyncio.gather(*held), WITHIN_S) == [1, 1]
            await _until_it_answers(database)
        finally:
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
            for task in held:
                task.cancel()
            await database.close()


async def test_a_refused_statement_is_an_answer(database: Database) -> None:
    for _ in range(FAILURES_MAX + 1):
        with pytest.raises(exc.DBAPIError):
            async with database.transaction() as session:
                await session.execute(text("SELECT 1 / 0"))
    assert database.circuit is CircuitState.CLOSED


async def test_a_full_disk_under_the_pages_is_not_the_databases(database: Database) -> None:
    for error in (OSError(28, "No space left on device"), FileNotFoundError(2, "No such file")):
        for _ in range(FAILURES_MAX + 1):
            with pytest.raises(OSError, match="No s"):
                async with database.transaction():
                    raise error
    assert database.circuit is CircuitState.CLOSED
