"""``stampede reconcile SALE``: compare gate and ledger, ask every rule, and say what was found."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from stack.commands.options import DataDir
from stack.errors import StackError
from stack.state import adopt_env, command_env

if TYPE_CHECKING:
    from backend.models import ReconciliationRun

_SHOWN = 20
"""Findings on the screen; the run keeps up to 1,000 of each rule."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reconcile)


def reconcile(sale: Annotated[str, typer.Argument(help="The sale's slug or id.")], data_dir: DataDir = None) -> None:
    """Reconcile a sale without stopping anything. Exit status 1 when anything was found."""
    adopt_env(command_env(data_dir))
    run = asyncio.run(_run(sale))
    _print(sale, run)
    raise typer.Exit(0 if run.verdict == "clean" else 1)


async def _run(name: str) -> "ReconciliationRun":
    from backend.core.errors import Refused
    from backend.core.ids import parse_id
    from backend.gate import Gate, GateUnavailable
    from backend.reconciliation import TRIGGER_COMMAND_LINE, run, sale_by_name
    from stack.backend_access import open_database

    async with open_database() as (settings, database):
        async with database.transaction() as session:
            found = await sale_by_name(session, name)
        sale_id = found.id if found else parse_id(name)
        if sale_id is None:
            raise StackError(f"there is no sale {name}")
        gate = Gate.connect(settings.gate_url, timeout_s=settings.gate_timeout_s, name="command-line")
        try:
            return await run(database, gate, sale_id, trigger=TRIGGER_COMMAND_LINE)
        except Refused:
            raise StackError(f"there is no sale {name}") from None
        except GateUnavailable as error:
            raise StackError(f"the gate store does not answer: {error}") from None
        finally:
            await gate.close()


def _print(sale: str, run: "ReconciliationRun") -> None:
    console = Console()
    table = Table(title=f"Reconciliation of {sale}", title_justify="left")
    for column in ("SKU", "allotment", "available", "reserved", "sold", "gate", "in flight", "drift"):
        table.add_column(column, justify="left" if column == "SKU" else "right")
    for item in run.balance["items"]:
        ledger = item["ledger"]
        figures = (
            item["allotment"],
            ledger["available"],
            ledger["reserved"],
            ledger["sold"],
            item["gate"]["available"],
            item["in_flight"],
            item["drift"],
        )
        table.add_row(item["sku"], *(str(figure) for figure in figures))
    console.print(table)
    for finding in run.findings[:_SHOWN]:
        console.print(f"{finding['rule']}: {finding['message']}", markup=False)
    if len(run.findings) > _SHOWN:
        console.print(f"… and {len(run.findings) - _SHOWN} more in run {run.id}")
    console.print(
        f"{run.verdict}: oversold {run.oversold}, stranded {run.stranded}, drift {run.drift}, "
        f"duplicates {run.duplicates}",
        markup=False,
        highlight=False,
    )
