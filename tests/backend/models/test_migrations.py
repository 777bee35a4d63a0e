"""Alembic goes up, down and up again, and what it makes is what the models say."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from backend.models import metadata
from stack.servers import PostgresServer
from stack.servers.postgres import ADMIN_ROLE, APP_ROLE, OWNER_ROLE

PROJECT = Path(__file__).parents[3]


async def _migrate(server: PostgresServer, database: str, *arguments: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STAMPEDE_")}
    environment |= {
        "STAMPEDE_DATABASE_URL": server.url_for(database, APP_ROLE),
        "STAMPEDE_OWNER_DATABASE_URL": server.url_for(database, OWNER_ROLE),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "migrations", *arguments, cwd=PROJECT, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def _schema(server: PostgresServer, database: str) -> list[tuple[Any, ...]]:
    """Everything that stands in a database: columns, constraints, indexes, functions, triggers, rights."""
    connection = await server.connect(database, ADMIN_ROLE)
    try:
        found = []
        for query in (
            (
                "SELECT table_name, column_name, data_type, is_nullable, column_default "
                "FROM information_schema.columns WHERE table_schema = 'public'"
            ),
            (
                "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE connamespace = 'public'::regnamespace"
            ),
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal",
            f"SELECT table_name, privilege_type FROM information_schema.table_privileges WHERE grantee = '{APP_ROLE}'",
        ):
            found += sorted((tuple(row) for row in await connection.fetch(query)), key=str)
        return found
    finally:
        await connection.close()


async def test_up_down_and_up_again(postgres_server: PostgresServer, new_database) -> None:
    name = await new_database(migrated=False)
    empty = await _schema(postgres_server, name)
    assert not any("sale" in str(row) for row in empty)
    await _migrate(postgres_server, name)
    first = await _schema(postgres_server, name)
    assert ("ledger_entries", "INSERT") in first
    await _migrate(postgres_server, name)  # again: nothing to do
    assert await _schema(postgres_server, name) == first
    await _migrate(postgres_server, name, "downgrade", "base")
    left = {row[0] for row in await _schema(postgres_server, name)}
    assert left <= {"alembic_version"}
    await _migrate(postgres_server, name)
    assert await _schema(postgres_server, name) == first


async def test_the_newest_revision_is_what_the_models_say(owner_database_url: str) -> None:
    engine = create_async_engine(owner_database_url)
    try:
        async with engine.connect() as connection:
            differences = await connection.run_sync(
                lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), metadata)
            )
    finally:
        await engine.dispose()
    assert differences == []
