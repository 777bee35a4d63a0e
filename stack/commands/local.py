"""``stampede up``, ``ps`` and ``migrate``."""

import asyncio
import subprocess
import sys
from typing import Annotated

import typer

from stack.commands.options import Broker, DataDir
from stack.errors import StackError
from stack.state import PROJECT_ROOT, child_env, command_env, default_data_dir, load_processes

_MOST_PORTS = 65_535
_MOST_API_PROCESSES = 64


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(ps)
    app.command()(migrate)


def up(
    data_dir: DataDir = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST_PORTS, help="Public port. [default: as last time, else 8080, else a free one]"),
    ] = None,
    api_processes: Annotated[
        int | None,
        typer.Option(
            min=1, max=_MOST_API_PROCESSES, envvar="STAMPEDE_API_PROCESSES", help="[default: one per core, at least 2]"
        ),
    ] = None,
    broker: Annotated[Broker, typer.Option(help="Who carries jobs: Redis, or Debian's RabbitMQ.")] = "redis",
    log_level: Annotated[str, typer.Option(envvar="STAMPEDE_LOG_LEVEL", help="Of all processes.")] = "info",
) -> None:
    """Start the whole platform on this machine and stay until Ctrl-C."""
    from stack.local import LocalOptions, LocalStack, default_api_processes  # slow: database and Redis clients

    folder = data_dir or default_data_dir()
    stack = LocalStack(
        LocalOptions(
            data_dir=folder,
            port=port,
            api_processes=api_processes or default_api_processes(),
            log_level=log_level,
            broker=broker,
        )
    )

    async def stay() -> None:
        typer.echo(f"ready {stack.url}")
        sys.stdout.flush()
        await asyncio.Event().wait()

    typer.echo(f"starting in {folder} (logs in {folder / 'logs'})", err=True)
    asyncio.run(stack.run(stay))


def ps(data_dir: DataDir = None) -> None:
    """List the processes of the running stack: a line `role pid` for each."""
    for row in load_processes(data_dir or default_data_dir()):
        typer.echo(f"{row.role} {row.pid}")


def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to the newest revision (the owner's role).

    Of the local stack that runs in the folder, or, without --data-dir, of STAMPEDE_OWNER_DATABASE_URL when
    that is set.
    """
    done = subprocess.run(
        [sys.executable, "-m", "migrations"], cwd=PROJECT_ROOT, env=child_env(command_env(data_dir)), check=False
    )
    if done.returncode != 0:
        msg = "the database was not migrated"
        raise StackError(msg)
