"""The gate store as deployed: one source for users and durability, and the real server on what is rendered."""

import asyncio
import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import redis.asyncio as redis
from redis.exceptions import AuthenticationError, NoPermissionError

from backend.gate import Gate
from stack import render_gate
from stack.binaries import find_gate_server
from stack.ports import PortBook
from stack.process import Process
from stack.servers import GateServer
from stack.servers.gate import ADMIN_USER, APP_USER, BROKER_USER
from tests.deploy.project import load, module_of, services

_ADMIN, _APP = "a" * 64, "b" * 64
_WAIT_S = 20


def _render(folder: Path, **replaced: str) -> Path:
    """Run the renderer with compose.yaml's arguments; files and folder are this test's."""
    for name, password in (("gate_admin_password", _ADMIN), ("gate_app_password", _APP)):
        (folder / name).write_text(password + "\n")
    module, arguments = module_of(services(load())["gate-config"])
    assert module == "stack.render_gate"
    output = folder / "gate.conf"
    changed = {"--output": str(output), "--dir": str(folder)}
    changed |= {f"--{name}": value for name, value in replaced.items()}
    command = []
    for argument in arguments:
        option, _, value = argument.partition("=")
        value = value.replace("/run/secrets/", f"{folder}/")
        command.append(f"{option}={changed.pop(option, value)}")
    assert render_gate.main([*command, *(f"{option}={value}" for option, value in changed.items())]) == 0
    return output


def _settings(text: str) -> dict[str, list[str]]:
    """Each setting's values; hashes of passwords are left out."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name, []).append(re.sub(r"#[0-9a-f]{64}", "#…", value))
    return found


async def test_it_is_the_local_stacks_but_for_its_place(tmp_path: Path) -> None:
    local = GateServer(tmp_path)
    try:
        await local.prepare()
        theirs = _settings((tmp_path / "gate" / "gate.conf").read_text())
    finally:
        await local.stop()
    ours = _settings(_render(tmp_path).read_text())
    for name in ("bind", "port", "dir"):
        assert theirs.pop(name) != ours.pop(name) or name == "port"
    assert ours == theirs
    assert len(ours["user"]) == 4
    assert ours["appendonly"] == ["yes"]
    assert ours["maxmemory-policy"] == ["noeviction"]


def test_no_password_stands_in_it(tmp_path: Path) -> None:
    text = _render(tmp_path).read_text()
    assert _ADMIN not in text
    assert _APP not in text


@pytest.mark.parametrize("password", ["", "short", "x" * 31, "x" * 40 + "@", "x" * 40 + " y", "x" * 40 + "\ny"])
def test_a_password_that_breaks_something_is_refused(
    tmp_path: Path, password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").write_text(password)
    with pytest.raises(SystemExit, match="2"):
        render_gate.main(
            [
                f"--output={tmp_path / 'gate.conf'}",
                *("--dir=/data", "--maxmemory=1gb"),
                f"--admin-password-file={tmp_path / 'bad'}",
                f"--app-password-file={tmp_path / 'bad'}",
            ]
        )
    assert not (tmp_path / "gate.conf").exists()
    if password:
        assert password not in capsys.readouterr().err


@dataclass
class DeployedGate:
    port: int
    folder: Path

    def client(self, user: str, password: str, database: int = 0, host: str = "127.0.0.1") -> redis.Redis:
        return redis.Redis(
            host=host, port=self.port, username=user, password=password, db=database, decode_responses=True
        )


@pytest_asyncio.fixture(loop_scope="session")
async def deployed(tmp_path: Path) -> AsyncIterator[DeployedGate]:
    """The real server on the rendered file."""
    claim = PortBook(tmp_path).claim("gate")
    configuration = _render(tmp_path, port=str(claim.port))
    process = Process([str(find_gate_server()), str(configuration)], log_path=tmp_path / "gate.log", cwd=tmp_path)
    process.spawn()
    try:
        async with asyncio.timeout(_WAIT_S):
            while True:
                assert process.running, process.log_tail()
                try:
                    async with DeployedGate(claim.port, tmp_path).client(ADMIN_USER, _ADMIN) as client:
                        await client.ping()
                    break
                except redis.ConnectionError:
                    await asyncio.sleep(0.05)
        yield DeployedGate(claim.port, tmp_path)
    finally:
        await process.stop(5)
        claim.release()


async def test_it_is_fit_for_a_sale(deployed: DeployedGate) -> None:
    """What readiness asks of a store."""
    gate = Gate.connect(f"redis://{APP_USER}:{_APP}@127.0.0.1:{deployed.port}/0", timeout_s=2.0, name="test")
    try:
        assert await gate.fitness() == []
    finally:
        await gate.close()


async def test_users_have_their_rights_and_no_others(deployed: DeployedGate) -> None:
    async with deployed.client(APP_USER, _APP) as app:
        assert await app.set("{x}:1", "1")
        for forbidden in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("SHUTDOWN",)):
            with pytest.raises(NoPermissionError):
                await app.execute_command(*forbidden)
    async with deployed.client(BROKER_USER, _APP, database=1) as broker:
        assert await broker.set("dramatiq:x", "1")
        with pytest.raises(NoPermissionError):
            await broker.get("{x}:1")
    async with deployed.client(ADMIN_USER, _ADMIN) as admin:
        assert (await admin.config_get("appendonly"))["appendonly"] == "yes"
    async with deployed.client("default", "") as nobody:
        with pytest.raises((AuthenticationError, redis.ResponseError)):
            await nobody.ping()


async def test_other_containers_reach_it(deployed: DeployedGate) -> None:
    """By an address that is not loopback: protected mode must not turn them away."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # documentation's network: nothing is sent
        except OSError:
            pytest.skip("this machine has no address but loopback")
        own = probe.getsockname()[0]
    async with deployed.client(APP_USER, _APP, host=own) as app:
        assert await app.ping()


async def test_the_health_check_knows_it(deployed: DeployedGate) -> None:
    """The very line of compose.yaml, with the real client: well, and not with another password or no server."""
    tool = find_gate_server().with_name("valkey-cli")
    if not tool.is_file():
        pytest.skip("this machine's gate store came without its client")
    kind, line = services(load())["gate"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"

    def check(folder: Path, port: int) -> int:
        command = line.replace("/run/secrets", str(folder)).replace("valkey-cli", f"valkey-cli -p {port}")
        environment = {**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"}
        return subprocess.run(
            ["sh", "-c", command], env=environment, capture_output=True, timeout=10, check=False
        ).returncode

    assert await asyncio.to_thread(check, deployed.folder, deployed.port) == 0
    wrong = deployed.folder / "wrong"
    wrong.mkdir()
    (wrong / "gate_app_password").write_text("c" * 64)
    assert await asyncio.to_thread(check, wrong, deployed.port) != 0
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert await asyncio.to_thread(check, deployed.folder, closed.getsockname()[1]) != 0
