"""``docs/performance.md``: the prose stays, what stands between the marks is made from a run.

<!-- bench: targets -->
…
<!-- /bench -->
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.plots import Bar, draw
from bench.record import Record
from bench.report import figure_rows, target_rows
from bench.scenarios.selling import TEXTBOOK
from stack.state import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "performance.md"
IMAGES = PROJECT_ROOT / "docs" / "images"
_SECTION = re.compile(r"(<!-- bench: (?P<name>[a-z-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
_ROLES = {"api_us": "API", "gate_us": "gate store", "worker_us": "worker", "postgres_us": "PostgreSQL"}
_API_SCENARIOS = ("accepted", "sold-out", "repeat", "replay", "forged", "foreign", "ticket", "link")


def regenerate(page: str, sections: dict[str, str]) -> str:
    """The page with every marked section replaced. Raises ValueError when marks and sections do not match."""
    marked = {match["name"] for match in _SECTION.finditer(page)}
    if marked != set(sections):
        raise ValueError(f"the page marks {sorted(marked)}, the run makes {sorted(sections)}")
    return _SECTION.sub(lambda match: f"{match[1]}{sections[match['name']].strip()}\n{match[3]}", page)


def write_document(record: Record, *, page: Path = PAGE, images: Path = IMAGES) -> None:
    """Tables into the page, plots beside it."""
    images.mkdir(parents=True, exist_ok=True)
    for name, svg in plots(record).items():
        (images / f"performance-{name}.svg").write_text(svg)
    page.write_text(regenerate(page.read_text(), sections(record)))


def sections(record: Record) -> dict[str, str]:
    """Everything that stands between marks."""
    return {
        "run": _run(record),
        "targets": _table(("", "target", "median", "lowest – highest", "bound"), target_rows(record)),
        "figures": "\n\n".join(_scenario(one) for one in record["scenarios"]),
        "machine": _table(("", ""), record["machine"].items()),
    }


def _run(record: Record) -> str:
    changed = " with uncommitted changes" if record["dirty"] else ""
    size = "quick sizes" if record["quick"] else "full sizes"
    met = f"{record['targets']['met']} of {record['targets']['of']}"
    return f"Commit `{record['commit']}`{changed}, {record['at']}, {size}: targets met: **{met}**."


def _scenario(scenario: Record) -> str:
    rows: list[tuple[str, ...]] = []
    before = ""
    for name, figure, *cells in figure_rows(scenario):
        rows.append(("" if name == before else name, f"`{figure}`", *cells))
        before = name
    parts = [f"### {scenario['title']}", f"`{scenario['name']}`. {scenario['note']}".rstrip()]
    parts.append(_table(("", "figure", "median", "lowest – highest"), rows))
    parts += [f"Void: {fault}" for fault in scenario["faults"]]
    return "\n\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = tuple(head)
    lines = [columns, tuple("---:" if name in ("median", "lowest – highest") else "---" for name in columns)]
    lines += [tuple(row) for row in rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def plots(record: Record) -> dict[str, str]:
    """SVG documents by name; a scenario that was not run is left out of its plot."""
    scenarios = {one["name"]: one for one in record["scenarios"]}
    makers: dict[str, Callable[[dict[str, Record]], str]] = {
        "api": _api_plot,
        "sold": _sold_plot,
        "ledger": _ledger_plot,
        "edge": _edge_plot,
    }
    return {name: make(scenarios) for name, make in makers.items()}


def _bars(scenarios: dict[str, Record], names: Iterable[str], figure: str, *, references: bool) -> list[Bar]:
    """The subject of each scenario, with its references behind it or without."""
    bars = []
    for name in names:
        for at, contestant in enumerate(scenarios.get(name, {}).get("contestants", ())):
            found = contestant["figures"].get(figure)
            if found and (references or at == 0):
                bars.append(Bar(contestant["name"], [found["median"]], found["lowest"], found["highest"]))
    return bars


def _api_plot(scenarios: dict[str, Record]) -> str:
    bars = _bars(scenarios, _API_SCENARIOS, "api_us", references=False)
    bars += _bars(scenarios, ["accepted"], "api_us", references=True)[1:]
    return draw("API process", "CPU-µs a request", bars)


def _sold_plot(scenarios: dict[str, Record]) -> str:
    bars = []
    for contestant in scenarios.get("sold", {}).get("contestants", ()):
        figures = contestant["figures"]
        # The textbook design's bar would leave nothing to see of the others; the table has it.
        if "sold_us" in figures and contestant["name"] != TEXTBOOK:
            whole = figures["sold_us"]
            parts = [figures[role]["median"] for role in _ROLES]
            bars.append(Bar(contestant["name"], parts, whole["lowest"], whole["highest"]))
    return draw("A sold unit", "CPU-µs", bars, tuple(_ROLES.values()))


def _ledger_plot(scenarios: dict[str, Record]) -> str:
    return draw("Ledger", "orders a second", _bars(scenarios, ["ledger"], "orders_per_s", references=True))


def _edge_plot(scenarios: dict[str, Record]) -> str:
    names = ("edge-link", "edge-page", "edge-state")
    return draw("Edge", "CPU-µs a request", _bars(scenarios, names, "edge_us", references=True))
