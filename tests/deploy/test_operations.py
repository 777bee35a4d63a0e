"""docs/operations.md says what to do about each alarm that the code raises, and names nothing that is not there."""

import ast
import re
from collections.abc import Iterator

import pytest

from backend.jobs import contracts
from backend.models import Fault
from backend.reconciliation.rules import BALANCE_RULES, LEDGER_RULES
from backend.settings import Settings
from stack.servers.postgres import _SETTINGS
from tests.deploy.entry import entrypoint
from tests.deploy.project import ROOT, load, read_env_file, services
from workers.clock import EVERY_S

_TEXT = (ROOT / "docs" / "operations.md").read_text()
_LEVELS = {"warning": "warning", "error": "error", "exception": "error"}


def _calls() -> Iterator[ast.Call]:
    for package in ("backend", "workers", "console"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def _texts(call: ast.Call) -> list[str]:
    values = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "kind")]
    return [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]


def _logged() -> dict[str, str]:
    """Events that the code logs as warning or error, with their level."""
    found = {}
    for call in _calls():
        match call.func:
            case ast.Attribute(value=ast.Name(id="log" | "_log"), attr=level) if level in _LEVELS:
                found[_texts(call)[0]] = _LEVELS[level]
            case ast.Name(id="level"):
                # `level = log.info if seen.clean else log.error`
                found[_texts(call)[0]] = "error"
    return found


def _alarms() -> set[str]:
    """Kinds of a sale's events that are alarms, but for the faults, which an enum lists."""
    found = set()
    for call in _calls():
        is_alarm = any(
            keyword.arg == "alarm" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            for keyword in call.keywords
        )
        if is_alarm or (isinstance(call.func, ast.Attribute) and call.func.attr == "alarm"):
            found |= set(_texts(call))
    return found


def _rows(heading: str) -> list[list[str]]:
    """Cells of the table below a heading, without its head."""
    section = re.split(r"^#{2,3} ", _TEXT.partition(f"### {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def _named(cell: str) -> list[str]:
    return re.findall(r"`([a-z_.]+)`", cell)


def test_each_line_of_the_log_has_its_row() -> None:
    documented = {event: row[1] for row in _rows("Log lines") for event in _named(row[0])}
    assert documented == _logged()


def test_each_fault_has_its_row() -> None:
    documented = [name for row in _rows("Sales that the platform stopped") for name in _named(row[0])]
    assert sorted(documented) == sorted(f"fault.{fault.value}" for fault in Fault)


def test_each_alarm_has_its_row() -> None:
    documented = {name for row in _rows("Other alarms of a sale") for name in _named(row[0])}
    assert documented == _alarms()


def test_each_rule_has_its_row() -> None:
    documented = {code for row in _rows("Findings of a reconciliation") for code in re.findall(r"I\d+", row[0])}
    assert documented == {rule.code for rule in (*LEDGER_RULES, *BALANCE_RULES)}


def test_each_reason_of_readiness_has_its_row() -> None:
    """By its first words: the rest is filled in."""
    documented = " ".join(row[0] for row in _rows("What is missing when readiness says 503"))
    app, fitness = (ROOT / "backend" / "app.py").read_text(), (ROOT / "backend" / "gate" / "fitness.py").read_text()
    reasons = re.findall(r'\["((?:database|gate): [a-z ]+)"\]', app)
    said = re.findall(r'(?:faults\.append\(|return \[)f?"([^"]+?)[:({"]', fitness)
    reasons += [f"gate: {text.strip()}" for text in said]
    assert len(reasons) >= 12
    assert [reason for reason in reasons if reason.strip() not in documented] == []


def test_every_service_is_described() -> None:
    table = _TEXT.partition("## What runs\n")[2].partition("\n## ")[0]
    assert set(services(load())) <= set(re.findall(r"`([a-z0-9-]+)`", table))


def test_what_it_names_is_there() -> None:
    known = {*read_env_file(), "STAMPEDE_LISTEN", "STAMPEDE_METRICS_LISTEN"}
    assert set(re.findall(r"STAMPEDE_[A-Z_]+", _TEXT)) <= known
    paths = re.findall(r"(?:deploy|backend|tests|docs|stack)/[\w./-]*\w", _TEXT)
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []
    volumes = set(re.findall(r"stampede_(ledger|gate|pages)\b(?=[: \n])", _TEXT))
    assert volumes <= set(load()["volumes"])


def test_its_figures_are_the_codes() -> None:
    fields = Settings.model_fields
    assert f"up to {fields['backlog_max'].default:,} undecided" in _TEXT
    assert f"up to {fields['database_pool_size'].default} of PostgreSQL's {_SETTINGS['max_connections']}" in _TEXT
    assert f"within {EVERY_S[contracts.CONFIGURE]} s of the gate's return" in _TEXT
    assert f"ends with status {entrypoint.EXIT_CONFIG}" in _TEXT


@pytest.mark.parametrize("words", ["Checked, not run.", "No container engine", "Sentinel and Cluster", "RabbitMQ"])
def test_it_says_what_was_not_tried(words: str) -> None:
    assert words in _TEXT
