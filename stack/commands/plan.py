"""``stampede plan``: processes and cores for a rush, from this machine's measured costs."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stack.calibration import FILE, Calibration, differences, read_calibration
from stack.capacity import API, EDGE, GATE, POSTGRES, ROLES, WORKER, Absurd, Plan, Rush, make_plan
from stack.commands.options import DataDir
from stack.scaling import STEPS, climb
from stack.state import default_data_dir

_NAMES = {
    EDGE: "edge (nginx workers)",
    API: "API processes",
    GATE: "gate stores",
    WORKER: "workers (orders)",
    POSTGRES: "PostgreSQL (cores)",
}
_WIDTH_MIN, _WIDTH = 100, 118
_MIB = 2**20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)


def plan(
    *,
    attempts: Annotated[int, typer.Option(help="How often somebody tries to buy.")],
    in_s: Annotated[float, typer.Option("--in", help="Seconds in which they arrive.")],
    stock: Annotated[int, typer.Option(help="Units, of all hot items together.")],
    shoppers: Annotated[int | None, typer.Option(help="Who makes them; a third as many when not said.")] = None,
    polls_per_ticket: Annotated[float, typer.Option(help="How often a ticket's state is asked for.")] = 2.0,
    pages_per_shopper: Annotated[
        float, typer.Option(help="Static files loaded in these seconds; a first visit is 15, mostly before.")
    ] = 1.0,
    sales: Annotated[int, typer.Option(help="Hot items that share attempts and stock evenly.")] = 1,
    forged: Annotated[int, typer.Option(help="Attempts with forged links, on top.")] = 0,
    throttle_rate: Annotated[float, typer.Option(help="Units a second that an item's throttle grants.")] = 500.0,
    throttle_burst: Annotated[int, typer.Option(help="Units that it grants at once.")] = 1_000,
    cores_per_host: Annotated[int | None, typer.Option(help="As many as were calibrated when not said.")] = None,
    headroom: Annotated[float, typer.Option(help="How busy a core may be.")] = 0.6,
    peak: Annotated[float, typer.Option(help="The busiest second, as a multiple of the mean.")] = 3.0,
    calibration: Annotated[
        Path | None, typer.Option(help="The file; calibration.json in the data folder when not said.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Say what a rush needs: processes, cores, the first bottleneck and the rung of the scaling ladder.

    The prices are those that `stampede calibrate` measured; docs/scaling.md explains the rungs, and the model's
    formulae and what it leaves out stand in stack/capacity.py.
    """
    read = read_calibration(calibration or (data_dir or default_data_dir()) / FILE)
    for difference in differences(read):
        typer.echo(f"the calibration may not fit: {difference}; `stampede calibrate` makes a new one", err=True)
    try:
        rush = Rush(
            attempts=attempts,
            in_s=in_s,
            stock=stock,
            shoppers=shoppers,
            polls_per_ticket=polls_per_ticket,
            pages_per_shopper=pages_per_shopper,
            items=sales,
            forged=forged,
            peak=peak,
            headroom=headroom,
            cores_per_host=read.cores if cores_per_host is None else cores_per_host,
            bucket_rate_per_s=throttle_rate,
            bucket_burst=throttle_burst,
        )
    except Absurd as error:
        raise typer.BadParameter(str(error)) from None
    made = make_plan(rush, read.prices)
    if as_json:
        typer.echo(json.dumps(_document(made, read), indent=2))
        return
    console = Console(highlight=False, soft_wrap=False)
    _print(console if console.width >= _WIDTH_MIN else Console(highlight=False, width=_WIDTH), made, read)


def _document(plan: Plan, read: Calibration) -> dict[str, Any]:
    found = climb(plan)
    return {
        "calibration": {"at": read.at.isoformat(), "commit": read.commit, "machine": read.machine},
        "rush": asdict(plan.rush) | {"shoppers": plan.rush.crowd},
        "peak_per_s": {work.value: round(count, 3) for work, count in plan.per_s.items()},
        "roles": {role: asdict(one) for role, one in plan.roles.items()},
        "cores_busy": plan.cores_busy,
        "cores": plan.cores,
        "hosts": plan.hosts,
        "one_host": plan.one_host,
        "gate_bytes": plan.gate_bytes,
        "lanes_per_item": plan.lanes_per_item,
        "backlog": plan.backlog,
        "last_unit_after_s": plan.last_unit_after_s,
        "committed_after_s": plan.committed_after_s,
        "limits": [asdict(limit) for limit in plan.limits],
        "rung": {"number": int(found.rung), **asdict(STEPS[found.rung])},
        "fired": [int(rung) for rung in found.fired],
        "next": None if found.next is None else {"number": int(found.next), **asdict(STEPS[found.next])},
    }


def _print(console: Console, plan: Plan, read: Calibration) -> None:
    rush = plan.rush
    console.print(
        f"{rush.attempts:,} attempts of {rush.crowd:,} shoppers on {rush.sold:,} units in {rush.in_s:g} s; "
        f"the busiest second brings {rush.attempts_per_s:,.0f}."
    )
    console.print(
        f"Prices of {read.at:%Y-%m-%d %H:%M} UTC, commit {read.commit}, {read.cores} cores of "
        f"{read.machine.get('processor', 'an unknown processor')}; cores may be {rush.headroom:.0%} busy.\n"
    )
    console.print(_table(plan))
    own = f"{plan.hosts:,} hosts of {rush.cores_per_host} cores, own for each kind"
    where = "all on one host" if plan.one_host else own
    console.print(
        f"together        {plan.cores_busy:,.2f} cores busy: have {plan.cores:,} ({where})\n"
        f"gate memory     {plan.gate_bytes / _MIB:,.1f} MiB; have twice that, for rewrites of its append-only file\n"
        f"shoppers feel   last unit given after {_seconds(plan.last_unit_after_s)}, everybody else is told at once; "
        f"all orders committed after {_seconds(plan.committed_after_s)};\n"
        f"                {rush.sold / rush.crowd:.2%} of those who try can get a unit\n"
    )
    first, *others = plan.limits
    word = "First bottleneck" if first.used > 1 else "Nothing runs out; nearest to it"
    console.print(f"{word}: {first.words} ({_percent(first.used)}).")
    for limit in others:
        console.print(f"  then {limit.words} ({_percent(limit.used)})", style="dim")
    _print_rung(console, plan)


def _table(plan: Plan) -> Table:
    table = Table()
    for column in ("role", "requests/s", "CPU-µs each", "cores busy", "needed", "hosts"):
        table.add_column(column, justify="left" if column == "role" else "right")
    for role in ROLES:
        one = plan.roles[role]
        table.add_row(
            _NAMES[role],
            f"{one.per_s:,.0f}",
            f"{one.us_each:,.1f}",
            f"{one.cores_busy:,.2f}",
            f"{one.processes:,}",
            "–" if plan.one_host else f"{one.hosts:,}",
        )
    return table


def _print_rung(console: Console, plan: Plan) -> None:
    found = climb(plan)
    step = STEPS[found.rung]
    console.print(f"\nRung {int(found.rung)}: {step.title}. Trigger: {step.trigger}.\n        {step.built}.")
    below = [rung for rung in found.fired if rung < found.rung]
    if below:
        console.print(f"        With it: {'; '.join(f'{int(rung)} {STEPS[rung].title}' for rung in below)}.")
    if plan.lanes_per_item > 1:
        stores = plan.roles[GATE].processes
        console.print(f"        Each hot item needs {plan.lanes_per_item} lanes; together they fill {stores:,} stores.")
    if found.next is not None:
        after = STEPS[found.next]
        console.print(f"Next, {int(found.next)}: {after.title}. Trigger: {after.trigger}.")
    lost = f"{plan.rush.attempts_per_s:,.0f}"
    console.print(f"While the gate is away, {lost} attempts a second are turned away at the peak.", style="dim")


def _seconds(value: float) -> str:
    return f"{math.ceil(value * 10) / 10:,.1f} s" if value < 100 else f"{value:,.0f} s"


def _percent(used: float) -> str:
    return f"{used:.0%} of its bound" if used < 10 else f"{used:,.0f} times its bound"
