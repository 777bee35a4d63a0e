"""``stampede rebuild SALE``: stop a sale, write its gate anew from the ledger, and say each step."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stack.commands.options import DataDir
from stack.errors import StackError
from stack.state import adopt_env, command_env

if TYPE_CHECKING:
    from uuid import UUID

    from backend.models import Database

TRIES = 10
"""Another recovery, by a worker, may be in the way; each try takes up where it left off."""
TRY_AGAIN_S = 1.0

_STEPS = {
    "recovery.generation_begun": "ledger: generation {generation} begun; {survivors} survivors brought in, "
    "{reductions} reductions, {superseded} promises void, {unusable} entries unusable",
    "recovery.gate_cleared": "gate: {sku} cleared for generation {generation}",
    "recovery.gate_refilled": "gate: {sku} refilled, {claims} claims",
    "recovery.lane_rebuilt": "gate: {sku} whole again, {available} available",
    "sale.recovered": "recovered in {seconds} s: generation {generation}, {survivors} survivors, "
    "{rejected} of them rejected, {superseded} promises void",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rebuild)


def rebuild(
    sale: Annotated[str, typer.Argument(help="The sale's slug or id.")],
    data_dir: DataDir = None,
    reason: Annotated[str, typer.Option(help="Kept in the sale's activity.")] = "by command line",
) -> None:
    """Stop a sale and rebuild its gate from the ledger. May be killed, and repeated; exit status 0 when it is whole."""
    adopt_env(command_env(data_dir))
    asyncio.run(_run(sale, reason))


def _say(event: str, **figures: Any) -> None:
    if event in _STEPS:
        typer.echo(_STEPS[event].format(**figures))


async def _run(name: str, reason: str) -> None:
    from backend.core.errors import Refused
    from backend.gate import Gate, GateUnavailable
    from backend.orders import ClaimsApart, Recovery
    from backend.sales import find_sale, request_rebuild
    from stack.backend_access import open_database

    async with open_database() as (settings, database):
        try:
            async with database.transaction() as session:
                sale = await find_sale(session, name)
                if sale is None:
                    raise StackError(f"there is no sale {name}")
                steered = await request_rebuild(session, sale.merchant_id, sale.id, reason=reason)
        except Refused as error:
            raise StackError(error.detail or f"{name} cannot be rebuilt") from None
        sale_id = sale.id
        typer.echo(f"stopped: {name} was {steered.before['status']}")
        gate = Gate.connect(settings.gate_url, timeout_s=settings.gate_timeout_s, name="command-line")
        try:
            recovery = Recovery(database, gate, settings, say=_say)
            for _ in range(TRIES):
                if await recovery.recover(sale_id):
                    break
                await asyncio.sleep(TRY_AGAIN_S)
            else:
                raise StackError("another rebuild is in the way, or the lane does not come to rest; try again")
        except GateUnavailable as error:
            raise StackError(f"the gate store does not answer: {error}") from None
        except ClaimsApart as error:
            raise StackError(f"the ledger does not add up, reconcile first: {error}") from None
        finally:
            await gate.close()
        await _tell_end(database, name, sale_id)


async def _tell_end(database: "Database", name: str, sale_id: "UUID") -> None:
    from backend.sales import lanes_of_sale

    async with database.transaction() as session:
        lanes = await lanes_of_sale(session, sale_id)
    if lanes.sale.fault is None:
        typer.echo(f"whole: {name} goes on")
    else:
        typer.echo(f"whole: {name} stays stopped until an operator resumes it (recovery is {lanes.sale.recovery})")
