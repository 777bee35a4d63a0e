"""The command line: the whole platform up, listed, healed and down; and clear words when it cannot be."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from stack.servers.base import http_status
from stack.state import PROJECT_ROOT
from tests.stack.processes import Seen, descendants, gone, look

_READY_S = 90
_STOP_S = 10
_HEAL_S = 60
_ROLES = {"api": 2, "worker": 2, "clock": 1, "console": 1, "edge": 1, "gate": 1, "postgres": 1, "smtp": 1}


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("STAMPEDE_")}


async def _stampede(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stack.cli", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT_ROOT,
        env={**_environment(), **(env or {})},
    )
    output, errors = await asyncio.wait_for(process.communicate(), _READY_S)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def _rows(data_dir: Path) -> list[tuple[str, int]]:
    status, output, errors = await _stampede("ps", "--data-dir", str(data_dir))
    assert status == 0, errors
    return [(role, int(pid)) for role, pid in (line.split() for line in output.splitlines())]


async def test_whole_platform(tmp_path: Path, seed_dir: Path) -> None:
    """One long test: the start is what takes time."""
    data_dir = tmp_path / "the data"
    shutil.copytree(seed_dir, data_dir)
    up = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stack.cli", "up", "--data-dir", str(data_dir), "--api-processes", "2"),
        stdout=subprocess.PIPE,
        cwd=PROJECT_ROOT,
        env=_environment(),
    )
    family: list[Seen] = []
    try:
        assert up.stdout is not None
        line = (await asyncio.wait_for(up.stdout.readline(), _READY_S)).decode()
        assert line.startswith("ready http://127.0.0.1:")
        port = int(line.strip().rsplit(":", 1)[1])
        assert await http_status(port, "/api/v1/health/ready") == 200
        assert await http_status(port, "/console/_stcore/health") == 200

        rows = await _rows(data_dir)
        assert Counter(role for role, _ in rows) == _ROLES
        assert all(look(pid) for _, pid in rows)
        assert (await _stampede("migrate", "--data-dir", str(data_dir)))[0] == 0
        refused, _, errors = await _stampede("up", "--data-dir", str(data_dir))
        assert refused == 1
        assert "already runs in" in errors

        for _, pid in rows:
            os.kill(pid, signal.SIGKILL)
        await _all_revived(data_dir, {pid for _, pid in rows})
        await _ready_again(port)

        family = descendants(up.pid)
        started = time.monotonic()
        up.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(up.wait(), _STOP_S) == 0
        assert time.monotonic() - started < _STOP_S
        assert not await gone(family, 0.5)
        assert (await _stampede("ps", "--data-dir", str(data_dir)))[0] == 1
    finally:
        if up.returncode is None:
            family += descendants(up.pid)
            up.kill()
            await up.wait()
            assert not await gone(family, _STOP_S)


async def test_commands_say_when_no_stack_runs(tmp_path: Path) -> None:
    for command in ("ps", "migrate"):
        status, output, errors = await _stampede(command, "--data-dir", str(tmp_path / "nothing"))
        assert (status, output) == (1, "")
        assert errors == (
            f"stampede: no stack runs in {tmp_path / 'nothing'}: "
            f"start one with `stampede up --data-dir {tmp_path / 'nothing'}`\n"
        )
    assert not (tmp_path / "nothing").exists()


async def test_port_in_use_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = str(stranger.getsockname()[1])
        status, output, errors = await _stampede("up", "--data-dir", str(tmp_path / "data"), "--port", port)
    assert (status, output) == (1, "")
    assert f"port {port} is in use" in errors
    assert not (tmp_path / "data" / "postgres").exists()


async def test_unusable_server_is_said(tmp_path: Path) -> None:
    status, _, errors = await _stampede(
        "up", "--data-dir", str(tmp_path / "data"), env={"STAMPEDE_REDIS_SERVER": "/bin/true"}
    )
    assert status == 1
    assert "STAMPEDE_REDIS_SERVER=/bin/true" in errors
    assert "Traceback" not in errors


async def test_migrate_takes_production_from_the_environment() -> None:
    """Without a folder named, the process's own settings count: this database does not answer."""
    status, _, errors = await _stampede(
        "migrate", env={"STAMPEDE_OWNER_DATABASE_URL": "postgresql+asyncpg://nobody:x@127.0.0.1:1/none"}
    )
    assert status == 1
    assert "the database was not migrated" in errors


async def _all_revived(data_dir: Path, killed: set[int]) -> None:
    deadline = time.monotonic() + _HEAL_S
    while True:
        rows = json.loads((data_dir / "processes.json").read_text())
        if Counter(row["role"] for row in rows) == _ROLES and not killed & {row["pid"] for row in rows}:
            return
        assert time.monotonic() < deadline, f"not all were restarted within {_HEAL_S} s: {rows}"
        await asyncio.sleep(0.1)


async def _ready_again(port: int) -> None:
    deadline = time.monotonic() + _HEAL_S
    while True:
        # A process that has just been restarted may not listen yet: that is a "not yet", like a 503.
        with contextlib.suppress(OSError):
            if await http_status(port, "/api/v1/health/ready") == 200:
                return
        assert time.monotonic() < deadline, "not ready again"
        await asyncio.sleep(0.2)
