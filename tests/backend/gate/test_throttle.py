"""Repeat window and token bucket (I14, I15). All times are Redis TIME, read from the answers."""

import asyncio
from uuid import uuid4

import pytest

from backend.gate import Admission, Decision, Gate, Outcome, Throttle
from tests.support.lane import HOUR_MS, Lane, now_ms


def accepted_too_many(at_ms: list[int], *, rate_per_s: float, burst: int) -> str | None:
    """The checker of I14: some window that holds more than ``burst + rate · w + 1``, or None."""
    at_ms = sorted(at_ms)
    for first in range(len(at_ms)):
        for last in range(first, len(at_ms)):
            window_s = (at_ms[last] - at_ms[first]) / 1000
            count = last - first + 1
            if count > burst + rate_per_s * window_s + 1:
                return f"{count} in {window_s} s"
    return None


async def _storm(lane: Lane, seconds: float, clients: int = 4) -> list[Decision]:
    """Fresh shoppers from several connections at once, for so long."""
    until = asyncio.get_running_loop().time() + seconds
    decisions: list[Decision] = []

    async def client() -> None:
        while asyncio.get_running_loop().time() < until:
            decisions.extend(await lane.admit(*(lane.attempt() for _ in range(5))))
            await asyncio.sleep(0.003)

    await asyncio.gather(*(client() for _ in range(clients)))
    return decisions


@pytest.mark.parametrize("budget_ms", [0, 200])
async def test_accepted_in_any_window_is_bounded(lane: Lane, budget_ms: int) -> None:
    await lane.load(10_000, throttle=Throttle(100.0, 20, budget_ms, 0))
    decisions = await _storm(lane, 0.8)
    accepted = [one for one in decisions if one.outcome is Outcome.RESERVED]
    assert len(accepted) >= 20
    assert {one.outcome for one in decisions} == {Outcome.RESERVED, Outcome.THROTTLED}
    assert accepted_too_many([one.at_ms for one in accepted], rate_per_s=100, burst=20) is None
    waits = [one.at_ms - one.now_ms for one in accepted]
    assert 0 <= min(waits) <= max(waits) <= budget_ms
    assert (max(waits) > 0) == (budget_ms > 0)
    taken = [entry for entry in await lane.journal() if entry.kind == "reserve"]
    assert sorted(entry.at_ms for entry in taken) == sorted(one.at_ms for one in accepted)


def test_the_checker_of_the_bucket_can_fail() -> None:
    """Negative control: a fixed window of a second lets twice its rate through at its edge."""
    fixed_window = [990] * 100 + [1_000] * 100
    assert accepted_too_many(fixed_window, rate_per_s=100, burst=20) is not None


async def test_an_idle_bucket_holds_its_burst_and_no_more(lane: Lane) -> None:
    await lane.load(1_000, throttle=Throttle(0.001, 7, 0, 0))
    decisions = await lane.admit(*(lane.attempt() for _ in range(20)))
    assert [one.outcome for one in decisions] == ["RESERVED"] * 7 + ["THROTTLED"] * 13
    waits = [one.retry_after_ms for one in decisions[7:]]
    assert set(waits) == {1_000_000}  # who is refused takes no token, so all wait for the same one
    assert await lane.lane_field("available") == "993"


async def test_a_wait_within_the_budget_is_granted_with_the_unit(lane: Lane) -> None:
    await lane.load(10, throttle=Throttle(10.0, 1, 250, 0))
    decisions = await lane.admit(*(lane.attempt() for _ in range(5)))
    assert [one.outcome for one in decisions] == ["RESERVED"] * 3 + ["THROTTLED"] * 2
    assert [one.at_ms - one.now_ms for one in decisions[:3]] == [0, 100, 200]
    assert [one.retry_after_ms for one in decisions[3:]] == [300, 300]
    assert await lane.lane_field("available") == "7"


async def test_no_wait_is_granted_up_to_closing_or_beyond(lane: Lane) -> None:
    await lane.load(10, throttle=Throttle(0.1, 1, HOUR_MS, 0))
    closes = now_ms() + 15_000
    await lane.set_config(closes_at_ms=closes)
    decisions = await lane.admit(*(lane.attempt() for _ in range(3)))
    assert [one.outcome for one in decisions] == ["RESERVED", "RESERVED", "THROTTLED"]
    assert all(one.at_ms < closes for one in decisions[:2])
    assert decisions[2].retry_after_ms == 20_000


async def test_a_clock_that_ran_ahead_throttles_for_a_full_bucket_at_most(lane: Lane) -> None:
    """Redis was a minute ahead, filled the bucket, and came back: 60 s of refusals would be an outage."""
    await lane.load(1_000, throttle=Throttle(50.0, 5, 0, 0))
    await lane.set_lane(tat=now_ms() + 60_000)
    (first,) = await lane.admit(lane.attempt())
    assert first.outcome is Outcome.THROTTLED
    assert first.retry_after_ms <= 5 * 20 + 20
    await asyncio.sleep(first.retry_after_ms / 1000)
    assert (await lane.buy()).outcome is Outcome.RESERVED


async def test_a_faster_rate_holds_at_once(lane: Lane) -> None:
    """A slow bucket was emptied, then an operator opens the tap: its old debt must not be paid at the old rate."""
    await lane.load(1_000, throttle=Throttle(0.1, 50, 0, 0))
    await lane.admit(*(lane.attempt() for _ in range(60)))
    await lane.reconfigure(throttle=Throttle(50.0, 5, 0, 0))
    (first,) = await lane.admit(lane.attempt())
    assert first.retry_after_ms <= 5 * 20 + 20
    await asyncio.sleep(first.retry_after_ms / 1000)
    assert (await lane.buy()).outcome is Outcome.RESERVED


async def test_a_clock_that_ran_ahead_leaves_a_bucket_that_still_holds(lane: Lane) -> None:
    await lane.load(10_000, throttle=Throttle(100.0, 20, 0, 0))
    await lane.set_lane(tat=now_ms() + 60_000)
    accepted = [one.at_ms for one in await _storm(lane, 0.6) if one.outcome is Outcome.RESERVED]
    assert accepted
    assert accepted_too_many(accepted, rate_per_s=100, burst=20) is None


async def test_a_clock_far_behind_makes_no_deeper_bucket(lane: Lane) -> None:
    await lane.load(1_000, throttle=Throttle(0.001, 5, 0, 0))
    await lane.set_lane(tat=-60_000)
    outcomes = [one.outcome for one in await lane.admit(*(lane.attempt() for _ in range(10)))]
    assert outcomes == ["RESERVED"] * 5 + ["THROTTLED"] * 5


async def test_of_a_thousand_parallel_tries_one_reaches_the_bucket(lane: Lane) -> None:
    await lane.load(5_000, per_shopper_limit=5_000, throttle=Throttle(1e6, 1_000_000, 0, HOUR_MS))
    shopper = uuid4()
    calls = [[lane.attempt(shopper, f"{call}-{n}") for n in range(10)] for call in range(100)]
    answers = await asyncio.gather(*(lane.admit(*call) for call in calls))
    outcomes = [one.outcome for answer in answers for one in answer]
    assert (outcomes.count(Outcome.RESERVED), outcomes.count(Outcome.REPEATED)) == (1, 999)
    assert await lane.lane_field("available") == "4999"
    assert len(await lane.journal()) == 2


async def test_the_window_is_per_shopper_and_ends(lane: Lane) -> None:
    await lane.load(10, per_shopper_limit=10, throttle=Throttle(1e6, 1_000, 0, 10_000))
    one, other = uuid4(), uuid4()
    assert (await lane.buy(one, "1")).outcome is Outcome.RESERVED
    assert (await lane.buy(other, "1")).outcome is Outcome.RESERVED
    again = await lane.buy(one, "2")
    assert again.outcome is Outcome.REPEATED
    assert 0 < again.retry_after_ms <= 10_000
    await lane.set_last_try(one, await lane.last_try(one) - 10_000)
    assert (await lane.buy(one, "3")).outcome is Outcome.RESERVED


async def test_a_repeated_try_does_not_start_the_window_anew(lane: Lane) -> None:
    await lane.load(10, per_shopper_limit=10, throttle=Throttle(1e6, 1_000, 0, 10_000))
    shopper = uuid4()
    await lane.buy(shopper, "1")
    last = await lane.last_try(shopper)
    assert last > 0
    for key in "2345":
        assert (await lane.buy(shopper, key)).outcome is Outcome.REPEATED
    assert await lane.last_try(shopper) == last


async def test_a_throttled_try_starts_the_window_and_its_retry_covers_both(lane: Lane) -> None:
    await lane.load(10, per_shopper_limit=10, throttle=Throttle(0.5, 1, 0, 10_000))
    await lane.buy()
    shopper = uuid4()
    refused = await lane.buy(shopper, "1")
    assert (refused.outcome, refused.retry_after_ms) == (Outcome.THROTTLED, 10_000)
    assert (await lane.buy(shopper, "2")).outcome is Outcome.REPEATED
    await lane.set_config(repeat_window_ms=10)
    refused = await lane.buy(uuid4())
    assert refused.outcome is Outcome.THROTTLED
    assert 1_000 < refused.retry_after_ms <= 2_000


@pytest.mark.parametrize("harm", ["sold out", "backlog", "limit", "paused"])
async def test_what_does_not_reach_the_bucket_starts_no_window(lane: Lane, harm: str) -> None:
    await lane.load(1, throttle=Throttle(1e6, 1_000, 0, HOUR_MS))
    shopper = uuid4()
    undo = {"paused": 0, "backlog_max": 1_000}
    match harm:
        case "sold out":
            await lane.set_lane(available=0)
        case "backlog":
            await lane.set_config(backlog_max=0)
        case "limit":
            assert (await lane.buy(shopper, "big", quantity=2)).outcome is Outcome.LIMIT_REACHED
        case "paused":
            await lane.set_config(paused=1)
    assert (await lane.buy(shopper, "1")).outcome in (
        {Outcome.RESERVED} if harm == "limit" else {Outcome.SOLD_OUT, Outcome.BACKLOG, Outcome.PAUSED}
    )
    if harm != "limit":
        assert await lane.last_try(shopper) == 0
        await lane.set_lane(available=1)
        await lane.set_config(**undo)
        assert (await lane.buy(shopper, "2")).outcome is Outcome.RESERVED


async def test_a_try_stamped_after_now_counts_as_absent(lane: Lane) -> None:
    await lane.load(10, per_shopper_limit=10, throttle=Throttle(1e6, 1_000, 0, 10_000))
    shopper = uuid4()
    await lane.set_last_try(shopper, now_ms() + 60_000)
    assert (await lane.buy(shopper, "1")).outcome is Outcome.RESERVED
    assert (await lane.buy(shopper, "2")).outcome is Outcome.REPEATED


async def test_replays_are_not_counted_as_tries(lane: Lane, gate: Gate) -> None:
    await lane.load(10, per_shopper_limit=10, throttle=Throttle(1e6, 1_000, 0, HOUR_MS))
    admission = Admission(gate).lane(lane.lane_id)
    attempt = lane.attempt()
    first = await admission.submit(attempt)
    again = await asyncio.gather(*(admission.submit(attempt) for _ in range(50)))
    assert {one.outcome for one in again} == {Outcome.REPLAYED}
    assert {one.entry_id for one in again} == {first.entry_id}
