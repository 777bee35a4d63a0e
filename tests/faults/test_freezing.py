"""What is frozen goes on when its time is up, and also when whoever froze it is killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stack.process import Process
from stack.servers import Server
from stack.state import PROJECT_ROOT
from tests.faults.freezing import family, frozen

TIMEOUT_S = 30
_PARENT_AND_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
_FREEZE_AND_WAIT = """
import sys, time
from tests.faults.freezing import frozen
class Frozen:
    pid = int(sys.argv[1])
with frozen(Frozen()):
    print("frozen", flush=True)
    time.sleep(600)
"""


class Sleeper(Server):
    """A server with a child that leads a session of its own, as PostgreSQL's back ends do."""

    role = "sleeper"

    def process(self) -> Process:
        return Process([sys.executable, "-c", _PARENT_AND_CHILD], log_path=self.log_path)

    async def probe(self) -> bool:
        return bool(self.log_path.read_text().strip())


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _wait_for(pid: int, *states: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while _state(pid) not in states:
        assert time.monotonic() < deadline, f"{pid} is {_state(pid)}, not {states}"
        time.sleep(0.02)


@pytest.fixture
async def sleeper(tmp_path: Path):
    async with Sleeper("sleeper", tmp_path) as server:
        yield server
        child = int(server.log_path.read_text())
        subprocess.run(["kill", "-9", str(child)], check=True)


async def test_children_in_sessions_of_their_own_are_frozen_and_continued(sleeper: Sleeper) -> None:
    pids = family(sleeper)
    assert pids == [sleeper.pid, int(sleeper.log_path.read_text())]
    with frozen(sleeper) as stopped:
        assert stopped == pids
        for pid in pids:
            _wait_for(pid, "T")
    for pid in pids:
        _wait_for(pid, "S", "R")


async def test_what_a_killed_process_has_frozen_goes_on(sleeper: Sleeper) -> None:
    freezer = subprocess.Popen(
        [sys.executable, "-c", _FREEZE_AND_WAIT, str(sleeper.pid)],
        cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert freezer.stdout is not None
    assert freezer.stdout.readline() == "frozen\n"
    for pid in family(sleeper):
        _wait_for(pid, "T")
    freezer.send_signal(signal.SIGKILL)
    freezer.communicate(timeout=TIMEOUT_S)
    for pid in family(sleeper):
        _wait_for(pid, "S", "R")
