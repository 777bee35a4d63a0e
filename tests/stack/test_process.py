"""A child ends with its parent, with its group, and says why it failed."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stack.errors import StartError
from stack.process import Process, run_to_end
from stack.state import PROJECT_ROOT
from tests.stack.processes import Seen, gone, look

_PARENT = """
import sys, time
from pathlib import Path
from stack.process import Process
child = Process(["sleep", "60"], log_path=Path(sys.argv[1]))
child.spawn()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_child_dies_with_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "log")], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = look(int(parent.stdout.readline()))
        assert child is not None
        parent.send_signal(number)
        assert not await gone([child], 5)


async def test_launcher_whose_parent_is_already_gone_does_not_start_the_command(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    launch = PROJECT_ROOT / "stack" / "launch.py"
    nobody = os.getpid() + 1  # any number that is not the launcher's parent
    done = subprocess.run([sys.executable, "-I", "-S", str(launch), str(nobody), "9", "touch", str(mark)], check=False)
    assert done.returncode == 125
    assert not mark.exists()


async def test_kill_takes_the_whole_group(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "sleep 60 & echo $!; wait"], log_path=tmp_path / "log")
    process.spawn()
    while not (text := (tmp_path / "log").read_text().strip()):
        await asyncio.sleep(0.01)
    grandchild = look(int(text))
    assert isinstance(grandchild, Seen)
    process.kill()
    assert not process.running
    assert process.returncode == -signal.SIGKILL
    assert not await gone([grandchild], 1)


async def test_stubborn_child_is_killed_after_its_grace(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"], log_path=tmp_path / "log")
    process.spawn()
    while "ready" not in process.log_tail():
        await asyncio.sleep(0.01)
    await process.stop(0.3)
    assert process.returncode == -signal.SIGKILL


async def test_spawn_outside_the_main_thread_is_refused(tmp_path: Path) -> None:
    faults: list[BaseException] = []

    def spawn() -> None:
        try:
            Process(["true"], log_path=tmp_path / "log").spawn()
        except RuntimeError as error:
            faults.append(error)

    thread = threading.Thread(target=spawn)
    thread.start()
    thread.join()
    assert "main thread" in str(faults[0])


async def test_failed_command_shows_the_end_of_its_log(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo the reason; exit 3"], log_path=tmp_path / "log")
    with pytest.raises(StartError, match=r"(?s)something failed with exit status 3:.*the reason"):
        await run_to_end(process, timeout_s=5, what="something")


async def test_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    process = Process(["sleep", "60"], log_path=tmp_path / "log")
    with pytest.raises(StartError, match="took longer"):
        await run_to_end(process, timeout_s=0.2, what="something")
    assert not process.running


async def test_log_that_has_grown_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    await run_to_end(Process(["echo", "new"], log_path=log), timeout_s=5, what="echo")
    assert log.read_text() == "new\n"
    assert (tmp_path / "log.1").stat().st_size == 17 * 1024 * 1024
