"""``compose.yaml`` as Compose reads it: merged, its variables filled in from ``deploy/env.example``."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose.yaml"
_VARIABLE = re.compile(r"\$(?:\$|\{([A-Z_]+)(?:(:[-?])([^}]*))?\})")


def read_env_file(path: Path = ROOT / "deploy" / "env.example") -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def variables(text: str | None = None) -> dict[str, tuple[str, str]]:
    """The variables that the file asks for: operator (``:-`` or ``:?``) and what follows it."""
    found = _VARIABLE.finditer(COMPOSE.read_text() if text is None else text)
    return {match[1]: (match[2], match[3]) for match in found if match[1]}


def load(environment: dict[str, str] | None = None) -> dict[str, Any]:
    """A fresh copy each time: tests break it."""
    environment = read_env_file() if environment is None else environment
    return _fill(yaml.safe_load(COMPOSE.read_text()), environment)


def _fill(value: Any, environment: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(one, environment) for key, one in value.items()}
    if isinstance(value, list):
        return [_fill(one, environment) for one in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if name is None:
            return "$"
        given = environment.get(name, "")
        if given or operator == ":-":
            return given or rest
        raise AssertionError(f"{name}: {rest}")

    return _VARIABLE.sub(fill, value)


def services(project: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return project["services"]


def python_services(project: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Those that run the image of ``deploy/Dockerfile``."""
    return {name: one for name, one in services(project).items() if one["image"].startswith("stampede:")}


def module_of(service: dict[str, Any]) -> tuple[str, list[str]]:
    """The module of ``python -m MODULE ARGUMENTS``, and the arguments."""
    command = service["command"]
    assert command[:2] == ["python", "-m"], command
    return command[2], command[3:]


def is_one_shot(service: dict[str, Any]) -> bool:
    return service.get("restart") == "no"


def mounts(service: dict[str, Any]) -> list[tuple[str, str]]:
    """Volume and place of each mount."""
    pairs = []
    for one in service.get("volumes", []):
        if isinstance(one, str):
            source, target, *_ = one.split(":")
            pairs.append((source, target))
        else:
            pairs.append((one["source"], one["target"]))
    return pairs


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def mebibytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([MmGg])b?i?", text).groups()
    return int(number) * (1024 if unit in "Gg" else 1)


@cache
def locked(package: str) -> str:
    """The version of a package in ``requirements.lock``."""
    return re.search(rf"^{re.escape(package)}==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)[1]
