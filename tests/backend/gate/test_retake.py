"""Units for a late payment: once, through the gate, and never the ones that somebody else has (I2, I10)."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from backend.gate import Attempt, EntryId, Gate, GateAnswer, JournalKind, Outcome, Release, Retake, verify_chain
from tests.support.lane import Lane, now_ms


async def _held(lane: Lane, quantity: int = 1, shopper: UUID | None = None) -> tuple[Attempt, EntryId]:
    attempt = lane.attempt(shopper, quantity=quantity)
    (decision,) = await lane.admit(attempt)
    assert decision.entry_id is not None, decision
    return attempt, decision.entry_id


def _retake(held: tuple[Attempt, EntryId], *, cause: UUID | None = None) -> Retake:
    attempt, entry_id = held
    return Retake(uuid4(), attempt.shopper_id, attempt.quantity, attempt.reservation_id, entry_id, cause)


async def _ask(lane: Lane, retake: Retake, *, generation: int = 1) -> GateAnswer:
    return (await lane.gate.retake(lane.lane_id, retake, generation=generation)).answer


async def _figures(lane: Lane) -> tuple[int, int, int]:
    reading = await lane.gate.read(lane.lane_id)
    assert reading.available + reading.held == reading.allotment
    assert reading.journal_left == reading.available
    journal = await lane.journal()
    verify_chain(journal[0], journal[1:])
    assert (journal[-1].entry_id, journal[-1].digest) == (reading.last, reading.digest)
    return reading.available, reading.held, reading.allotment


async def _live(lane: Lane, shopper: UUID) -> tuple[int, list[str]]:
    row = (await lane.admin.hget(lane.keys.shoppers, shopper.hex)).decode().split(" ")
    return int(row[0]), [one for one in row[2].split(",") if one]


async def _released(lane: Lane, held: tuple[Attempt, EntryId], cause: UUID) -> None:
    release = Release(cause, held[0].reservation_id, held[1])
    (applied,) = await lane.gate.release(lane.lane_id, [release], generation=1)
    assert applied.answer in ("DONE", "ALREADY")


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("quantity", [1, 2])
async def test_the_last_units_are_taken_again_whether_or_not_they_have_come_back(
    lane: Lane, told: bool, quantity: int
) -> None:
    await lane.load(quantity, per_shopper_limit=quantity)
    held = await _held(lane, quantity)
    cause = uuid4()
    if told:
        await _released(lane, held, cause)
    retake = _retake(held, cause=cause)

    applied = await lane.gate.retake(lane.lane_id, retake, generation=1)

    assert (applied.answer, applied.entry_id, applied.available) == ("DONE", EntryId(1, 3), 0)
    assert await _figures(lane) == (0, quantity, quantity)
    release, taken = (await lane.journal())[2:]
    assert (release.kind, release.cause, release.quantity) == (JournalKind.RELEASE, cause.hex, quantity)
    assert (taken.kind, taken.cause, taken.shopper) == (
        JournalKind.RETAKE, retake.reservation_id.hex, retake.shopper_id.hex,
    )  # fmt: skip
    assert (taken.quantity, taken.left, taken.available_delta) == (quantity, 0, -quantity)
    assert await _live(lane, retake.shopper_id) == (quantity, [retake.reservation_id.hex])
    assert await lane.gate.live_claim(lane.lane_id, retake.reservation_id) == (EntryId(1, 3), quantity)
    assert await lane.gate.live_claim(lane.lane_id, retake.old_reservation_id) is None

    before = await lane.everything()
    again = await lane.gate.retake(lane.lane_id, retake, generation=1)
    assert (again.answer, again.entry_id) == ("ALREADY", EntryId(1, 3))
    await _released(lane, held, cause)  # the relay comes to its row
    assert (await lane.admit(held[0]))[0].outcome is Outcome.REPLAYED
    assert (await lane.buy()).outcome is Outcome.SOLD_OUT
    assert {key: one for key, one in (await lane.everything()).items() if b"counts" not in key} == {
        key: one for key, one in before.items() if b"counts" not in key
    }


async def test_the_units_taken_again_go_back_like_any_others(lane: Lane) -> None:
    await lane.load(1)
    held = await _held(lane)
    retake = _retake(held, cause=uuid4())
    applied = await lane.gate.retake(lane.lane_id, retake, generation=1)
    assert applied.entry_id is not None
    back = Release(uuid4(), retake.reservation_id, applied.entry_id)
    (done,) = await lane.gate.release(lane.lane_id, [back], generation=1)
    assert done.answer is GateAnswer.DONE
    assert await _ask(lane, retake) is GateAnswer.ALREADY, "given back is not taken once more"
    assert (await _figures(lane), await _live(lane, retake.shopper_id)) == ((1, 0, 1), (0, []))


async def test_many_at_once_take_once(lane: Lane) -> None:
    await lane.load(10)
    held = [await _held(lane) for _ in range(10)]
    retakes = [_retake(one, cause=uuid4()) for one in held]
    answers = await asyncio.gather(*(_ask(lane, one) for one in retakes * 10))
    assert (answers.count(GateAnswer.DONE), answers.count(GateAnswer.ALREADY)) == (10, 90)
    assert await _figures(lane) == (0, 10, 10)


async def _refused(lane: Lane, retake: Retake, answer: str, *, generation: int = 1) -> None:
    before = await lane.everything()
    assert await _ask(lane, retake, generation=generation) == answer
    assert await lane.everything() == before, "a refusal changes nothing"


async def test_none_left_is_not_enough(lane: Lane) -> None:
    await lane.load(2, per_shopper_limit=2)
    held = await _held(lane, 2)
    cause = uuid4()
    await _released(lane, held, cause)
    assert (await lane.buy()).outcome is Outcome.RESERVED
    await _refused(lane, _retake(held, cause=cause), "NOT_ENOUGH")


async def test_without_a_release_the_old_claim_stays_and_nothing_is_left(lane: Lane) -> None:
    """Nothing in the ledger says that the hold has ended: it is not for the gate to end it."""
    await lane.load(1, per_shopper_limit=2)
    held = await _held(lane)
    await _refused(lane, _retake(held), "NOT_ENOUGH")


async def test_somebody_elses_hold_is_not_ended(lane: Lane) -> None:
    await lane.load(1)
    attempt, entry_id = await _held(lane)
    await _refused(lane, Retake(uuid4(), uuid4(), 1, attempt.reservation_id, entry_id, uuid4()), "NOT_ENOUGH")
    later = EntryId(1, 2)
    await _refused(lane, Retake(uuid4(), attempt.shopper_id, 1, uuid4(), entry_id, uuid4()), "LIMIT_REACHED")
    await _refused(
        lane, Retake(uuid4(), attempt.shopper_id, 1, attempt.reservation_id, later, uuid4()), "LIMIT_REACHED"
    )


async def test_what_the_shopper_bought_since_counts(lane: Lane) -> None:
    await lane.load(5)
    held = await _held(lane)
    cause = uuid4()
    await _released(lane, held, cause)
    assert (await lane.buy(held[0].shopper_id, "another")).outcome is Outcome.RESERVED
    await _refused(lane, _retake(held, cause=cause), "LIMIT_REACHED")


async def test_after_the_end_nothing_is_taken(lane: Lane) -> None:
    await lane.load(5)
    held = await _held(lane)
    retake = _retake(held, cause=uuid4())
    await lane.set_lane(clock=lane.config.closes_at_ms)  # the highest time that this lane has seen
    await _refused(lane, retake, "ENDED")
    await lane.set_lane(clock=0)
    await lane.reconfigure(closes_at_ms=now_ms() - 1)
    await _refused(lane, retake, "ENDED")
    await lane.reconfigure(closes_at_ms=now_ms() + 60_000)
    assert await _ask(lane, retake) is GateAnswer.DONE


async def test_a_fault_leaves_it_open_and_a_pause_of_the_operators_does_not(lane: Lane) -> None:
    await lane.load(5)
    first, second = _retake(await _held(lane), cause=uuid4()), _retake(await _held(lane), cause=uuid4())
    await lane.gate.latch(lane.lane_id, "drift", generation=1)
    await _refused(lane, first, "PAUSED")
    await lane.reconfigure(closes_at_ms=now_ms() - 1)
    await _refused(lane, first, "PAUSED")  # also of what is over: with a fault nothing is decided
    await lane.reconfigure(clear_fault=True, closes_at_ms=now_ms() + 60_000)
    assert await _ask(lane, first) is GateAnswer.DONE
    await lane.reconfigure(paused=True)
    assert await _ask(lane, second) is GateAnswer.DONE  # her hold was from before the pause


async def test_another_generation_and_an_empty_lane_leave_it_open(lane: Lane) -> None:
    retake = Retake(uuid4(), uuid4(), 1, uuid4(), EntryId(1, 1), None)
    await _refused(lane, retake, "NOT_LOADED")
    await lane.load(5)
    await _refused(lane, retake, "STALE_GENERATION", generation=2)
    assert await _ask(lane, replace(retake, reservation_id=uuid4())) is GateAnswer.DONE


class TakesTwice(Gate):
    """Without the idempotency by the payment: each call is a payment of its own."""

    async def retake(self, lane_id, retake, *, generation):  # type: ignore[no-untyped-def]
        return await super().retake(lane_id, replace(retake, reservation_id=uuid4()), generation=generation)


async def test_control_a_retake_without_its_cause_takes_twice(lane: Lane) -> None:
    await lane.load(5, per_shopper_limit=5)
    held = await _held(lane)
    lane.gate = TakesTwice(lane.gate.store)
    retake = _retake(held, cause=uuid4())
    assert [await _ask(lane, retake) for _ in range(2)] == [GateAnswer.DONE, GateAnswer.DONE]
    assert await _figures(lane) == (3, 2, 5)
