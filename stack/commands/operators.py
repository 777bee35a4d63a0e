"""``stampede operator``: people who may sign in to the console."""

import asyncio
import sys
from typing import Annotated

import typer

from stack.commands.options import DataDir
from stack.errors import StackError
from stack.state import adopt_env, command_env

operators = typer.Typer(help="Operators: people who may sign in to the console.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(operators, name="operator")


@operators.callback()
def _group() -> None:
    """Keep `add` a command of its own: Typer folds a group with one command into it."""


@operators.command()
def add(
    email: Annotated[str, typer.Option(help="Their address; they sign in with it.")],
    role: Annotated[str, typer.Option(help="owner, operator or auditor.")],
    merchant: Annotated[str, typer.Option(help="The merchant's name; made when missing.")],
    data_dir: DataDir = None,
) -> None:
    """Make an operator. The password is read from standard input, so that no process list shows it."""
    adopt_env(command_env(data_dir))
    password = _password()
    operator_id = asyncio.run(_add(email, role, merchant, password))
    typer.echo(f"operator {operator_id} added: {email}, {role} of {merchant}")


def _password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


async def _add(email: str, role: str, merchant: str, password: str) -> str:
    from backend.accounts import add_operator
    from backend.core.errors import Refused
    from stack.backend_access import open_database

    async with open_database() as (_, database):
        try:
            async with database.transaction() as session:
                return str(await add_operator(session, email, role, merchant, password))
        except Refused as refused:
            raise StackError(refused.detail or str(refused)) from None
