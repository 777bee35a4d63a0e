"""``compose.yaml`` against the Compose specification and against the code. No container engine is needed, or asked."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.settings import Settings
from console.settings import Settings as ConsoleSettings
from stack.binaries import find_gate_server
from tests.deploy import checks
from tests.deploy.entry import entrypoint
from tests.deploy.project import ROOT, load, module_of, python_services, read_env_file, services, variables

_HELP_TIMEOUT_S = 60


def _fits_schema(path: Path) -> bool:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_it_fits_the_compose_specification() -> None:
    assert _fits_schema(ROOT / "compose.yaml")


def test_the_specification_would_notice_a_wrong_word(tmp_path: Path) -> None:
    project = load()
    project["services"]["api"]["helthcheck"] = project["services"]["api"].pop("healthcheck")
    broken = tmp_path / "compose.json"
    broken.write_text(json.dumps({key: value for key, value in project.items() if not key.startswith("x-")}))
    assert not _fits_schema(broken)


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_it_holds(check: Callable[[dict[str, Any]], list[str]]) -> None:
    assert check(load()) == []


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Break the project at ``service/key/key``; None removes."""

    def change(project: dict[str, Any]) -> None:
        *way, last = path.split("/")
        place = project
        for step in way:
            place = place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


_API, _WORKER = "services/api", "services/worker-orders"
_URL = "STAMPEDE_DATABASE_URL"
BREAKS: list[tuple[Callable[[dict[str, Any]], list[str]], str, Any, str]] = [
    (checks.references, f"{_API}/networks", ["bakc", "data"], "api: no network bakc"),
    (checks.references, f"{_API}/volumes", ["page:/srv"], "api: no volume page"),
    (checks.references, "secrets/secret_key", None, "api: no secret secret_key"),
    (checks.references, "volumes/spare", {}, "nobody uses volume spare"),
    (checks.references, "services/mail/network_mode", "service:worker", "mail: no service worker"),
    (checks.references, "configs/edge.sh", {"file": "./deploy/no.sh"}, "config edge.sh: no file ./deploy/no.sh"),
    (checks.order, "services/gate/healthcheck", None, "api waits for gate to be healthy, which says nothing"),
    (
        checks.order,
        f"{_API}/depends_on/migrations",
        {"condition": "service_started"},
        "api waits for migrations by service_started",
    ),
    (
        checks.order,
        f"{_WORKER}/depends_on",
        {"gate": {"condition": "service_healthy"}},
        "worker-orders does not wait for migrations",
    ),
    (checks.hardening, f"{_API}/user", "0:0", "api runs as 0:0"),
    (checks.hardening, "services/postgres/user", None, "postgres runs as 0"),
    (checks.hardening, f"{_API}/privileged", True, "api has more rights than it needs"),
    (checks.hardening, f"{_API}/cap_drop", [], "api keeps capabilities"),
    (checks.hardening, f"{_API}/security_opt", None, "api may gain privileges"),
    (checks.hardening, "services/edge/read_only", False, "edge can write its image"),
    (checks.hardening, "services/gate/deploy/resources/limits/memory", None, "gate: no limit of memory"),
    (checks.hardening, "services/gate/logging", {"driver": "local"}, "gate: its log grows for ever"),
    (checks.lifetimes, f"{_API}/restart", "always", "api stays down"),
    (checks.lifetimes, f"{_API}/healthcheck", None, "api: nobody looks at its health"),
    (checks.lifetimes, f"{_WORKER}/stop_grace_period", "3s", "worker-orders is killed after 3 s"),
    (checks.lifetimes, "services/edge/stop_grace_period", "5s", "edge is killed after 5 s"),
    (checks.isolation, "services/postgres/ports", ["5432:5432"], "postgres is published"),
    (checks.isolation, "services/grafana/ports", ["3000:3000"], "grafana is published"),
    (checks.isolation, "services/rabbitmq/networks", ["data", "back"], "rabbitmq is not on data alone"),
    (checks.isolation, f"{_API}/networks", ["back", "data", "outside"], "api is on outside"),
    (checks.isolation, "networks/data", {}, "postgres is on data"),
    (checks.isolation, "services/edge/networks", ["front", "back", "data"], "the edge can reach the stores"),
    (checks.isolation, "services/gate/networks", ["data", "back"], "gate is not on data alone"),
    (checks.isolation, "services/clock/networks", None, "clock is on the default network"),
    (checks.images, "services/gate/image", "valkey/valkey:latest", "gate: valkey/valkey:latest is not pinned"),
    (checks.images, "services/edge/image", "nginx:1.29.0-trixie", "edge: nginx:1.29.0-trixie is not nginx:1"),
    (checks.settings, f"{_API}/environment/STAMPEDE_GATE", "x", "api: nothing reads STAMPEDE_GATE"),
    (checks.settings, f"{_WORKER}/environment/STAMPEDE_PAGES_DIR", None, "worker-orders lacks STAMPEDE_PAGES_DIR"),
    (checks.settings, f"{_API}/environment/STAMPEDE_SECRET_KEY", None, "api lacks STAMPEDE_SECRET_KEY"),
    (checks.settings, "services/console/environment/STAMPEDE_API_URL", None, "console lacks STAMPEDE_API_URL"),
    (checks.settings, f"{_API}/environment/STAMPEDE_ENVIRONMENT", "local", "api does not run as production"),
    (checks.queues, f"{_WORKER}/command", ["python", "-m", "workers", "--queues=orders,control"], "nobody serves rel"),
    (
        checks.queues,
        f"{_WORKER}/command",
        ["python", "-m", "workers", "--queues=orders,mail"],
        "there is no queue mail",
    ),
    (checks.secrets, f"{_API}/secrets", ["secret_key"], "api lacks secret gate_app_password"),
    (checks.secrets, "services/console/secrets", ["secret_key"], "console has no use for secret secret_key"),
    (
        checks.secrets,
        f"{_API}/environment/{_URL}",
        "postgresql://stampede_app:hunter2@postgres/stampede",
        f"api: {_URL} shows a secret",
    ),
    (checks.secrets, f"{_API}/environment/STAMPEDE_SECRET_KEY", "k" * 32, "api: STAMPEDE_SECRET_KEY shows a secret"),
    (checks.secrets, "secrets/secret_key", {"environment": "KEY"}, "secret secret_key is not a file"),
    (
        checks.roles,
        f"{_API}/environment/{_URL}",
        "postgresql+asyncpg://stampede_owner:{secret:postgres_app_password}@postgres:5432/stampede",
        "postgresql+asyncpg://stampede_owner:",
    ),
    (checks.postgres_settings, "services/postgres/command", ["postgres", "-cfsync=off"], "fsync is off, not on"),
    (checks.sizes, f"{_API}/deploy/replicas", "40", "430 pooled connections do not fit 200"),
    (checks.sizes, "services/gate/deploy/resources/limits/memory", "1G", "the gate's 1gb do not fit 1G"),
    (checks.sizes, "services/edge-config/ulimits", {"nofile": 1024}, "the edge's configuration is made for another"),
]


@pytest.mark.parametrize(("check", "path", "value", "fault"), BREAKS, ids=[one[3][:60] for one in BREAKS])
def test_a_break_is_found(check: Callable[[dict[str, Any]], list[str]], path: str, value: Any, fault: str) -> None:
    """The negative control of each check: the file broken at one place."""
    # Anchors are shared objects: a copy keeps the break where it is meant.
    project = json.loads(json.dumps(load()))
    _set(path, value)(project)
    assert any(found.startswith(fault) for found in check(project)), check(project)


def test_every_check_has_a_break() -> None:
    assert {check for check, *_ in BREAKS} == set(checks.ALL)


def test_the_gate_is_the_version_of_the_local_stack() -> None:
    answer = subprocess.run([find_gate_server(), "--version"], capture_output=True, text=True, check=True).stdout
    image = services(load())["gate"]["image"]
    if "Valkey" not in answer:
        pytest.skip("this machine's gate store is a Redis of its own")
    assert f"v={image.partition(':')[2].partition('-')[0]} " in answer


def test_the_variables_are_those_of_the_example() -> None:
    asked, given = variables(), read_env_file()
    assert set(asked) == set(given)
    for name, (operator, default) in asked.items():
        assert operator == ":?" or default == given[name], name


def test_without_a_public_address_nothing_starts() -> None:
    environment = read_env_file()
    del environment["STAMPEDE_PUBLIC_URL"]
    with pytest.raises(AssertionError, match="STAMPEDE_PUBLIC_URL"):
        load(environment)


@pytest.mark.parametrize("name", sorted(python_services(load())))
def test_a_command_is_understood(name: str) -> None:
    """The module exists and its own parser takes every argument. ``--help`` comes last: what is before it is read,
    and then the process ends instead of starting."""
    module, arguments = module_of(python_services(load())[name])
    arguments = [_readable(argument) for argument in arguments]
    if module in ("migrations", "workers.clock"):
        assert not arguments
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists() or (ROOT / module / "__main__.py").exists()
        return
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_HELP_TIMEOUT_S,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert ended.returncode == 0, ended.stderr
    for argument in arguments:
        assert argument.partition("=")[0] in ended.stdout, f"{module} does not know {argument}"


def _readable(argument: str) -> str:
    # A password's file is read while the command line is: here there is none, so one of this project's stands in.
    option, _, value = argument.partition("=")
    if value.startswith("/run/secrets/"):
        stand_in = ROOT / "tests" / "deploy" / "password.txt"
        return f"{option}={stand_in}"
    return argument


@pytest.mark.parametrize("name", ["api", "worker-orders", "worker-notify", "clock"])
def test_the_backend_accepts_its_settings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the entry point makes of the environment is what ``backend.settings`` wants in production."""
    for secret in load()["secrets"]:
        (tmp_path / secret).write_text("0123456789abcdef" * 4 + "\n")
    (tmp_path / "notify_email_url").write_text("mailtos://shop:p%40ss@mail.example.org?from=shop@example.org\n")
    (tmp_path / "shop_token_key").write_text("")
    environment = entrypoint.expand(services(load())[name]["environment"], tmp_path)
    for variable in [variable for variable in os.environ if variable.startswith("STAMPEDE_")]:
        monkeypatch.delenv(variable)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    found = Settings(_env_file=None)
    assert not found.is_local
    assert found.database_url == f"postgresql+asyncpg://stampede_app:{'0123456789abcdef' * 4}@postgres:5432/stampede"
    assert found.notify_email_url == "mailtos://shop:p%40ss@mail.example.org?from=shop@example.org"
    assert str(found.pages_dir) in [target for _, target in _pages_mount(services(load())["api"])]


def _pages_mount(service: dict[str, Any]) -> list[tuple[str, str]]:
    from tests.deploy.project import mounts

    return [mount for mount in mounts(service) if mount[0] == "pages"]


def test_the_console_accepts_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in services(load())["console"]["environment"].items():
        monkeypatch.setenv(variable, value)
    found = ConsoleSettings(_env_file=None)
    assert found.secure_cookies
    assert found.public_url == read_env_file()["STAMPEDE_PUBLIC_URL"]


def test_pages_are_written_where_the_edge_reads_them() -> None:
    project = services(load())
    (edge,) = _pages_mount(project["edge"])
    for writer in ("api", "worker-orders", "worker-notify"):
        assert _pages_mount(project[writer]) == [edge], writer
    assert f"--pages-dir={edge[1]}" in project["edge-config"]["command"]


def test_what_the_code_cannot_use_is_not_offered() -> None:
    """A profile comes with the tests that run on it."""
    profiles = {profile for one in services(load()).values() for profile in one.get("profiles", [])}
    assert profiles == {"dev", "rabbitmq", "monitoring", "sentinel", "cluster"}
