"""CPU time of real processes: at least what they say of themselves, their children's included."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stack.cost import Cost, ProcessGone, cpu_us, process_tree, rss_bytes

BURN_S = 0.15
_BURN = f"""
import time
while time.process_time() < {BURN_S}:
    pass
"""
_BURNER = f"""
import sys
for line in sys.stdin:
    exec({_BURN!r})
    print("burnt", flush=True)
"""
_PARENT = f"""
import subprocess, sys
for line in sys.stdin:
    subprocess.run([sys.executable, "-c", {_BURN!r}], check=True)
    print("burnt", flush=True)
"""


@contextmanager
def _process(code: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _ask(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("burn\n")
    process.stdin.flush()
    assert process.stdout.readline() == "burnt\n"


def test_a_busy_process_costs_what_it_burns_and_more_than_an_idle_one():
    with _process(_BURNER) as busy, _process(_BURNER) as idle:
        with Cost({"busy": [busy.pid], "idle": [idle.pid], "both": [busy.pid, idle.pid]}) as cost:
            _ask(busy)
        # It burns until its own clock says so, of which its start had a part.
        assert cpu_us(busy.pid) >= BURN_S * 1e6
        assert cost.us["busy"] > cost.us["idle"]
        assert cost.us["both"] >= cost.us["busy"]
        assert cost.total_us(without=["both", "idle"]) == cost.us["busy"]


def test_children_that_have_ended_are_counted_with_their_parent():
    with _process(_PARENT) as parent:
        with Cost({"parent": [parent.pid]}) as cost:
            _ask(parent)
        # cutime counts in ticks of 10 ms, rounded down twice.
        assert cost.us["parent"] >= (BURN_S - 0.02) * 1e6


def test_a_tree_has_its_children():
    with _process("import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])") as parent:
        tree = process_tree(parent.pid)
        while len(tree) < 2:
            tree = process_tree(parent.pid)
        assert tree[0] == parent.pid
        assert rss_bytes(tree[1]) > 0


def test_a_process_that_has_ended_has_no_cost():
    with _process("input()") as process:
        pid = process.pid
        cost = Cost({"gone": [pid]})
        cost.__enter__()
        process.kill()
        process.wait()
        with pytest.raises(ProcessGone):
            cost.__exit__(None, None, None)
    with pytest.raises(ProcessGone):
        rss_bytes(pid)
