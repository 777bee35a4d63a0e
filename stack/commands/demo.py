"""``stampede demo``: a real sample sale on the local stack."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from stack.commands.options import Broker, DataDir
from stack.local import LocalOptions, LocalStack
from stack.state import default_data_dir, is_running

if TYPE_CHECKING:
    from stack.demo.report import Report
    from stack.demo.run import SignIn

_FOLDERS_MAX = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    data_dir: DataDir = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Public port. [default: 8080, else a free one]")
    ] = None,
    shoppers: Annotated[int, typer.Option(min=1, max=200_000, help="How many come.")] = 2_000,
    stock: Annotated[int, typer.Option(min=1, max=100_000, help="How many pieces there are.")] = 200,
    broker: Annotated[Broker, typer.Option(help="Who carries jobs: Redis, or Debian's RabbitMQ.")] = "redis",
    end: Annotated[bool, typer.Option("--exit", help="Stop when the sale is reconciled.")] = False,
) -> None:
    """Run a sample sale from end to end, with simulated shoppers, and reconcile it.

    Stays up for the browser until Ctrl-C. With --exit it stops by itself: exit status 0 only if nothing was
    oversold, nothing stranded and the drift is 0.
    """
    # Only here: they import the whole backend, and `stampede ps` should not wait for that.
    from stack.demo.report import Screen
    from stack.demo.run import DemoOptions, run_sample_sale

    folder = data_dir or _free_folder(default_data_dir() / "demo")
    stack = LocalStack(LocalOptions(data_dir=folder, port=port, broker=broker))
    console = Console(width=None if Console().is_terminal else 200)
    screen = Screen(console)
    console.print(f"starting in {folder} (logs in {folder / 'logs'})", highlight=False)

    async def play() -> "Report":
        console.print(f"ready {stack.url}", highlight=False)
        report, who = await run_sample_sale(stack, DemoOptions(shoppers=shoppers, stock=stock), screen)
        screen.report(report)
        if not end:
            _invite(console, stack.url, report, who)
            await asyncio.Event().wait()
        return report

    report = asyncio.run(stack.run(play))
    if report is None or report.failures():
        raise typer.Exit(1)


def _invite(console: Console, url: str, report: "Report", who: "SignIn") -> None:
    console.print(f"\nsale page  {url}/s/{report.sale['slug']}/", highlight=False)
    console.print(f"console    {url}/console/", highlight=False)
    console.print(f"sign in    {who.email}  {who.password}", highlight=False)
    console.print("Ctrl-C stops everything.", style="dim")


def _free_folder(wanted: Path) -> Path:
    """The demo's own folder, or a sibling when a demo runs there already: two side by side must not meet."""
    for number in range(1, _FOLDERS_MAX + 1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        if not is_running(folder):
            return folder
    raise typer.BadParameter(f"{_FOLDERS_MAX} demos run already: name a folder with --data-dir")
