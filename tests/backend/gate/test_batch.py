"""One batch, decided as if its attempts had come one by one; and what it writes: the journal first."""

from uuid import UUID, uuid4

import pytest

from backend.gate import BATCH_MAX, EntryId, GateUnavailable, JournalBroken, JournalKind, Outcome, verify_chain
from tests.support.lane import Lane

pytestmark = pytest.mark.each_topology


async def test_attempts_of_one_batch_see_each_other(lane: Lane) -> None:
    await lane.load(3, per_shopper_limit=2)
    one = uuid4()
    decisions = await lane.admit(
        lane.attempt(one, "a"),
        lane.attempt(one, "b"),
        lane.attempt(one, "c"),
        lane.attempt(quantity=2),
        lane.attempt(),
        lane.attempt(),
    )
    assert [one.outcome for one in decisions] == [
        "RESERVED",
        "RESERVED",
        "LIMIT_REACHED",
        "NOT_ENOUGH",
        "RESERVED",
        "SOLD_OUT",
    ]
    assert [one.entry_id for one in decisions if one.entry_id] == [EntryId(1, 1), EntryId(1, 2), EntryId(1, 3)]
    reading = await lane.gate.read(lane.lane_id)
    assert (reading.available, reading.held, reading.allotment) == (0, 3, 3)


async def test_the_last_units_go_to_who_fits(lane: Lane) -> None:
    """A batch as large as can be, for fewer units: its tail is refused, never the whole."""
    await lane.load(100, per_shopper_limit=3)
    attempts = [lane.attempt(quantity=1 + n % 3) for n in range(BATCH_MAX)]
    decisions = await lane.admit(*attempts)
    left = 100
    for attempt, decision in zip(attempts, decisions, strict=True):
        if attempt.quantity <= left:
            assert decision.outcome is Outcome.RESERVED
            left -= attempt.quantity
        else:
            assert decision.outcome is (Outcome.NOT_ENOUGH if left else Outcome.SOLD_OUT)
    assert left == 0
    assert await lane.lane_field("available") == "0"


async def test_the_backlog_counts_the_batch_itself(lane: Lane) -> None:
    await lane.load(100, backlog_max=4)
    decisions = await lane.admit(*(lane.attempt() for _ in range(6)))
    # The genesis is undecided too until the ledger has adopted it.
    assert [one.outcome for one in decisions] == ["RESERVED"] * 3 + ["BACKLOG"] * 3
    await lane.gate.publish_applied(lane.lane_id, EntryId(1, 2))
    decisions = await lane.admit(*(lane.attempt() for _ in range(6)))
    assert [one.outcome for one in decisions] == ["RESERVED"] * 3 + ["BACKLOG"] * 3
    assert decisions[0].applied == EntryId(1, 2)


async def test_ids_are_contiguous_and_digests_chain_as_python_computes_them(lane: Lane) -> None:
    lane.generation = 7
    await lane.load(50, per_shopper_limit=3)
    for size in (1, 5, 20):
        await lane.admit(*(lane.attempt(quantity=1 + n % 2) for n in range(size)))
    entries = await lane.journal()
    assert [str(entry.entry_id) for entry in entries] == [f"7-{n}" for n in range(27)]
    genesis = entries[0]
    assert (genesis.kind, genesis.cause, genesis.quantity, genesis.left) == (JournalKind.LOAD, lane.nonce, 50, 50)
    assert genesis.digest == genesis.expected_digest("")
    verify_chain(genesis, entries[1:])
    assert await lane.lane_field("digest") == entries[-1].digest
    assert await lane.lane_field("available") == str(entries[-1].left)


@pytest.mark.parametrize("field", ["cause", "shopper", "quantity", "at", "left", "digest", "kind"])
async def test_any_altered_field_breaks_the_chain(lane: Lane, field: str) -> None:
    await lane.load(50)
    await lane.admit(*(lane.attempt() for _ in range(3)))
    rows = await lane.admin.xrange(lane.keys.journal)
    await lane.admin.delete(lane.keys.journal)
    for entry_id, fields in rows:
        if entry_id == b"1-2":
            fields[field.encode()] = {"kind": b"release", "digest": b"0" * 40}.get(field, b"7")
        await lane.admin.xadd(lane.keys.journal, fields, id=entry_id)
    entries = await lane.journal()
    with pytest.raises(JournalBroken):
        verify_chain(entries[0], entries[1:])


async def test_a_missing_entry_breaks_the_chain_and_an_unreadable_one_is_named(lane: Lane) -> None:
    await lane.load(50)
    await lane.admit(*(lane.attempt() for _ in range(3)))
    await lane.admin.xdel(lane.keys.journal, "1-2")
    entries = await lane.journal()
    with pytest.raises(JournalBroken, match="1-3 follows 1-1"):
        verify_chain(entries[0], entries[1:])
    await lane.admin.xadd(lane.keys.journal, {"kind": "retake"}, id="1-9")
    with pytest.raises(JournalBroken, match="1-9"):
        await lane.journal()


async def test_seq_stays_exact_beyond_what_a_double_prints(lane: Lane) -> None:
    """Lua 5.1 prints large numbers as 1e+15 unless told otherwise."""
    await lane.load(5)
    await lane.set_lane(seq=10**15)
    await lane.gate.publish_applied(lane.lane_id, EntryId(1, 10**15))
    decision = await lane.buy()
    assert decision.entry_id == EntryId(1, 10**15 + 1)
    assert await lane.lane_field("seq") == str(10**15 + 1)


@pytest.mark.parametrize("key", ["journal", "claims", "shoppers", "counts", "series", "applied"])
async def test_a_key_of_the_wrong_type_stops_the_batch_before_the_first_write(lane: Lane, key: str) -> None:
    await lane.load(5)
    await lane.buy()
    await lane.admin.hset(lane.keys.counts, "second", 1)  # a flush of the series is due
    broken = getattr(lane.keys, key)
    await lane.admin.delete(broken)
    await lane.admin.rpush(broken, "a list")
    before = await lane.everything()
    with pytest.raises(GateUnavailable, match="WRONGTYPE"):
        await lane.admit(lane.attempt(), lane.attempt())
    assert await lane.everything() == before


async def test_a_journal_that_is_ahead_refuses_and_nothing_is_written(lane: Lane) -> None:
    """The lane's hash was lost to an older state, the journal was not: XADD refuses the smaller id."""
    await lane.load(5)
    await lane.admin.xadd(lane.keys.journal, {"kind": "reserve"}, id="1-1")
    before = await lane.everything()
    with pytest.raises(GateUnavailable):
        await lane.buy()
    assert await lane.everything() == before


async def test_without_memory_nothing_is_written(lane: Lane) -> None:
    await lane.load(5)
    await lane.buy()
    before = await lane.everything()
    async with lane.store_setting("maxmemory", 1):
        with pytest.raises(GateUnavailable, match="OOM"):
            await lane.admit(lane.attempt(), lane.attempt())
        with pytest.raises(GateUnavailable, match="OOM"):
            await lane.gate.adjust(lane.lane_id, cause=uuid4(), units=1, generation=1)
        reading = await lane.gate.read(lane.lane_id)
    assert (reading.available, reading.held) == (4, 1)
    assert await lane.everything() == before
    assert (await lane.buy()).outcome is Outcome.RESERVED


async def test_a_shoppers_claims_are_listed(lane: Lane) -> None:
    await lane.load(5, per_shopper_limit=3)
    shopper = uuid4()
    attempts = [lane.attempt(shopper, key) for key in "ab"]
    decisions = await lane.admit(*attempts)
    claims = await lane.gate.claims_of(lane.lane_id, shopper)
    assert claims == [
        (attempt.reservation_id, decision.entry_id, decision.at_ms)
        for attempt, decision in zip(attempts, decisions, strict=True)
    ]
    assert await lane.gate.claims_of(lane.lane_id, UUID(int=1)) == []
