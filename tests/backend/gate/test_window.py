"""A sale opens and closes by Redis TIME, held to the highest time ever seen, whatever other clocks say (I13)."""

import asyncio

from backend.gate import Outcome
from tests.support.lane import HOUR_MS, Lane, now_ms


async def test_nothing_before_the_opening_and_nothing_after_the_end(lane: Lane) -> None:
    opens = now_ms() + 300
    await lane.load(100, opens_at_ms=opens, closes_at_ms=opens + 300)
    seen = set()
    while True:
        batch = await lane.batch([lane.attempt()])
        (decision,) = batch.decisions
        seen.add(decision.outcome)
        if decision.outcome is Outcome.NOT_OPEN:
            assert batch.now_ms < opens
            assert decision.retry_after_ms == opens - batch.now_ms
        elif decision.outcome is Outcome.RESERVED:
            assert opens <= batch.now_ms < opens + 300
            assert decision.at_ms == batch.now_ms
        else:
            assert decision.outcome is Outcome.ENDED
            assert batch.now_ms >= opens + 300
            break
        await asyncio.sleep(0.02)
    assert {Outcome.NOT_OPEN, Outcome.ENDED} <= seen
    taken = [entry for entry in await lane.journal() if entry.kind == "reserve"]
    assert all(opens <= entry.at_ms < opens + 300 for entry in taken)


async def test_a_clock_that_goes_back_neither_closes_again_nor_reopens(lane: Lane) -> None:
    """The lane has once seen a time two hours from now: as if the store's clock had been ahead and came back."""
    await lane.load(5, opens_at_ms=now_ms() + HOUR_MS, closes_at_ms=now_ms() + 3 * HOUR_MS)
    assert (await lane.buy()).outcome is Outcome.NOT_OPEN
    await lane.set_lane(clock=now_ms() + 2 * HOUR_MS)
    assert (await lane.buy()).outcome is Outcome.RESERVED
    await lane.set_lane(clock=now_ms() + 4 * HOUR_MS)
    assert (await lane.buy()).outcome is Outcome.ENDED
    assert await lane.lane_field("available") == "4"


async def test_the_highest_time_seen_is_kept(lane: Lane) -> None:
    ahead = now_ms() + 2 * HOUR_MS
    await lane.load(5, closes_at_ms=now_ms() + 3 * HOUR_MS)
    await lane.set_lane(clock=ahead)
    assert (await lane.buy()).outcome is Outcome.RESERVED
    assert await lane.lane_field("clock") == str(ahead)


async def test_refusals_keep_the_time_too(lane: Lane) -> None:
    """A sale that nobody could buy from must not open twice either."""
    await lane.load(0)
    batch = await lane.batch([lane.attempt()])
    assert batch.decisions[0].outcome is Outcome.SOLD_OUT
    assert await lane.lane_field("clock") == str(batch.now_ms)


async def test_crossing_the_opening_is_kept_exactly(lane: Lane) -> None:
    await lane.load(0)
    now = (await lane.batch([lane.attempt()])).now_ms
    # The last kept time is less than a second old and lies just before the opening.
    await lane.set_config(opens_at_ms=now - 10)
    await lane.set_lane(clock=now - 20)
    batch = await lane.batch([lane.attempt()])
    assert batch.decisions[0].outcome is Outcome.SOLD_OUT
    assert await lane.lane_field("clock") == str(batch.now_ms)


async def test_a_resume_after_a_clock_alarm_resets_the_highest_time(lane: Lane) -> None:
    await lane.load(5)
    await lane.set_lane(clock=now_ms() + 2 * HOUR_MS)
    await lane.gate.latch(lane.lane_id, "clock", generation=1)
    assert (await lane.buy()).outcome is Outcome.PAUSED
    await lane.reconfigure()
    assert (await lane.buy()).outcome is Outcome.PAUSED  # the config tick does not undo it
    await lane.reconfigure(clear_fault=True)
    assert (await lane.buy()).outcome is Outcome.RESERVED


async def test_a_retired_epoch_buys_until_its_overlap_is_over(lane: Lane) -> None:
    await lane.load(5, accepted_epochs={1: now_ms() + HOUR_MS, 2: None}, link_epoch=2)
    assert [(await lane.buy(epoch=epoch)).outcome for epoch in (1, 2, 3)] == ["RESERVED", "RESERVED", "LINK_REVOKED"]
    await lane.reconfigure(accepted_epochs={1: now_ms() - 1, 2: None})
    assert (await lane.buy(epoch=1)).outcome is Outcome.LINK_REVOKED
    assert await lane.lane_field("available") == "3"
