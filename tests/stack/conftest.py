"""A supervisor with real servers, as a process of its own that a test may treat badly."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from stack.servers import PostgresServer
from stack.state import PROJECT_ROOT
from tests.stack.processes import Seen, descendants, gone

_SCRIPT = Path(__file__).with_name("small_stack.py")
READY_S = 60
STOP_S = 10


@dataclass
class RunningStack:
    """One supervisor under test."""

    process: asyncio.subprocess.Process
    data_dir: Path

    def family(self) -> list[Seen]:
        """Everything that runs below the supervisor."""
        return descendants(self.process.pid)

    def pid_of(self, role: str) -> int:
        """The process id that `stampede ps` would show."""
        rows = json.loads((self.data_dir / "processes.json").read_text())
        return next(int(row["pid"]) for row in rows if row["role"] == role)

    async def ready(self) -> None:
        """Wait for its line."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), READY_S)
        assert line.startswith(b"ready"), await self.errors()

    async def errors(self) -> str:
        """Its standard error, once it has ended."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def ended(self, within_s: float = STOP_S) -> int:
        """Its exit status."""
        return await asyncio.wait_for(self.process.wait(), within_s)


MakeStack = Callable[..., Awaitable[RunningStack]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def seed_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose PostgreSQL has been made: initdb takes longer than most tests here."""
    seed = tmp_path_factory.mktemp("seed") / "data"
    async with PostgresServer(seed):
        pass
    (seed / "ports.json").unlink()
    return seed


@pytest_asyncio.fixture(loop_scope="session")
async def make_stack(tmp_path: Path, seed_dir: Path) -> AsyncIterator[MakeStack]:
    """``await make_stack("folder", "--broken", wait=False, fresh=True)``; what runs at the end is killed."""
    stacks: list[RunningStack] = []

    async def make(name: str = "data", *options: str, wait: bool = True, fresh: bool = False) -> RunningStack:
        data_dir = tmp_path / name
        if not fresh and not data_dir.exists():
            shutil.copytree(seed_dir, data_dir)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_SCRIPT),
            str(data_dir),
            *options,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=PROJECT_ROOT,
            env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
        )
        stack = RunningStack(process, data_dir)
        stacks.append(stack)
        if wait:
            await stack.ready()
        return stack

    yield make
    for stack in stacks:
        family = stack.family()
        if stack.process.returncode is None:
            stack.process.send_signal(signal.SIGKILL)
        await stack.process.communicate()
        assert not await gone(family, STOP_S)
