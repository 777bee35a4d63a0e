"""A kill point ends one process, the n-th time, and only when armed; and the product still has every point's place."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stack.state import PROJECT_ROOT
from tests.faults.seams import Arms

POINT = "drain.before-commit"
_PASSES = """
import sys
from pathlib import Path
from tests.faults.seams import Seams
seams = Seams(Path(sys.argv[1]))
for number in range(1, 6):
    seams.pass_by("{point}")
    print(number, flush=True)
"""
TIMEOUT_S = 60


def _pass_five_times(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PASSES.format(point=POINT), str(folder)],
        cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _end(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    printed, _ = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, printed.split()


def test_an_unarmed_point_is_passed(tmp_path: Path) -> None:
    Arms(tmp_path)
    assert _end(_pass_five_times(tmp_path)) == (0, ["1", "2", "3", "4", "5"])


def test_the_third_pass_is_the_last(tmp_path: Path) -> None:
    Arms(tmp_path).arm(POINT, 3)
    assert _end(_pass_five_times(tmp_path)) == (-signal.SIGKILL, ["1", "2"])


def test_of_two_processes_one_dies(tmp_path: Path) -> None:
    Arms(tmp_path).arm(POINT, 1)
    ends = sorted(_end(process) for process in [_pass_five_times(tmp_path), _pass_five_times(tmp_path)])
    assert ends == [(-signal.SIGKILL, []), (0, ["1", "2", "3", "4", "5"])]


async def test_the_drill_hears_of_it(tmp_path: Path) -> None:
    arms = Arms(tmp_path)
    arms.arm(POINT, 2)
    process = _pass_five_times(tmp_path)
    assert await arms.taken(POINT, within_s=TIMEOUT_S)
    assert _end(process)[0] == -signal.SIGKILL


async def test_an_arm_that_nobody_takes_is_taken_back(tmp_path: Path) -> None:
    arms = Arms(tmp_path)
    arms.arm(POINT, 1)
    assert not await arms.taken(POINT, within_s=0.05)
    assert _end(_pass_five_times(tmp_path))[0] == 0


async def test_an_arm_counts_its_own_passes(tmp_path: Path) -> None:
    """Passes before a second arm do not count for it."""
    arms = Arms(tmp_path)
    arms.arm(POINT, 1)
    first = await asyncio.to_thread(_end, _pass_five_times(tmp_path))
    arms.arm(POINT, 3)
    second = await asyncio.to_thread(_end, _pass_five_times(tmp_path))
    assert (first, second) == ((-signal.SIGKILL, []), (-signal.SIGKILL, ["1", "2"]))


def test_passes_of_all_processes_count_together(tmp_path: Path) -> None:
    """One process makes two passes, another the third."""
    Arms(tmp_path).arm(POINT, 3)
    (tmp_path / f"{POINT}.3").unlink()
    (tmp_path / f"{POINT}.2").unlink()
    assert _end(_pass_five_times(tmp_path)) == (-signal.SIGKILL, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("entry", ["worker", "api", "clock"])
def test_the_product_still_has_what_the_seams_wrap(entry: str, tmp_path: Path) -> None:
    """A renamed function would leave a kill point that never fires."""
    code = (
        "import sys; from pathlib import Path; from tests.faults.seams import Seams; "
        f"from tests.faults.entries.{entry} import open_seams; open_seams(Seams(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["backend.main", "workers.__main__", "workers.clock"])
def test_the_product_has_no_seams(module: str) -> None:
    code = f"import sys, {module}; assert not [name for name in sys.modules if name.startswith('tests')]"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
