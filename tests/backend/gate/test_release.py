"""Units come back at most once for each reservation, and never above the allotment (I10)."""

import asyncio
from uuid import UUID, uuid4

import pytest

from backend.gate import Attempt, EntryId, GateAnswer, GateUnavailable, Outcome, Release, verify_chain
from tests.support.lane import Lane

pytestmark = pytest.mark.each_topology


async def _held(
    lane: Lane, shopper: UUID | None = None, quantity: int = 1, key: str = "key"
) -> tuple[Attempt, EntryId]:
    attempt = lane.attempt(shopper, key, quantity=quantity)
    (decision,) = await lane.admit(attempt)
    assert decision.entry_id is not None, decision
    return attempt, decision.entry_id


def _release(held: tuple[Attempt, EntryId], *, cause: UUID | None = None, forfeit: bool = False) -> Release:
    return Release(cause or uuid4(), held[0].reservation_id, held[1], forfeit)


async def _apply(lane: Lane, *releases: Release, generation: int = 1) -> list[str]:
    applied = await lane.gate.release(lane.lane_id, releases, generation=generation)
    return [one.answer for one in applied]


async def _figures(lane: Lane) -> tuple[int, int, int]:
    reading = await lane.gate.read(lane.lane_id)
    assert reading.available + reading.held == reading.allotment
    assert reading.journal_left == reading.available
    return reading.available, reading.held, reading.allotment


async def test_a_unit_comes_back_once_and_can_be_bought(lane: Lane) -> None:
    await lane.load(1)
    held = await _held(lane)
    release = _release(held)
    (done,) = await lane.gate.release(lane.lane_id, [release], generation=1)
    assert (done.answer, done.entry_id, done.available) == (GateAnswer.DONE, EntryId(1, 2), 1)
    before = await lane.everything()
    (again,) = await lane.gate.release(lane.lane_id, [release], generation=1)
    assert (again.answer, again.entry_id, again.available) == (GateAnswer.ALREADY, EntryId(1, 2), 1)
    assert await _apply(lane, _release(held)) == ["NOT_HELD"]  # another cause, the same claim
    assert await lane.everything() == before
    assert (await lane.buy()).outcome is Outcome.RESERVED
    assert await _figures(lane) == (0, 1, 1)


async def test_twice_in_one_batch_is_once(lane: Lane) -> None:
    await lane.load(5)
    held = await _held(lane)
    cause = uuid4()
    same_cause = [_release(held, cause=cause), _release(held, cause=cause)]
    assert await _apply(lane, *same_cause, _release(held)) == ["DONE", "ALREADY", "NOT_HELD"]
    assert await _figures(lane) == (5, 0, 5)
    assert len(await lane.journal()) == 3


async def test_many_callers_at_once_give_back_once(lane: Lane) -> None:
    await lane.load(5)
    held = [await _held(lane) for _ in range(4)]
    releases = [_release(one) for one in held]
    answers = await asyncio.gather(*(_apply(lane, *releases) for _ in range(20)))
    flat = sorted(answer for one in answers for answer in one)
    assert flat == ["ALREADY"] * 76 + ["DONE"] * 4
    assert await _figures(lane) == (5, 0, 5)


@pytest.mark.parametrize("entry", [EntryId(1, 2), EntryId(1, 0), EntryId(2, 1), EntryId(1, 999)])
async def test_another_entry_is_no_claim(lane: Lane, entry: EntryId) -> None:
    await lane.load(5)
    attempt, _ = await _held(lane)
    await _held(lane)
    before = await lane.everything()
    assert await _apply(lane, Release(uuid4(), attempt.reservation_id, entry)) == ["NOT_HELD"]
    assert await lane.everything() == before


async def test_an_unknown_reservation_is_no_claim(lane: Lane) -> None:
    await lane.load(5)
    await _held(lane)
    before = await lane.everything()
    assert await _apply(lane, Release(uuid4(), uuid4(), EntryId(1, 1))) == ["NOT_HELD"]
    assert await lane.everything() == before


async def test_never_above_the_allotment(lane: Lane) -> None:
    """Somebody has put the unit back by hand already."""
    await lane.load(5)
    held = await _held(lane)
    await lane.set_lane(available=5)
    before = await lane.everything()
    assert await _apply(lane, _release(held)) == ["NOT_ENOUGH"]
    assert await lane.everything() == before


async def test_the_shopper_may_buy_again_and_only_so_much(lane: Lane) -> None:
    await lane.load(9, per_shopper_limit=3)
    shopper = uuid4()
    two, one = await _held(lane, shopper, 2, "a"), await _held(lane, shopper, 1, "b")
    assert (await lane.buy(shopper, "c")).outcome is Outcome.LIMIT_REACHED
    await _apply(lane, _release(two))
    assert [claim[0] for claim in await lane.gate.claims_of(lane.lane_id, shopper)] == [one[0].reservation_id]
    assert (await lane.buy(shopper, "d", quantity=3)).outcome is Outcome.LIMIT_REACHED
    assert (await lane.buy(shopper, "d", quantity=2)).outcome is Outcome.RESERVED
    await _apply(lane, _release(one))
    assert await _figures(lane) == (7, 2, 9)


async def test_two_of_one_shopper_in_one_batch(lane: Lane) -> None:
    await lane.load(9, per_shopper_limit=3)
    shopper = uuid4()
    held = [await _held(lane, shopper, 1, key) for key in "abc"]
    assert await _apply(lane, _release(held[0]), _release(held[2])) == ["DONE", "DONE"]
    assert [claim[0] for claim in await lane.gate.claims_of(lane.lane_id, shopper)] == [held[1][0].reservation_id]
    await _apply(lane, _release(held[1]))
    assert await lane.gate.claims_of(lane.lane_id, shopper) == []
    units, tried, live = (await lane.admin.hget(lane.keys.shoppers, shopper.hex)).split(b" ")
    assert (units, live) == (b"0", b"")
    assert int(tried) > 0
    assert await _figures(lane) == (9, 0, 9)


async def test_a_forfeit_lowers_the_count_and_gives_nothing_back(lane: Lane) -> None:
    await lane.load(5)
    shopper = uuid4()
    held = await _held(lane, shopper)
    release = _release(held, forfeit=True)
    assert await _apply(lane, release, release) == ["DONE", "ALREADY"]
    assert await _figures(lane) == (4, 0, 4)
    entry = (await lane.journal())[-1]
    assert (entry.kind, entry.quantity, entry.left) == ("release", 0, 4)
    assert (await lane.buy(shopper, "again")).outcome is Outcome.RESERVED


async def test_releases_stand_in_the_chain(lane: Lane) -> None:
    await lane.load(9)
    held = [await _held(lane) for _ in range(4)]
    await _apply(lane, *(_release(one) for one in held[:3]))
    await lane.buy()
    await _apply(lane, _release(held[3], forfeit=True))
    entries = await lane.journal()
    verify_chain(entries[0], entries[1:])
    assert [entry.kind for entry in entries] == ["load"] + ["reserve"] * 4 + ["release"] * 3 + ["reserve", "release"]
    assert await lane.lane_field("digest") == entries[-1].digest


async def test_it_works_while_paused_ended_and_faulty(lane: Lane) -> None:
    await lane.load(5)
    held = await _held(lane)
    await lane.reconfigure(paused=True, closes_at_ms=1)
    await lane.gate.latch(lane.lane_id, "drift", generation=1)
    assert await _apply(lane, _release(held)) == ["DONE"]
    assert await _figures(lane) == (5, 0, 5)


async def test_another_generation_is_refused_whole(lane: Lane) -> None:
    await lane.load(5)
    held = await _held(lane)
    before = await lane.everything()
    assert await _apply(lane, _release(held), _release(held), generation=2) == ["STALE_GENERATION"] * 2
    assert await lane.everything() == before


@pytest.mark.parametrize("key", ["journal", "claims", "shoppers", "causes"])
async def test_a_key_of_the_wrong_type_stops_it_before_the_first_write(lane: Lane, key: str) -> None:
    await lane.load(5)
    held = await _held(lane)
    broken = getattr(lane.keys, key)
    await lane.admin.delete(broken)
    await lane.admin.rpush(broken, "a list")
    before = await lane.everything()
    with pytest.raises(GateUnavailable, match="WRONGTYPE"):
        await _apply(lane, _release(held))
    assert await lane.everything() == before
