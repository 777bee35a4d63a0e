"""Micro-batching: order, one round trip for who waits together, bounded queues, and nobody left waiting."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from backend.gate import Admission, Batch, Gate, GateUnavailable, Outcome, Overloaded
from backend.gate import admission as admission_module
from backend.gate.store import Store
from stack.servers import GateServer
from tests.support.lane import Lane


class CountingGate(Gate):
    """The real gate, counting its calls; each waits while ``held``."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.sizes: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    async def admit(self, lane_id: Any, attempts: Any, **knowledge: Any) -> Batch:
        self.sizes.append(len(attempts))
        await self.open.wait()
        return await super().admit(lane_id, attempts, **knowledge)


@pytest.fixture
def counting(gate: Gate) -> CountingGate:
    return CountingGate(gate.store)


@pytest_asyncio.fixture(loop_scope="session")
async def closed_port() -> AsyncIterator[str]:
    """An address where nothing listens."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    yield f"redis://127.0.0.1:{port}/0"


async def test_an_idle_lane_asks_at_once_and_a_busy_one_together(lane: Lane, counting: CountingGate) -> None:
    await lane.load(1_000)
    admission = Admission(counting).lane(lane.lane_id)
    await admission.submit(lane.attempt())
    assert counting.sizes == [1, 1]  # the first learned the generation
    counting.sizes.clear()
    counting.open.clear()
    futures = [admission.submit(lane.attempt())]
    await asyncio.sleep(0)
    futures += [admission.submit(lane.attempt()) for _ in range(600)]
    counting.open.set()
    decisions = await asyncio.gather(*futures)
    assert counting.sizes == [1, 256, 256, 88]
    entries = [one.entry_id.seq for one in decisions if one.entry_id]
    assert entries == list(range(2, 603)), "first come, first served"


async def test_the_first_call_learns_the_generation_and_asks_again_once(lane: Lane, counting: CountingGate) -> None:
    lane.generation = 5
    await lane.load(10)
    admission = Admission(counting).lane(lane.lane_id)
    decision = await admission.submit(lane.attempt())
    assert decision.outcome is Outcome.RESERVED
    assert (admission.generation, admission.seen_seq) == (5, 1)
    assert counting.sizes == [1, 1]
    assert (await lane.gate.read(lane.lane_id)).outcomes == {"RESERVED": 1}


async def test_a_retry_keeps_the_order_of_answers(lane: Lane, counting: CountingGate) -> None:
    await lane.load(10)
    winner = lane.attempt()
    (won,) = await lane.admit(winner)
    admission = Admission(counting).lane(lane.lane_id)
    attempts = [lane.attempt(), winner, lane.attempt()]
    decisions = await asyncio.gather(*(admission.submit(one) for one in attempts))
    assert [one.outcome for one in decisions] == ["RESERVED", "REPLAYED", "RESERVED"]
    assert decisions[1].entry_id == won.entry_id
    assert counting.sizes == [3, 2]


async def test_a_gate_that_is_always_newer_is_asked_twice_at_most(lane: Lane, counting: CountingGate) -> None:
    await lane.load(10)
    admission = Admission(counting).lane(lane.lane_id)

    class AlwaysRebuilt(CountingGate):
        async def admit(self, lane_id: Any, attempts: Any, **knowledge: Any) -> Batch:
            return await super().admit(lane_id, attempts, **{**knowledge, "generation": 0})

    admission = Admission(AlwaysRebuilt(lane.gate.store)).lane(lane.lane_id)
    decision = await asyncio.wait_for(admission.submit(lane.attempt()), 10)
    assert decision.outcome is Outcome.STALE_GENERATION


async def test_it_remembers_the_highest_entry_and_finds_a_lost_tail(lane: Lane) -> None:
    await lane.load(10)
    here, elsewhere = Admission(lane.gate).lane(lane.lane_id), Admission(lane.gate).lane(lane.lane_id)
    await here.submit(lane.attempt())
    await elsewhere.submit(lane.attempt())
    old = await lane.snapshot()
    await here.submit(lane.attempt())
    assert (here.seen_seq, elsewhere.seen_seq) == (3, 2)
    await lane.fail_over_to(old)
    assert (await here.submit(lane.attempt())).outcome is Outcome.REGRESSED
    assert here.seen_seq == 3  # a gate that lost history teaches nothing
    assert (await elsewhere.submit(lane.attempt())).outcome is Outcome.PAUSED
    assert await lane.lane_field("available") == "8"


async def test_unavailability_fails_everybody_who_waits_at_once(lane: Lane, closed_port: str) -> None:
    dead = CountingGate(Store(closed_port, timeout_s=2.0, name="dead"))
    admission = Admission(dead).lane(lane.lane_id)
    dead.open.clear()
    futures = [admission.submit(lane.attempt()) for _ in range(700)]
    await asyncio.sleep(0)
    dead.open.set()
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(one) for one in answers} == {GateUnavailable}
    assert dead.sizes == [256], "who waits behind would only wait for the same time-out again"
    with pytest.raises(GateUnavailable):
        await admission.submit(lane.attempt())
    assert len(dead.sizes) == 2
    await dead.close()


async def test_an_answer_that_cannot_be_read_leaves_nobody_waiting(lane: Lane, counting: CountingGate) -> None:
    """A newer script's outcome, a broken reply: an error for who asked, and the lane goes on."""
    await lane.load(10)

    class Broken(CountingGate):
        async def admit(self, lane_id: Any, attempts: Any, **knowledge: Any) -> Batch:
            if len(self.sizes) == 0:
                self.sizes.append(len(attempts))
                await asyncio.sleep(0)
                raise ValueError("'TELEPORTED' is not a valid Outcome")
            return await super().admit(lane_id, attempts, **knowledge)

    admission = Admission(Broken(lane.gate.store)).lane(lane.lane_id)
    futures = [admission.submit(lane.attempt()) for _ in range(300)]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(one) for one in answers} == {GateUnavailable}  # carried out or not: ask again
    assert (await admission.submit(lane.attempt())).outcome is Outcome.RESERVED


async def test_a_client_that_has_gone_harms_nobody(lane: Lane, counting: CountingGate) -> None:
    await lane.load(10)
    admission = Admission(counting).lane(lane.lane_id)
    counting.open.clear()
    gone, stays = admission.submit(lane.attempt()), admission.submit(lane.attempt())
    await asyncio.sleep(0)
    gone.cancel()
    counting.open.set()
    assert (await stays).outcome is Outcome.RESERVED
    # The one who went was decided all the same: its retry finds the ticket.
    assert await lane.lane_field("available") == "8"


async def test_more_than_fits_is_refused_at_once(
    lane: Lane, counting: CountingGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_module, "WAITING_MAX", 10)
    await lane.load(100)
    admission = Admission(counting).lane(lane.lane_id)
    counting.open.clear()
    futures = [admission.submit(lane.attempt()) for _ in range(10)]
    with pytest.raises(Overloaded):
        admission.submit(lane.attempt())
    counting.open.set()
    assert {one.outcome for one in await asyncio.gather(*futures)} == {Outcome.RESERVED}
    assert await lane.lane_field("available") == "90"


async def test_forged_links_are_counted_with_the_next_batch_or_after_a_moment(
    lane: Lane, counting: CountingGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_module, "FORGED_FLUSH_S", 0.05)
    await lane.load(100)
    admission = Admission(counting).lane(lane.lane_id)
    for _ in range(3):
        admission.count_forged()
    await admission.submit(lane.attempt())
    assert (await lane.gate.read(lane.lane_id)).outcomes == {"LINK_INVALID": 3, "RESERVED": 1}
    calls = len(counting.sizes)
    for _ in range(4):
        admission.count_forged()
    async with asyncio.timeout(10):
        while (await lane.gate.read(lane.lane_id)).outcomes["LINK_INVALID"] < 7:
            await asyncio.sleep(0.02)
    assert counting.sizes[calls:] == [0]
    await asyncio.sleep(0.2)
    assert counting.sizes[calls:] == [0], "nothing to tell, nothing sent"


async def test_a_restarted_server_is_told_the_scripts_again(lane: Lane, gate_server: GateServer) -> None:
    await lane.load(10)
    admission = Admission(lane.gate).lane(lane.lane_id)
    await admission.submit(lane.attempt())
    await lane.admin.script_flush()
    answers = await asyncio.gather(*(admission.submit(lane.attempt()) for _ in range(3)))
    assert {one.outcome for one in answers} == {Outcome.RESERVED}
    assert await lane.lane_field("available") == "6"


async def test_each_lane_has_its_own_queue(gate: Gate, lane: Lane) -> None:
    admission = Admission(gate)
    assert admission.lane(lane.lane_id) is admission.lane(lane.lane_id)
    other = Lane(gate, lane.admin)
    assert admission.lane(other.lane_id) is not admission.lane(lane.lane_id)
    await lane.load(1)
    answers = await asyncio.gather(
        admission.lane(lane.lane_id).submit(lane.attempt(uuid4())),
        admission.lane(other.lane_id).submit(other.attempt(uuid4())),
    )
    assert [one.outcome for one in answers] == ["RESERVED", "NOT_LOADED"]
