"""``load``, ``adjust``, ``configure`` and ``applied``: each once by its cause, none undone by a repeat."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from backend.gate import EntryId, GateAnswer, Outcome, Throttle, verify_chain
from tests.support.lane import SECRET, Lane

pytestmark = pytest.mark.each_topology


async def test_load_writes_the_genesis_once(lane: Lane) -> None:
    done = await lane.load(7)
    assert (done.answer, done.entry_id, done.available, done.allotment) == ("DONE", EntryId(1, 0), 7, 7)
    await lane.buy()
    before = await lane.everything()
    again = await lane.load(7)
    assert (again.answer, again.entry_id, again.available, again.allotment) == ("ALREADY", EntryId(1, 1), 6, 7)
    assert await lane.everything() == before


async def test_many_loads_at_once_are_one(lane: Lane) -> None:
    answers = await asyncio.gather(*(lane.load(7) for _ in range(20)))
    assert sorted(one.answer for one in answers) == ["ALREADY"] * 19 + ["DONE"]
    assert len(await lane.journal()) == 1
    assert await lane.lane_field("available") == "7"


@pytest.mark.parametrize("change", ["nonce", "newer", "older"])
async def test_stock_that_stands_is_not_replaced(lane: Lane, change: str) -> None:
    lane.generation = 2
    await lane.load(7)
    before = await lane.everything()
    match change:
        case "nonce":
            lane.nonce = "f" * 32
        case "newer":
            lane.generation = 3
        case "older":
            lane.generation = 1
    refused = await lane.load(100)
    assert (refused.answer, refused.entry_id, refused.available) == ("CONFLICT", None, None)
    assert await lane.everything() == before


@pytest.mark.parametrize("kept", ["claims", "shoppers", "causes", "journal"])
async def test_what_is_left_of_an_older_life_is_not_loaded_over(lane: Lane, kept: str) -> None:
    key = getattr(lane.keys, kept)
    if kept == "journal":
        await lane.admin.xadd(key, {"kind": "load"}, id="1-0")
    else:
        await lane.admin.hset(key, "0" * 32, "1 1 1 1 x live")
    before = await lane.everything()
    assert (await lane.load(5)).answer is GateAnswer.CONFLICT
    assert await lane.everything() == before


async def test_top_up_and_reduction_once_by_cause(lane: Lane) -> None:
    await lane.load(5)
    gate, lane_id = lane.gate, lane.lane_id
    more, less = uuid4(), uuid4()
    up = await gate.adjust(lane_id, cause=more, units=3, generation=1)
    assert (up.answer, up.entry_id, up.available, up.allotment) == ("DONE", EntryId(1, 1), 8, 8)
    down = await gate.adjust(lane_id, cause=less, units=-8, generation=1)
    assert (down.answer, down.entry_id, down.available, down.allotment) == ("DONE", EntryId(1, 2), 0, 0)
    before = await lane.everything()
    for cause, units, entry in ((more, 3, EntryId(1, 1)), (less, -8, EntryId(1, 2))):
        again = await gate.adjust(lane_id, cause=cause, units=units, generation=1)
        assert (again.answer, again.entry_id, again.available) == ("ALREADY", entry, 0)
    assert await lane.everything() == before
    assert (await lane.buy()).outcome is Outcome.SOLD_OUT


async def test_a_reduction_takes_only_what_nobody_holds(lane: Lane) -> None:
    await lane.load(5)
    await lane.buy()
    before = await lane.everything()
    refused = await lane.gate.adjust(lane.lane_id, cause=uuid4(), units=-5, generation=1)
    assert (refused.answer, refused.available, refused.allotment) == ("NOT_ENOUGH", 4, 5)
    assert await lane.everything() == before
    done = await lane.gate.adjust(lane.lane_id, cause=uuid4(), units=-4, generation=1)
    assert (done.answer, done.available, done.allotment) == ("DONE", 0, 1)


async def test_one_adjustment_in_many_calls_at_once(lane: Lane) -> None:
    await lane.load(5)
    cause = uuid4()
    answers = await asyncio.gather(
        *(lane.gate.adjust(lane.lane_id, cause=cause, units=2, generation=1) for _ in range(20))
    )
    assert sorted(one.answer for one in answers) == ["ALREADY"] * 19 + ["DONE"]
    assert await lane.lane_field("allotment") == "7"


async def test_adjustments_stand_in_the_chain_and_keep_to_their_generation(lane: Lane) -> None:
    await lane.load(5)
    await lane.buy()
    await lane.gate.adjust(lane.lane_id, cause=uuid4(), units=-2, generation=1)
    await lane.gate.adjust(lane.lane_id, cause=uuid4(), units=4, generation=1)
    entries = await lane.journal()
    verify_chain(entries[0], entries[1:])
    assert [(entry.quantity, entry.left) for entry in entries] == [(5, 5), (1, 4), (-2, 2), (4, 6)]
    before = await lane.everything()
    stale = await lane.gate.adjust(lane.lane_id, cause=uuid4(), units=1, generation=2)
    assert stale.answer is GateAnswer.STALE_GENERATION
    assert await lane.everything() == before


async def test_configure_applies_the_same_version_again_and_refuses_an_older(lane: Lane) -> None:
    await lane.load(5, config_version=4)
    assert await lane.reconfigure(config_version=5, paused=True) is GateAnswer.DONE
    await lane.set_config(paused=0)  # lost with a failover
    config = lane.config
    assert await lane.gate.configure(lane.lane_id, config, generation=1) is GateAnswer.DONE
    assert (await lane.buy()).outcome is Outcome.PAUSED
    before = await lane.everything()
    older = replace(config, config_version=4, paused=False)
    assert await lane.gate.configure(lane.lane_id, older, generation=1) is GateAnswer.STALE_CONFIG
    assert await lane.gate.configure(lane.lane_id, older, generation=1, clear_fault=True) is GateAnswer.STALE_CONFIG
    newer = replace(config, config_version=9)
    assert await lane.gate.configure(lane.lane_id, newer, generation=2) is GateAnswer.STALE_GENERATION
    assert await lane.everything() == before


async def test_configure_changes_what_the_next_attempt_meets(lane: Lane) -> None:
    await lane.load(5)
    await lane.reconfigure(
        per_shopper_limit=2,
        throttle=Throttle(0.25, 3, 0, 0),
        secrets={1: SECRET, 2: SECRET[::-1]},
        accepted_epochs={1: None, 2: None},
        link_epoch=2,
    )
    reading = await lane.gate.read(lane.lane_id)
    assert (reading.config_version, reading.link_epoch, reading.available) == (2, 2, 5)
    assert await lane.gate.secrets(lane.lane_id) == {1: SECRET, 2: SECRET[::-1]}
    outcomes = [one.outcome for one in await lane.admit(*(lane.attempt(epoch=2, quantity=1) for _ in range(4)))]
    assert outcomes == ["RESERVED"] * 3 + ["THROTTLED"]


async def test_the_latch_is_kept_named_and_cleared(lane: Lane) -> None:
    await lane.load(5)
    assert await lane.gate.latch(lane.lane_id, "drift", generation=2) is GateAnswer.STALE_GENERATION
    assert await lane.lane_field("fault") == ""
    assert await lane.gate.latch(lane.lane_id, "drift", generation=1) is GateAnswer.DONE
    assert await lane.gate.latch(lane.lane_id, "forked", generation=1) is GateAnswer.DONE
    assert await lane.lane_field("fault") == "drift"
    before = await lane.admin.hgetall(lane.keys.config)
    assert before[b"config_version"] == b"1"  # a latch configures nothing
    await lane.reconfigure()
    assert (await lane.buy()).outcome is Outcome.PAUSED
    await lane.reconfigure(clear_fault=True)
    assert await lane.lane_field("fault") == ""
    assert (await lane.buy()).outcome is Outcome.RESERVED


async def test_applied_only_goes_forward(lane: Lane) -> None:
    await lane.load(5)
    publish = lane.gate.publish_applied
    assert await lane.gate.applied(lane.lane_id) is None
    assert await publish(lane.lane_id, EntryId(1, 5)) is GateAnswer.DONE
    assert await publish(lane.lane_id, EntryId(1, 4)) is GateAnswer.ALREADY
    assert await publish(lane.lane_id, EntryId(1, 5)) is GateAnswer.ALREADY
    assert await publish(lane.lane_id, EntryId(2, 9)) is GateAnswer.STALE_GENERATION
    assert await lane.gate.applied(lane.lane_id) == EntryId(1, 5)
    assert await publish(lane.lane_id, EntryId(1, 40)) is GateAnswer.DONE  # as numbers, not as text
    await asyncio.gather(*(publish(lane.lane_id, EntryId(1, n)) for n in (50, 43, 47)))
    assert await lane.gate.applied(lane.lane_id) == EntryId(1, 50)
