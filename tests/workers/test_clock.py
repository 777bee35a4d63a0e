"""The clock only enqueues; two of them are harmless; and it ticks on when the stores are down."""

import asyncio
import time
from collections import Counter

import pytest
import pytest_asyncio

from backend.gate import Gate
from backend.jobs import ALL, Job, contracts
from workers.clock import EVERY_S, Clock


class Nudges:
    """Takes what a clock sends; ``down`` answers as a broker that is not there."""

    def __init__(self, *, down: bool = False) -> None:
        self.sent: list[str] = []
        self.down = down

    async def __call__(self, job: Job, *args: str | int) -> bool:
        self.sent.append(job.name)
        return not self.down


@pytest_asyncio.fixture(loop_scope="session")
async def gate(gate_url: str):
    gate = Gate.connect(gate_url, timeout_s=10.0, name="tests")
    yield gate
    await gate.close()


@pytest_asyncio.fixture(loop_scope="session")
async def dead_gate():
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    gate = Gate.connect(f"redis://127.0.0.1:{port}/0", timeout_s=1.0, name="tests")
    yield gate
    await gate.close()


def _due(seconds: range) -> Counter[str]:
    return Counter(job.name for job, every in EVERY_S.items() for second in seconds if second % every == 0)


def test_everything_but_what_a_person_asks_for_is_ticked() -> None:
    assert set(EVERY_S) == set(ALL) - {contracts.PUBLISH}
    assert EVERY_S[contracts.DRAIN] == EVERY_S[contracts.RELAY] == EVERY_S[contracts.EXPIRE] == 1
    assert all(1 <= every <= 5 for every in EVERY_S.values())


async def test_each_job_is_sent_once_in_each_of_its_slots(gate: Gate) -> None:
    nudges = Nudges()
    clock = Clock(gate, nudges)
    for second in range(1_000, 1_010):
        sent = await clock.tick(second)
        assert {job for job, every in EVERY_S.items() if second % every == 0} == set(sent)
    assert Counter(nudges.sent) == _due(range(1_000, 1_010))


async def test_twenty_clocks_send_what_one_would(gate: Gate) -> None:
    nudges = Nudges()
    clocks = [Clock(gate, nudges) for _ in range(20)]
    for second in (2_000, 2_001):
        await asyncio.gather(*(clock.tick(second) for clock in clocks))
    assert Counter(nudges.sent) == _due(range(2_000, 2_002))


async def test_a_clock_that_was_frozen_sends_nothing_for_slots_that_were_taken(gate: Gate) -> None:
    awake, frozen = Nudges(), Nudges()
    await Clock(gate, awake).tick(3_000)
    assert await Clock(gate, frozen).tick(3_000) == []
    assert frozen.sent == []


async def test_without_the_store_of_the_slots_it_ticks_all_the_same(dead_gate: Gate) -> None:
    nudges = Nudges()
    await asyncio.gather(*(Clock(dead_gate, nudges).tick(4_000) for _ in range(2)))
    assert Counter(nudges.sent) == Counter({name: 2 * n for name, n in _due(range(4_000, 4_001)).items()})


async def test_a_broker_that_is_down_is_asked_once_a_tick(gate: Gate) -> None:
    nudges = Nudges(down=True)
    clock = Clock(gate, nudges)
    await clock.tick(5_000)
    assert len(nudges.sent) == 1
    nudges.down = False
    await clock.tick(5_001)
    assert Counter(nudges.sent[1:]) == _due(range(5_001, 5_002))


async def test_it_runs_until_told_to_stop(gate: Gate) -> None:
    nudges = Nudges()
    stopping = asyncio.Event()
    first = int(time.time())
    running = asyncio.create_task(Clock(gate, nudges).run(stopping))
    async with asyncio.timeout(30):
        while nudges.sent.count("orders.drain") < 2:
            await asyncio.sleep(0.02)
        stopping.set()
        await running
    assert nudges.sent.count("orders.drain") <= int(time.time()) - first + 1
    assert nudges.sent.count("orders.drain") == nudges.sent.count("gate.relay")


@pytest.mark.parametrize("job", [job for job in ALL if job is not contracts.PUBLISH], ids=lambda job: job.name)
def test_a_nudge_outlives_its_interval_and_not_much_more(job: Job) -> None:
    assert job.max_age_ms is not None
    assert EVERY_S[job] * 1_000 < job.max_age_ms <= 10_000
