"""``stampede verify-activity``: whether the activity log is the one that was recorded."""

import asyncio
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from stack.commands.options import DataDir
from stack.errors import StackError
from stack.state import adopt_env, command_env

if TYPE_CHECKING:
    from backend.accounts import Checked


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="verify-activity")(verify_activity)


def verify_activity(
    merchant: Annotated[str | None, typer.Option(help="One merchant's log. [default: everybody's]")] = None,
    reseal: Annotated[
        bool,
        typer.Option(
            "--reseal",
            help="Seal the log of --merchant anew where its entries end: after the secret key was changed, or when a "
            "break was looked into. Whoever does it stands for the log as it is.",
        ),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Read the activity log from its first entry. Exit status 1 when it is not the one that was recorded."""
    if reseal and merchant is None:
        raise StackError("--reseal is for one merchant: name it with --merchant")
    adopt_env(command_env(data_dir))
    found = asyncio.run(_run(merchant, reseal=reseal))
    for name, checked in found:
        typer.echo(_line(name, checked))
    raise typer.Exit(0 if all(checked.verified for _, checked in found) else 1)


async def _run(name: str | None, *, reseal: bool) -> "list[tuple[str, Checked]]":
    from backend import accounts
    from stack.backend_access import open_database

    async with open_database() as (settings, database):
        key = accounts.SealKey.of(settings.secret_key)
        async with database.transaction() as session:
            rows = await accounts.merchants_named(session, name)
        if name is not None and not rows:
            raise StackError(f"there is no merchant {name}")
        found = []
        for row in rows:
            merchant_id = UUID(str(row.id))
            if reseal:
                await accounts.reseal(database, key, merchant_id)
            found.append((str(row.name), await accounts.check_activity(database, key, merchant_id)))
        return found


def _line(name: str, checked: "Checked") -> str:
    head = f"head {checked.head.entries} {checked.head.digest.hex()}"
    broken = checked.first_broken
    if broken is None:
        return f"{name}: verified, {checked.entries} entries, {head}"
    about = {"entry": broken.entry, "command": broken.command_id, "kind": broken.kind, "since": broken.since}
    facts = "".join(f", {word} {value}" for word, value in about.items() if value is not None)
    return f"{name}: BROKEN ({broken.reason.value}{facts}), {checked.entries} entries good, {head}"
