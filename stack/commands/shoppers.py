"""``stampede shopper-token``: shoppers for load tests and demonstrations."""

import asyncio
from typing import Annotated

import typer

from stack.commands.options import DataDir
from stack.state import adopt_env, command_env

_COUNT_MAX = 100_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="shopper-token")(shopper_token)


def shopper_token(
    count: Annotated[int, typer.Option(min=1, max=_COUNT_MAX, help="How many new shoppers.")] = 1,
    data_dir: DataDir = None,
) -> None:
    """Make shoppers and print a bearer token for each, one a line."""
    adopt_env(command_env(data_dir))
    for token in asyncio.run(_tokens(count)):
        typer.echo(token)


async def _tokens(count: int) -> list[str]:
    from backend.accounts import SHOPPER_TOKEN_LABEL, create_shoppers, issue_shopper_token
    from backend.accounts.shopper_tokens import TOKEN_TTL_S
    from backend.core.clock import now_ms
    from backend.core.signing import derive_key
    from stack.backend_access import open_database

    async with open_database() as (settings, database), database.transaction() as session:
        shoppers = await create_shoppers(session, count)
    key = derive_key(settings.secret_key, SHOPPER_TOKEN_LABEL)
    expires_at_ms = now_ms() + TOKEN_TTL_S * 1000
    return [issue_shopper_token(key, shopper_id, expires_at_ms) for shopper_id in shoppers]
