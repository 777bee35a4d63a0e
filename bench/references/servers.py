"""The references' servers, started and stopped like the platform's own."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from stack.errors import StackError
from stack.process import Process, run_to_end
from stack.roles import PortServer, PythonServer
from stack.servers import GateServer, PostgresServer
from stack.servers.postgres import APP_ROLE, OWNER_ROLE
from stack.state import PROJECT_ROOT, child_env

_SCHEMAS = Path(__file__).parent


class WebReference(PortServer):
    """``python -m bench.references.<module> --port P``: ready when it accepts connections."""

    def __init__(self, module: str, folder: Path, env: Mapping[str, str] | None = None) -> None:
        """``folder`` takes its log and its port."""
        super().__init__(module, "reference", folder, f"bench.references.{module}", env=env or {})


class WorkerReference(PythonServer):
    """``python -m bench.references.<module>``: one without a port."""

    def __init__(self, module: str, folder: Path, env: Mapping[str, str]) -> None:
        super().__init__(module, "reference", folder, f"bench.references.{module}", env=env)


async def run_program(module: str, *arguments: str, env: Mapping[str, str]) -> dict[str, float]:
    """Run ``python -m bench.references.<module>`` to its end; the line of JSON that it prints. Raises StackError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"bench.references.{module}", *arguments),
        cwd=PROJECT_ROOT,
        env=child_env(env),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    if process.returncode != 0:
        raise StackError(f"{module} {' '.join(arguments)} failed with exit status {process.returncode}")
    result: dict[str, float] = json.loads(printed)
    return result


def store(folder: Path, name: str) -> GateServer:
    """A reference's own Redis or Valkey: the same binary and configuration as the gate store."""
    return GateServer(folder, name=f"gate-{name}")


def ledger(folder: Path) -> PostgresServer:
    """The references' PostgreSQL: the same binary and settings as the ledger's."""
    return PostgresServer(folder)


async def database(server: PostgresServer, name: str) -> str:
    """A database of that reference's own, with the tables of its ``.sql``; the address as asyncpg takes it."""
    await server.create_database(name)
    connection = await server.connect(name, OWNER_ROLE)
    try:
        await connection.execute((_SCHEMAS / f"{name}.sql").read_text())
    finally:
        await connection.close()
    return plain_url(server, name)


def plain_url(server: PostgresServer, name: str) -> str:
    """The address of a database as its owner, without SQLAlchemy's driver in it."""
    return server.url_for(name, OWNER_ROLE).replace("+asyncpg", "")


async def product_database(server: PostgresServer, name: str, folder: Path) -> str:
    """A database with the product's own tables and indexes."""
    await server.create_database(name)
    env = {
        "STAMPEDE_ENVIRONMENT": "local",
        "STAMPEDE_DATABASE_URL": server.url_for(name, APP_ROLE),
        "STAMPEDE_OWNER_DATABASE_URL": server.url_for(name, OWNER_ROLE),
    }
    migrations = Process(
        [sys.executable, "-m", "migrations"],
        log_path=folder / "logs" / "migrations.log",
        env=child_env(env),
        cwd=PROJECT_ROOT,
    )
    await run_to_end(migrations, timeout_s=60, what="migrations")
    return plain_url(server, name)
