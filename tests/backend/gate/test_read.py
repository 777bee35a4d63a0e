"""Readings, outcomes over time, the directory and the clock's slots."""

import asyncio
from uuid import uuid4

import pytest

from backend.gate import EntryId, Gate, LaneEntry, LaneId, LaneKeys
from tests.support.lane import Lane

pytestmark = pytest.mark.each_topology


async def test_a_reading_is_one_instant_and_changes_nothing(lane: Lane) -> None:
    await lane.load(5)
    first = await lane.buy()
    await lane.buy()
    await lane.gate.publish_applied(lane.lane_id, first.entry_id)
    before = await lane.everything()
    reading = await lane.gate.read(lane.lane_id, cursor=first.entry_id)
    assert await lane.everything() == before
    entries = await lane.journal()
    assert (reading.loaded, reading.generation, reading.seq, reading.last) == (True, 1, 2, EntryId(1, 2))
    assert (reading.available, reading.held, reading.allotment, reading.journal_left) == (3, 2, 5, 3)
    assert (reading.cursor_left, reading.cursor_digest) == (4, entries[1].digest)
    assert (reading.digest, reading.nonce, reading.fault) == (entries[2].digest, lane.nonce, "")
    assert reading.applied == first.entry_id
    assert reading.outcomes == {"RESERVED": 2}
    assert (reading.opens_at_ms, reading.closes_at_ms) == (lane.config.opens_at_ms, lane.config.closes_at_ms)
    missing = await lane.gate.read(lane.lane_id, cursor=EntryId(1, 99))
    assert (missing.cursor_left, missing.cursor_digest) == (None, None)


async def test_counts_are_exact_and_the_series_adds_up_to_them(lane: Lane) -> None:
    await lane.load(40, per_shopper_limit=1)
    start_s = (await lane.gate.now_ms()) // 1000
    while (await lane.gate.now_ms()) // 1000 < start_s + 2:
        await lane.admit(*(lane.attempt() for _ in range(3)), forged=2)
        await asyncio.sleep(0.1)
    reading = await lane.gate.read(lane.lane_id)
    total = sum(reading.outcomes.values())
    calls = reading.outcomes["LINK_INVALID"] // 2
    assert total == calls * 5
    assert reading.outcomes["RESERVED"] == min(40, calls * 3)
    series = await lane.gate.series(lane.lane_id, since_s=start_s)
    seconds = [second for second, _ in series]
    assert seconds == sorted(set(seconds))
    assert len(seconds) >= 2
    summed: dict[str, int] = {}
    for _, outcomes in series:
        for name, count in outcomes.items():
            summed[name] = summed.get(name, 0) + count
    assert summed == reading.outcomes
    # A later start gives the same seconds, not sums from the beginning of time.
    assert await lane.gate.series(lane.lane_id, since_s=seconds[-1]) == series[-1:]
    assert await lane.gate.series(lane.lane_id, since_s=seconds[-1] + 1) == []


async def test_refused_alone_is_counted(lane: Lane) -> None:
    await lane.load(5)
    batch = await lane.batch([], forged=3)
    assert (batch.decisions, batch.last) == ([], EntryId(1, 0))
    assert (await lane.gate.read(lane.lane_id)).outcomes == {"LINK_INVALID": 3}


async def test_waiting_for_entries(lane: Lane) -> None:
    gate, lane_id = lane.gate, lane.lane_id
    quiet = LaneId(uuid4())
    after = {lane_id: EntryId(1, -1), quiet: EntryId(1, -1)}
    assert await gate.wait_for_entries(after, block_ms=10) == set()
    await lane.load(5)
    assert await gate.wait_for_entries(after, block_ms=10) == {lane_id}
    after[lane_id] = EntryId(1, 0)
    assert await gate.wait_for_entries(after, block_ms=10) == set()
    waiting = asyncio.create_task(gate.wait_for_entries(after, block_ms=5_000))
    await lane.buy()
    assert await waiting == {lane_id}


async def test_the_directory(gate: Gate, lane: Lane) -> None:
    await lane.load(5)
    await lane.buy()
    one = LaneEntry(lane.lane_id.item_id, uuid4(), "friday-tee", 'TEE "M" {x}', 1)
    other = LaneEntry(uuid4(), uuid4(), "other", "ß")
    for entry in (one, other, one):
        await gate.enter(entry)
    assert await gate.directory() == {one.item_id: one, other.item_id: other}
    await gate.drop(one)
    assert await gate.directory() == {other.item_id: other}
    assert await lane.admin.exists(*LaneKeys(lane.lane_id).all()) == 0


async def test_a_slot_of_the_clock_is_taken_once(gate: Gate, lane: Lane) -> None:
    taken = await asyncio.gather(*(gate.take_slots(["a:1", "b:1"], f"clock {n}", ttl_ms=60_000) for n in range(10)))
    assert sorted(one for one, _ in taken) == sorted(two for _, two in taken) == [False] * 9 + [True]
    assert await gate.take_slots(["a:2", "a:1"], "me", ttl_ms=60_000) == [True, False]
    assert 0 < await lane.admin.pttl("stampede:clock:a:1") <= 60_000


async def test_fitness_of_the_stacks_own_store(gate: Gate, lane: Lane) -> None:
    assert await gate.fitness() == []
    async with lane.store_setting("maxmemory-policy", "allkeys-lru"):
        assert any("noeviction" in fault for fault in await gate.fitness())
