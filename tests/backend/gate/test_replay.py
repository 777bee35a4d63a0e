"""An attempt that was accepted is answered with the same ticket, whatever else holds (I4, I7)."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from backend.gate import Outcome, Release
from tests.support.lane import HOUR_MS, Lane, now_ms

HARMS = ["paused", "ended", "not open", "fault", "sold out", "expired link", "retired epoch", "not loaded",
         "regressed", "stale caller", "throttled", "backlog"]  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
async def test_a_winner_finds_her_ticket(lane: Lane, harm: str) -> None:
    await lane.load(1)
    attempt = lane.attempt()
    (first,) = await lane.admit(attempt)
    assert first.outcome is Outcome.RESERVED
    knowledge = {}
    match harm:
        case "paused":
            await lane.reconfigure(paused=True)
        case "ended":
            await lane.reconfigure(closes_at_ms=now_ms() - 1)
        case "not open":
            await lane.reconfigure(opens_at_ms=now_ms() + HOUR_MS)
        case "fault":
            await lane.gate.latch(lane.lane_id, "drift", generation=1)
        case "sold out":
            assert (await lane.buy()).outcome is Outcome.SOLD_OUT
        case "expired link":
            attempt = replace(attempt, replay_only=True)
        case "retired epoch":
            await lane.reconfigure(accepted_epochs={2: None}, link_epoch=2)
        case "not loaded":
            await lane.admin.delete(lane.keys.lane, lane.keys.config)
        case "regressed":
            knowledge = {"seen": 1_000}
        case "stale caller":
            knowledge = {"generation": 0}
        case "throttled":
            await lane.set_config(rate_per_s="0.001", burst=1)
            await lane.set_lane(tat=now_ms() + HOUR_MS)
        case "backlog":
            await lane.set_config(backlog_max=0)
    before = await lane.contents()
    (again,) = await lane.admit(attempt, **knowledge)
    assert (again.outcome, again.entry_id, again.at_ms) == (Outcome.REPLAYED, first.entry_id, first.at_ms)
    after = await lane.contents()
    if harm == "regressed":
        assert after[lane.keys.lane].pop(b"fault") == b"regressed"
        before[lane.keys.lane].pop(b"fault")
    assert after == before


@pytest.mark.parametrize("forfeit", [False, True])
async def test_a_released_reservation_still_replays_and_takes_nothing(lane: Lane, forfeit: bool) -> None:
    await lane.load(2, per_shopper_limit=1)
    attempt = lane.attempt()
    (first,) = await lane.admit(attempt)
    assert first.entry_id
    await lane.gate.release(
        lane.lane_id, [Release(uuid4(), attempt.reservation_id, first.entry_id, forfeit)], generation=1
    )
    before = await lane.contents()
    (again,) = await lane.admit(attempt)
    assert (again.outcome, again.entry_id) == (Outcome.REPLAYED, first.entry_id)
    assert await lane.contents() == before


async def test_another_quantity_under_the_same_key_is_refused(lane: Lane) -> None:
    await lane.load(5, per_shopper_limit=5)
    attempt = lane.attempt(quantity=2)
    await lane.admit(attempt)
    before = await lane.contents()
    (other,) = await lane.admit(replace(attempt, quantity=1))
    assert other.outcome is Outcome.KEY_REUSED
    assert other.entry_id is None
    (same,) = await lane.admit(attempt)
    assert same.outcome is Outcome.REPLAYED
    assert await lane.contents() == before


async def test_replays_see_the_batch_they_are_in(lane: Lane) -> None:
    await lane.load(1)
    attempt = lane.attempt(quantity=1)
    first, again, other = await lane.admit(attempt, attempt, replace(attempt, quantity=2))
    assert [one.outcome for one in (first, again, other)] == ["RESERVED", "REPLAYED", "KEY_REUSED"]
    assert (again.entry_id, again.at_ms) == (first.entry_id, first.at_ms)
    assert len(await lane.journal()) == 2


async def test_one_key_in_many_calls_at_once_takes_one_unit(lane: Lane) -> None:
    await lane.load(10, per_shopper_limit=10)
    attempt = lane.attempt()
    answers = await asyncio.gather(*(lane.admit(attempt) for _ in range(20)))
    outcomes = sorted(answer[0].outcome for answer in answers)
    assert outcomes == ["REPLAYED"] * 19 + ["RESERVED"]
    assert {answer[0].entry_id for answer in answers} == {answers[0][0].entry_id}
    assert await lane.lane_field("available") == "9"


async def test_a_granted_wait_is_replayed_with_the_same_time(lane: Lane) -> None:
    await lane.load(2, per_shopper_limit=2)
    await lane.set_config(rate_per_s="1", burst=1, wait_budget_ms=5_000)
    await lane.buy()
    attempt = lane.attempt()
    (first,) = await lane.admit(attempt)
    assert first.at_ms > first.now_ms
    (again,) = await lane.admit(attempt)
    assert (again.outcome, again.at_ms) == (Outcome.REPLAYED, first.at_ms)
