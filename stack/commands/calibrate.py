"""``stampede calibrate``: measure what this machine takes, for ``stampede plan``."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

import stack
from stack.calibration import FILE
from stack.commands.options import DataDir
from stack.errors import StackError
from stack.state import PROJECT_ROOT, child_env, default_data_dir, is_running

_LAUNCH = Path(stack.__file__).with_name("launch.py")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOP_S = 20.0
"""The platform's own time to stop is 10 s; whoever is not gone by then is killed."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(calibrate)


def calibrate(
    data_dir: DataDir = None,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="More rounds, less spread; about 20 s each.")] = 3,
) -> None:
    """Measure what each kind of request costs this machine (one to two minutes), for `stampede plan`.

    Starts a platform of its own in a temporary folder, on free ports. Writes calibration.json to the data folder;
    when the books of a run are not right, or on Ctrl-C, nothing is written. Let nothing else run meanwhile.
    """
    folder = (data_dir or default_data_dir()).absolute()
    if is_running(folder):
        typer.echo(f"a stack runs in {folder}: it shares the cores, and the figures will show it", err=True)
    # The benchmark is no part of this package, so it is started as a program, like every other server.
    command = [sys.executable, "-m", "bench.calibrate", "--out", str(folder / FILE), "--rounds", str(rounds)]
    status = _run(command)
    if status != 0:
        msg = f"not calibrated (exit status {status})"
        raise StackError(msg)


def _run(command: list[str]) -> int:
    """Run it to its end, in a session of its own, so that one Ctrl-C ends it once and in order.

    The first signal is handed on as SIGTERM, on which it stops its servers; a second one kills them. If this process
    is killed, the kernel sends that SIGTERM (``stack.launch``).
    """
    launcher = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), str(int(signal.SIGTERM))]
    child = subprocess.Popen(  # noqa: S603 - our own program
        [*launcher, *command], cwd=PROJECT_ROOT, env=child_env({}), stdin=subprocess.DEVNULL, start_new_session=True
    )
    with _handed_on(child):
        try:
            return child.wait()
        finally:
            _end(child)


@contextmanager
def _handed_on(child: "subprocess.Popen[bytes]") -> Iterator[None]:
    def hand_on(_number: int, _frame: FrameType | None) -> None:
        child.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, hand_on) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
