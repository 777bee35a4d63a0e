"""Stock that is not there is never "sold out", and nothing but ``load`` puts it there; a gate that lost history
stops; a rebuilt one is found by its generation."""

from uuid import uuid4

import pytest

from backend.gate import EntryId, GateAnswer, Outcome, Release
from tests.support.lane import Lane, open_config


async def test_an_empty_store_answers_not_loaded_and_stays_empty(lane: Lane) -> None:
    attempts = [lane.attempt() for _ in range(3)]
    batch = await lane.batch(attempts, generation=0)
    assert [one.outcome for one in batch.decisions] == [Outcome.NOT_LOADED] * 3
    assert batch.last == EntryId(0, -1)
    reading = await lane.gate.read(lane.lane_id)
    assert not reading.loaded
    assert await lane.gate.secrets(lane.lane_id) == {}
    assert await lane.gate.claims_of(lane.lane_id, uuid4()) == []
    assert await lane.gate.applied(lane.lane_id) is None
    release = Release(uuid4(), uuid4(), EntryId(1, 1))
    (released,) = await lane.gate.release(lane.lane_id, [release], generation=1)
    assert released.answer is GateAnswer.NOT_LOADED
    adjusted = await lane.gate.adjust(lane.lane_id, cause=uuid4(), units=5, generation=1)
    assert adjusted.answer is GateAnswer.NOT_LOADED
    assert await lane.gate.configure(lane.lane_id, open_config(), generation=1) is GateAnswer.NOT_LOADED
    assert await lane.gate.publish_applied(lane.lane_id, EntryId(1, 1)) is GateAnswer.NOT_LOADED
    assert await lane.admin.keys("*") == []


@pytest.mark.parametrize("lost", ["config", "lane"])
async def test_half_a_lane_is_not_loaded(lane: Lane, lost: str) -> None:
    await lane.load(5)
    await lane.admin.delete(getattr(lane.keys, lost))
    before = await lane.contents()
    assert (await lane.buy()).outcome is Outcome.NOT_LOADED
    assert not (await lane.gate.read(lane.lane_id)).loaded
    assert await lane.contents() == before


async def test_lost_history_latches_and_takes_no_unit(lane: Lane) -> None:
    await lane.load(5, per_shopper_limit=5)
    for _ in range(2):
        await lane.buy()
    old = await lane.snapshot()
    lost = await lane.buy()
    await lane.fail_over_to(old)
    before = await lane.contents()
    batch = await lane.batch([lane.attempt(), lane.attempt()], seen=lost.entry_id.seq)
    assert [one.outcome for one in batch.decisions] == [Outcome.REGRESSED] * 2
    after = await lane.contents()
    assert after[lane.keys.lane].pop(b"fault") == b"regressed"
    assert before[lane.keys.lane].pop(b"fault") == b""
    assert after == before
    # Everybody is stopped now, also who never saw the lost entry.
    assert (await lane.buy()).outcome is Outcome.PAUSED


async def test_a_gate_of_an_older_generation_has_lost_history(lane: Lane) -> None:
    await lane.load(5)
    (decision,) = await lane.admit(lane.attempt(), generation=2)
    assert decision.outcome is Outcome.REGRESSED
    assert await lane.lane_field("fault") == "regressed"
    assert await lane.lane_field("available") == "5"


async def test_the_same_height_is_no_regression(lane: Lane) -> None:
    await lane.load(5)
    first = await lane.buy()
    (second,) = await lane.admit(lane.attempt(), seen=first.entry_id.seq)
    assert second.outcome is Outcome.RESERVED


async def test_a_caller_of_an_older_generation_is_told_and_nothing_else_happens(lane: Lane) -> None:
    lane.generation = 3
    await lane.load(5)
    before = await lane.everything()
    batch = await lane.batch([lane.attempt()], generation=2, seen=500)
    assert batch.decisions[0].outcome is Outcome.STALE_GENERATION
    assert batch.last == EntryId(3, 0)
    after = await lane.everything()
    counts = lane.keys.counts.encode()
    assert {key for key in after if after[key] != before.get(key)} <= {counts, lane.keys.lane.encode()}
    assert await lane.lane_field("available") == "5"


async def test_a_first_fault_stays(lane: Lane) -> None:
    await lane.load(5)
    await lane.gate.latch(lane.lane_id, "drift", generation=1)
    await lane.admit(lane.attempt(), seen=100)
    assert await lane.lane_field("fault") == "drift"
