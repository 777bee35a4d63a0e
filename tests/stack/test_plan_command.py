"""``stampede plan`` says what to do when it cannot plan, and ``stampede calibrate`` leaves nothing behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stack import machine
from stack.calibration import DRAIN, FILE, MEMORY, PROXIED, SCHEMA, differences
from stack.calibration import read_calibration as read
from stack.capacity import Work
from stack.errors import StackError
from stack.state import PROJECT_ROOT
from tests.stack.processes import descendants, gone

_STARTED_S, _STOPPED_S = 90, 30
RUSH = ("--attempts", "500000", "--in", "60", "--stock", "2000")


def _figure(value: float) -> dict[str, Any]:
    return {"unit": "CPU-µs each", "median": value, "lowest": value, "highest": value}


def _document(**changes: Any) -> dict[str, Any]:
    figures: dict[str, Any] = {work: {"api_us": _figure(40), "gate_us": _figure(10)} for work in Work}
    figures |= {work: {"edge_us": _figure(12)} for work in (Work.PAGE, Work.LOOK)}
    figures[Work.SOLD] |= {"worker_us": _figure(40), "postgres_us": _figure(-0.4)}
    figures[PROXIED] = {"edge_us": _figure(30)}
    figures[DRAIN] = {"orders_per_s": _figure(10_000)}
    figures[MEMORY] = {"reservation_bytes": _figure(400), "shopper_bytes": _figure(80)}
    return {
        "schema": SCHEMA,
        "at": "2026-11-22T18:00:00+00:00",
        "commit": machine.commit(),
        "machine": machine.identity(),
        "figures": figures,
    } | changes


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / FILE).write_text(json.dumps(_document()))
    return tmp_path


def _plan(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "stack.cli", "plan", "--data-dir", str(data_dir), *arguments],
        cwd=PROJECT_ROOT,
        env={**_environment(), "COLUMNS": "118"},
        capture_output=True,
        text=True,
        check=False,
    )


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("STAMPEDE_")}


def test_a_plan_for_people(data_dir):
    done = _plan(data_dir, *RUSH, "--cores-per-host", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "500,000 attempts of 166,667 shoppers on 2,000 units in 60 s; the busiest second brings 25,000." in done.stdout
    )
    assert "First bottleneck: the 2 cores of one host" in done.stdout
    assert "Rung 3: own hosts for each kind of process." in done.stdout
    assert "Next, 4:" in done.stdout
    for name in ("edge", "API processes", "gate stores", "workers", "PostgreSQL"):
        assert name in done.stdout


def test_the_same_plan_for_programs(data_dir):
    done = _plan(data_dir, *RUSH, "--sales", "4", "--forged", "50000", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["rush"]["shoppers"] == 166_667
    assert plan["peak_per_s"]["forged"] == 2_500
    assert plan["peak_per_s"]["sold"] == 2_000
    # All kinds cost 40 µs here: attempts, forged ones, links, and two polls a ticket.
    busy = (25_000 + 2_500 + 166_667 * 3 / 60 + 4_000) * 40e-6
    assert plan["roles"]["api"]["cores_busy"] == pytest.approx(busy)
    assert plan["roles"]["postgres"]["cores_busy"] == 0  # a price below 0 is noise, not a gain


def test_without_a_calibration_it_says_how_to_make_one(tmp_path):
    done = _plan(tmp_path, *RUSH)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"stampede: there is no calibration in {tmp_path / FILE}: run `stampede calibrate` first (about one minute)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--attempts", "0", "--in", "60", "--stock", "1"), "attempts must be from 1"),
        (("--attempts", "9", "--in", "0", "--stock", "1"), "more than 0 seconds"),
        (("--attempts", "9", "--in", "nan", "--stock", "1"), "more than 0 seconds"),
        (("--attempts", "9", "--in", "60", "--stock", "0"), "at least 1 unit"),
    ],
)
def test_an_absurd_rush_is_refused_with_words(data_dir, arguments, words):
    done = _plan(data_dir, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_another_machine_or_commit_is_a_warning(data_dir):
    stranger = {**machine.identity(), "processor": "Abacus 9000"}
    (data_dir / FILE).write_text(json.dumps(_document(machine=stranger, commit="0000000000")))
    done = _plan(data_dir, *RUSH)
    assert done.returncode == 0
    assert "processor was Abacus 9000" in done.stderr
    if machine.commit():  # an unpacked archive has none
        assert "it is of commit 0000000000" in done.stderr
    assert "Rung" in done.stdout


def test_the_same_machine_and_commit_is_none(data_dir):
    assert differences(read(data_dir / FILE)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "has schema None"),
        (json.dumps(_document(schema=SCHEMA + 1)), f"has schema {SCHEMA + 1}"),
        (json.dumps(_document(figures={})), "is incomplete"),
        (json.dumps(_document(figures=_document()["figures"] | {DRAIN: {"orders_per_s": _figure(0)}})), "incomplete"),
    ],
)
def test_a_broken_calibration_is_said(tmp_path, text, words):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StackError, match=words) as caught:
        read(tmp_path / FILE)
    assert "run `stampede calibrate` again" in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_an_ended_calibration_leaves_no_process_and_no_file(tmp_path: Path, number: signal.Signals) -> None:
    """By Ctrl-C, in order and with exit status 1; killed, by the kernel's word to the program it started."""
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stack.cli", "calibrate", "--data-dir", str(tmp_path / "data")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT_ROOT,
        env={**_environment(), "TMPDIR": str(tmp_path)},
    )
    family = []
    try:
        assert command.stdout is not None
        async with asyncio.timeout(_STARTED_S):
            while "sales are made" not in (line := (await command.stdout.readline()).decode()):
                assert line, "it ended before the platform was up"
        family = descendants(command.pid)
        assert {"postgres", "nginx"} <= {one.name for one in family}
        command.send_signal(number)
        assert await asyncio.wait_for(command.wait(), _STOPPED_S) == (1 if number is signal.SIGINT else -number)
        assert not await gone(family, _STOPPED_S)
        assert not (tmp_path / "data").exists()
        assert not list(tmp_path.glob("stampede-calibrate-*"))
    finally:
        if command.returncode is None:
            family += descendants(command.pid)
            command.kill()
            await command.wait()
            assert not await gone(family, _STOPPED_S)
