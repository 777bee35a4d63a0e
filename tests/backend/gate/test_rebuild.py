"""A lane's rebuild: cleared, refilled, reloaded; repeated without effect, and refused when another took its place."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from backend.gate import (
    REFILL_MAX,
    Claim,
    EntryId,
    GateAnswer,
    JournalBroken,
    LaneEntry,
    Outcome,
    Rebuild,
    Release,
    rebuild_under_way,
    surviving_entries,
    verify_chain,
)
from tests.support.lane import Lane, open_config

DONE, ALREADY, CONFLICT, STALE = (
    GateAnswer.DONE,
    GateAnswer.ALREADY,
    GateAnswer.CONFLICT,
    GateAnswer.STALE_GENERATION,
)


def _rebuild(lane: Lane, generation: int = 2, nonce: str = "n2") -> Rebuild:
    return Rebuild(lane.gate, lane.lane_id, generation=generation, nonce=nonce)


def _claim(shopper: UUID | None = None, seq: int = 1, *, quantity: int = 1, live: bool = True) -> Claim:
    return Claim(uuid4(), shopper or uuid4(), quantity, EntryId(1, seq), 1_700_000_000_000 + seq, live)


async def _begun(lane: Lane, units: int = 10) -> Rebuild:
    await lane.load(units)
    rebuild = _rebuild(lane)
    assert await rebuild.begin(EntryId(1, 0)) is DONE
    return rebuild


async def _finish(rebuild: Rebuild, units: int, held: int, **config: Any) -> GateAnswer:
    return await rebuild.finish(units=units, held=held, config=open_config(**config))


async def test_a_rebuilt_lane_is_what_the_ledger_says(lane: Lane) -> None:
    await lane.load(10)
    await lane.buy()
    rebuild = _rebuild(lane)
    assert await rebuild.begin(EntryId(1, 1)) is DONE
    one, two, ended = _claim(seq=1, quantity=2), _claim(seq=2), _claim(seq=3, live=False)
    also_of_one = _claim(one.shopper_id, seq=4)
    command = uuid4()
    assert await rebuild.refill([], {command: EntryId(1, 9)}) is DONE
    assert await rebuild.refill([one, also_of_one, two, ended]) is DONE
    assert await _finish(rebuild, 6, 4, per_shopper_limit=3) is DONE
    reading = await lane.gate.read(lane.lane_id)
    assert (reading.generation, reading.nonce, reading.seq) == (2, "n2", 0)
    assert (reading.available, reading.held, reading.allotment) == (6, 4, 10)
    assert (reading.fault, reading.applied, reading.journal_left) == ("rebuilt", None, 6)
    (genesis,) = await lane.journal()
    assert (genesis.entry_id, genesis.kind, genesis.cause, genesis.left) == (EntryId(2, 0), "load", "n2", 6)
    assert genesis.digest == genesis.expected_digest("") == reading.digest
    assert await rebuild_under_way(lane.gate, lane.lane_id) is None
    row = await lane.admin.hget(lane.keys.shoppers, one.shopper_id.hex)
    assert row.decode() == f"3 0 {one.reservation_id.hex},{also_of_one.reservation_id.hex}"
    assert await lane.admin.hget(lane.keys.shoppers, ended.shopper_id.hex) is None
    assert await lane.admin.hget(lane.keys.claims, ended.reservation_id.hex) == ended.row().encode()

    lane.generation = 2
    again = await lane.gate.adjust(lane.lane_id, cause=command, units=-1, generation=2)
    assert (again.answer, again.entry_id) == (ALREADY, EntryId(1, 9))
    assert (await lane.buy()).outcome is Outcome.PAUSED
    await lane.reconfigure(clear_fault=True, per_shopper_limit=3)
    assert (await lane.buy(one.shopper_id)).outcome is Outcome.LIMIT_REACHED
    assert (await lane.buy(two.shopper_id)).outcome is Outcome.RESERVED
    # A claim of the generation before is given back by its own entry.
    release = Release(uuid4(), two.reservation_id, EntryId(1, 2))
    (given,) = await lane.gate.release(lane.lane_id, [release], generation=2)
    assert (given.answer, given.available) == (DONE, 6)
    entries = await lane.journal()
    verify_chain(entries[0], entries[1:])


async def test_while_it_is_rebuilt_a_lane_answers_nobody_but_for_tickets(lane: Lane) -> None:
    rebuild = await _begun(lane)
    claim = _claim()
    await rebuild.refill([claim])
    assert await rebuild_under_way(lane.gate, lane.lane_id) == (2, "n2")
    before = await lane.everything()
    for generation in (1, 2):
        lane.generation = generation
        assert (await lane.buy()).outcome is Outcome.NOT_LOADED
        release = Release(uuid4(), claim.reservation_id, claim.entry_id)
        (given,) = await lane.gate.release(lane.lane_id, [release], generation=generation)
        assert given.answer is GateAnswer.NOT_LOADED
        adjusted = await lane.gate.adjust(lane.lane_id, cause=uuid4(), units=3, generation=generation)
        assert adjusted.answer is GateAnswer.NOT_LOADED
        assert await lane.gate.configure(lane.lane_id, lane.config, generation=generation) is GateAnswer.NOT_LOADED
        assert await lane.gate.latch(lane.lane_id, "drift", generation=generation) is GateAnswer.NOT_LOADED
        assert await lane.gate.publish_applied(lane.lane_id, EntryId(generation, 0)) is GateAnswer.NOT_LOADED
        assert (await lane.load(10)).answer is CONFLICT
    assert not (await lane.gate.read(lane.lane_id)).loaded
    attempt = lane.attempt(claim.shopper_id)
    attempt.reservation = claim.reservation_id.bytes
    (found,) = await lane.admit(attempt)
    assert (found.outcome, found.entry_id, found.at_ms) == (Outcome.REPLAYED, claim.entry_id, claim.at_ms)
    assert await lane.everything() == before


async def test_an_empty_lane_under_rebuild_is_not_loaded_either(lane: Lane) -> None:
    """Nothing but the rebuild's own key tells that it was begun."""
    assert await _rebuild(lane).begin(None) is DONE
    assert (await lane.load(10)).answer is CONFLICT
    assert (await lane.buy()).outcome is Outcome.NOT_LOADED


async def test_every_step_may_be_repeated(lane: Lane) -> None:
    rebuild = await _begun(lane)
    claims = [_claim(seq=n) for n in range(1, 4)]
    for _ in range(3):
        assert await rebuild.refill(claims) is DONE
        assert await rebuild.begin(EntryId(1, 0)) is ALREADY
    assert await _finish(rebuild, 7, 3) is DONE
    before = await lane.everything()
    assert await rebuild.begin(None) is ALREADY
    assert await rebuild.refill([_claim(seq=9)]) is ALREADY
    assert await _finish(rebuild, 7, 3) is ALREADY
    assert await lane.everything() == before


async def test_a_runner_that_was_overtaken_changes_nothing(lane: Lane) -> None:
    slow = await _begun(lane)
    await slow.refill([_claim()])
    fast = _rebuild(lane, 3, "n3")
    assert await fast.begin(None) is DONE
    assert await lane.admin.hlen(lane.keys.claims) == 0
    for finished in (False, True):
        if finished:
            assert await _finish(fast, 10, 0) is DONE
        before = await lane.everything()
        assert await slow.begin(EntryId(1, 0)) is STALE
        assert await slow.refill([_claim()]) is STALE
        assert await _finish(slow, 9, 1) is STALE
        assert await _rebuild(lane, 3, "other").begin(None) is STALE
        assert await lane.everything() == before


async def test_a_lane_that_went_on_is_not_cleared(lane: Lane) -> None:
    await lane.load(10)
    won = await lane.buy()
    before = await lane.everything()
    for newest in (None, EntryId(1, 0), EntryId(1, 2)):
        assert await _rebuild(lane).begin(newest) is CONFLICT
    assert await lane.everything() == before
    assert await _rebuild(lane).begin(won.entry_id) is DONE


async def test_a_rebuild_that_is_not_whole_is_not_finished(lane: Lane) -> None:
    rebuild = await _begun(lane)
    await rebuild.refill([_claim(), _claim(live=False, seq=2)])
    for held in (0, 2):
        assert await _finish(rebuild, 10 - held, held) is CONFLICT
    assert not (await lane.gate.read(lane.lane_id)).loaded
    assert await _finish(rebuild, 9, 1) is DONE


async def test_the_journal_before_is_put_aside_for_the_auditor(lane: Lane, admin: Redis) -> None:
    await lane.load(10)
    for _ in range(3):
        await lane.buy()
    before = await admin.xrange(lane.keys.journal)
    await _rebuild(lane).begin(EntryId(1, 3))
    assert await admin.exists(lane.keys.journal) == 0
    assert await admin.xrange(lane.keys.before(2)) == before


async def test_surviving_entries_come_in_pages_and_need_not_be_whole(lane: Lane, admin: Redis) -> None:
    await lane.load(10)
    for _ in range(4):
        await lane.buy()
    await admin.xdel(lane.keys.journal, "1-2")
    await admin.xadd(lane.keys.journal, {"kind": "reserve"}, id="1-7")
    found, unreadable, after = [], 0, EntryId(1, 0)
    while True:
        page = await surviving_entries(lane.gate, lane.lane_id, after=after, count=2)
        if page.last is None:
            break
        found += page.entries
        unreadable += page.unreadable
        after = page.last
    assert [one.entry_id.seq for one in found] == [1, 3, 4]
    assert unreadable == 1
    with pytest.raises(JournalBroken):
        await lane.gate.entries(lane.lane_id, start=EntryId(1, 5), count=10)


async def test_twenty_runners_at_once_make_one_lane(lane: Lane) -> None:
    await lane.load(10)
    claims = [_claim(seq=n) for n in range(1, 6)]

    async def run() -> None:
        rebuild = _rebuild(lane)
        await rebuild.begin(EntryId(1, 0))
        for claim in claims:
            await rebuild.refill([claim])
        await _finish(rebuild, 5, 5)

    await asyncio.gather(*(run() for _ in range(20)))
    reading = await lane.gate.read(lane.lane_id)
    assert (reading.generation, reading.available, reading.held) == (2, 5, 5)
    assert len(await lane.journal()) == 1


async def test_as_much_as_may_come_in_one_call_does(lane: Lane) -> None:
    rebuild = await _begun(lane, 5_000)
    shopper = uuid4()
    claims = [_claim(shopper, seq=n) for n in range(1, REFILL_MAX + 1)]
    assert await rebuild.refill(claims) is DONE
    assert await _finish(rebuild, 5_000 - REFILL_MAX, REFILL_MAX) is DONE
    row = await lane.admin.hget(lane.keys.shoppers, shopper.hex)
    assert row.startswith(f"{REFILL_MAX} 0 ".encode())


async def test_dropping_a_sale_drops_the_journals_put_aside(lane: Lane, admin: Redis) -> None:
    rebuild = await _begun(lane)
    await _finish(rebuild, 10, 0)
    assert await admin.exists(lane.keys.before(2)) == 1
    await lane.gate.drop(LaneEntry(lane.lane_id.item_id, uuid4(), "slug", "SKU"))
    assert await admin.keys("*") == []
