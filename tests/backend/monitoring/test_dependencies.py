"""Broker, workers and clock, by what their processes said last."""

import pytest

from backend.gate import Heartbeat, Heartbeats
from backend.gate.heartbeats import FORGET_AFTER_MS
from backend.gate.keys import HEARTBEATS
from backend.monitoring.dependencies import judge
from tests.support.lane import Lane

LATE = 7_000


def clock(said: str, age_ms: int = 0) -> Heartbeat:
    return Heartbeat("clock", age_ms, said)


def worker(idle_s: int, age_ms: int = 0) -> Heartbeat:
    return Heartbeat("worker", age_ms, str(idle_s))


@pytest.mark.parametrize(
    ("beats", "broker", "workers", "clocks"),
    [
        ([], "unknown", "down", "down"),
        ([clock("up"), worker(0)], "up", "up", "up"),
        ([clock("up", LATE), worker(0, LATE)], "unknown", "down", "down"),
        ([clock("up"), clock(""), worker(0), worker(60)], "up", "up", "up"),
        ([clock("up"), clock("down"), worker(0)], "down", "up", "up"),
        ([clock("up"), worker(11), worker(12)], "up", "slow", "up"),
        # Without a clock or a broker there are no jobs, which is not the workers' fault.
        ([worker(60)], "unknown", "up", "down"),
        ([clock("down"), worker(60)], "down", "up", "up"),
        ([clock("down", LATE), clock("up"), worker(0)], "up", "up", "up"),
    ],
)
def test_the_judgement(beats: list[Heartbeat], broker: str, workers: str, clocks: str) -> None:
    assert judge(beats) == {"broker": broker, "workers": workers, "clock": clocks}


async def test_a_heartbeat_is_as_old_as_the_gates_clock_says_and_is_forgotten(lane: Lane) -> None:
    heartbeats = Heartbeats(lane.gate)
    assert await heartbeats.read() == []
    await heartbeats.beat("worker", "a", "3")
    await heartbeats.beat("clock", "b")
    await heartbeats.beat("worker", "a", "5")
    found = {(one.kind, one.said): one.age_ms for one in await heartbeats.read()}
    assert found.keys() == {("worker", "5"), ("clock", "")}
    assert all(0 <= age < FORGET_AFTER_MS for age in found.values())
    long_ago = int((await lane.gate.now_ms()) - FORGET_AFTER_MS - 1_000)
    await lane.admin.hset(HEARTBEATS, "worker:gone", f"{long_ago} 0")
    assert {one.kind for one in await heartbeats.read()} == {"worker", "clock"}
    assert len(await heartbeats.read()) == 2, "nobody waits for one that was taken away"
    await heartbeats.beat("worker", "a", "6")
    assert not await lane.admin.hexists(HEARTBEATS, "worker:gone")
