"""The stack starts whole, heals, stops whole, and never leaves anything behind."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio as redis

from stack.servers import GateServer, PostgresServer
from tests.stack.conftest import READY_S, STOP_S, MakeStack, RunningStack
from tests.stack.processes import gone, look

_HEAL_S = 15


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_stop_leaves_nothing(make_stack: MakeStack, number: signal.Signals) -> None:
    stack = await make_stack("a folder with spaces")
    family = stack.family()
    assert {"postgres", "nginx"} <= {seen.name for seen in family}
    started = time.monotonic()
    stack.process.send_signal(number)
    assert await stack.ended() == 0
    assert time.monotonic() - started < STOP_S
    assert not await gone(family, 0.5)
    assert not (stack.data_dir / "env.json").exists()


async def test_killed_supervisor_leaves_nothing(make_stack: MakeStack) -> None:
    stack = await make_stack()
    family = stack.family()
    # nginx: master and workers; PostgreSQL: postmaster and its helpers; gate; smtp
    assert len(family) >= 8
    stack.process.send_signal(signal.SIGKILL)
    assert not await gone(family, STOP_S)


async def test_supervisor_killed_while_starting_leaves_nothing(make_stack: MakeStack) -> None:
    for delay_s in (0.4, 0.8, 1.2):
        stack = await make_stack(f"early-{delay_s}", wait=False, fresh=True)
        await asyncio.sleep(delay_s)
        family = stack.family()
        stack.process.send_signal(signal.SIGKILL)
        assert not await gone(family, STOP_S)


async def test_interrupted_start_can_be_repeated(make_stack: MakeStack) -> None:
    stack = await make_stack(wait=False, fresh=True)
    while not (stack.data_dir / "postgres.new").exists():  # in the middle of initdb
        await asyncio.sleep(0.01)
    family = stack.family()
    stack.process.send_signal(signal.SIGINT)
    assert await stack.ended() == 0
    assert not await gone(family, 0.5)
    again = await make_stack()
    assert look(again.pid_of("postgres"))


async def test_failed_start_leaves_nothing(make_stack: MakeStack) -> None:
    stack = await make_stack("data", "--broken", wait=False)
    family = []
    while stack.process.returncode is None:
        family += stack.family()
        await asyncio.sleep(0.05)
    assert stack.process.returncode == 1
    message = await stack.errors()
    assert "broken ended while it was starting" in message
    assert "no.such" in message
    assert {"postgres", "nginx"} <= {seen.name for seen in family}
    assert not await gone(family, 0.5)


@pytest.mark.parametrize("role", ["postgres", "gate", "edge", "smtp"])
async def test_killed_child_is_restarted(make_stack: MakeStack, role: str) -> None:
    stack = await make_stack()
    ports = json.loads((stack.data_dir / "ports.json").read_text())
    for _ in range(2):
        pid = stack.pid_of(role)
        os.kill(pid, signal.SIGKILL)
        await _restarted(stack, role, pid)
    assert json.loads((stack.data_dir / "ports.json").read_text()) == ports
    _, writer = await asyncio.open_connection("127.0.0.1", ports[role])
    writer.close()


async def test_killed_stores_come_back_on_their_data(make_stack: MakeStack) -> None:
    stack = await make_stack()
    # Descriptions on the same folder know passwords and ports; they start nothing here.
    ports = json.loads((stack.data_dir / "ports.json").read_text())
    secrets = json.loads((stack.data_dir / "secrets.json").read_text())

    async def gate() -> "redis.Redis":
        return redis.Redis(port=ports["gate"], username="stampede", password=secrets["gate_app_password"])

    async def ledger() -> asyncpg.Connection:
        return await asyncpg.connect(
            host="127.0.0.1",
            port=ports["postgres"],
            user="stampede_owner",
            password=secrets["stampede_owner"],
            database="stampede",
        )

    client = await gate()
    await client.set("kept", "yes")
    await asyncio.sleep(1.5)  # appendfsync everysec
    connection = await ledger()
    await connection.execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
    for role in ("gate", "postgres"):
        pid = stack.pid_of(role)
        os.kill(pid, signal.SIGKILL)
        await _restarted(stack, role, pid)
    await client.aclose()
    connection.terminate()
    client = await gate()
    assert await client.get("kept") == b"yes"
    await client.aclose()
    connection = await ledger()
    assert await connection.fetchval("SELECT id FROM kept") == 7
    await connection.close()


async def test_second_supervisor_is_refused(make_stack: MakeStack) -> None:
    first = await make_stack()
    ports = (first.data_dir / "ports.json").read_text()
    second = await make_stack("data", wait=False)
    assert await second.ended(READY_S) == 1
    message = await second.errors()
    assert f"a stack (process {first.process.pid}) already runs in {first.data_dir}" in message
    assert look(first.pid_of("postgres"))
    assert (first.data_dir / "ports.json").read_text() == ports


async def test_two_stacks_side_by_side(make_stack: MakeStack) -> None:
    one, two = await asyncio.gather(make_stack("one"), make_stack("two"))
    ports = [json.loads((stack.data_dir / "ports.json").read_text()) for stack in (one, two)]
    assert not set(ports[0].values()) & set(ports[1].values())
    one.process.send_signal(signal.SIGTERM)
    await one.ended()
    assert look(two.pid_of("gate"))
    assert look(two.pid_of("postgres"))
    # a restart keeps its ports
    again = await make_stack("one")
    assert json.loads((again.data_dir / "ports.json").read_text()) == ports[0]


async def test_secrets_are_private(make_stack: MakeStack) -> None:
    stack = await make_stack()
    assert stack.data_dir.stat().st_mode & 0o077 == 0
    secrets = json.loads((stack.data_dir / "secrets.json").read_text())
    assert len(set(secrets.values())) == len(secrets)
    for path in stack.data_dir.rglob("*"):
        if path.is_file() and path.parent.name != "postgres" and "postgres" not in path.parts:
            text = path.read_text(errors="replace")
            if any(secret in text for secret in secrets.values()):
                assert path.stat().st_mode & 0o077 == 0, path
    # nor does the command line of any process show one
    for seen in stack.family():
        command = Path(f"/proc/{seen.pid}/cmdline").read_text(errors="replace")
        assert not any(secret in command for secret in secrets.values())


async def test_data_folder_can_be_taken_up_by_servers_alone(make_stack: MakeStack) -> None:
    """What the supervisor left is what the servers' own interface starts on."""
    stack = await make_stack()
    stack.process.send_signal(signal.SIGTERM)
    await stack.ended()
    async with PostgresServer(stack.data_dir) as postgres, GateServer(stack.data_dir) as gate:
        connection = await postgres.connect()
        assert await connection.fetchval("SHOW fsync") == "on"
        await connection.close()
        assert gate.running


async def _restarted(stack: RunningStack, role: str, old_pid: int) -> None:
    deadline = time.monotonic() + _HEAL_S
    while time.monotonic() < deadline:
        try:
            if stack.pid_of(role) != old_pid:
                return
        except StopIteration:  # dead, and not started yet
            pass
        await asyncio.sleep(0.05)
    raise AssertionError(f"{role} was not restarted within {_HEAL_S} s")
