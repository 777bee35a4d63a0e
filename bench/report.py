"""What is printed: a table for each scenario, and which targets were met."""

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.record import Record

_console = Console(width=140, highlight=False)
_RIGHT = frozenset({"median", "lowest – highest"})


def number(value: float | None) -> str:
    """Three significant digits below a thousand, whole numbers above."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def spread(values: list[float]) -> str:
    """Lowest and highest."""
    return f"{number(min(values))} – {number(max(values))}" if values else ""


def figure_rows(scenario: Record) -> list[tuple[str, str, str, str]]:
    """Contestant, figure, median, spread."""
    return [
        (contestant["name"], name, number(found["median"]), spread([found["lowest"], found["highest"]]))
        for contestant in scenario["contestants"]
        for name, found in contestant["figures"].items()
    ]


def target_rows(record: Record) -> list[tuple[str, str, str, str, str]]:
    """Verdict, target, median, spread, bound."""
    return [
        (one["verdict"], one["name"], number(one["median"]), spread(one["values"]), one["bound"])
        for scenario in record["scenarios"]
        for one in scenario["targets"]
    ]


def print_scenarios(record: Record) -> None:
    """Every figure of every contestant."""
    for scenario in record["scenarios"]:
        table = _table(scenario["title"], "", "figure", "median", "lowest – highest")
        before = ""
        for name, *cells in figure_rows(scenario):
            table.add_row("" if name == before else name, *cells)
            before = name
        _console.print(table)
        for fault in scenario["faults"]:
            _console.print(f"  void: {fault}", markup=False, style="red")


def print_targets(record: Record) -> None:
    """Every verdict."""
    table = _table("Targets", "", "target", "median", "lowest – highest", "bound")
    for row in target_rows(record):
        table.add_row(*row)
    _console.print(table)


def _table(title: str, *columns: str) -> Table:
    options: dict[str, Any] = {"title": title, "title_justify": "left", "title_style": "bold"}
    table = Table(**options)
    for column in columns:
        table.add_column(column, justify="right" if column in _RIGHT else "left")
    return table
