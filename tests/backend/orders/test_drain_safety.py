"""What shoppers are told must be safe, so must be what the ledger is told: a primary that was replaced without knowing
it has a journal that looks whole, and the elected one sells its units again."""

import asyncio
import dataclasses

import pytest

from backend.gate import GateUnavailable, JournalEntry, LaneId
from backend.gate.gate import Gate
from backend.orders import Drain
from tests.support.shop import Shop


async def _acknowledged(shop: Shop) -> None:
    await shop.rows("UPDATE sales SET durability = 'acknowledged' WHERE id = :sale RETURNING id", sale=shop.sale_id)


async def _orders(shop: Shop) -> int:
    return len(await shop.rows("SELECT 1 FROM orders"))


async def test_a_journal_that_is_safe_is_applied(shop: Shop) -> None:
    await _acknowledged(shop)
    for _ in range(3):
        await shop.lane.admit(shop.lane.attempt())
    await shop.drain()
    assert await _orders(shop) == 3


@pytest.mark.parametrize("durability", ["acknowledged", "everysec"])
async def test_nothing_is_applied_that_the_store_does_not_vouch_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    if durability == "acknowledged":
        await _acknowledged(shop)
    await shop.drain()
    asked: list[tuple[JournalEntry, bool]] = []

    async def replaced(_: Gate, __: LaneId, last: JournalEntry, *, safe: bool) -> bool:
        asked.append((last, safe))
        return False

    monkeypatch.setattr(Gate, "vouches", replaced)
    await shop.lane.admit(shop.lane.attempt())
    with pytest.raises(GateUnavailable, match="not the one that is safe"):
        await shop.drain()
    ((last, safe),) = asked
    assert last.entry_id.seq == 1, "the last entry of the batch speaks for all before it"
    assert safe is (durability == "acknowledged"), "to wait for the disk is what the other did not ask for"
    assert await _orders(shop) == 0
    monkeypatch.undo()
    await shop.drain()
    assert await _orders(shop) == 1


async def test_a_lane_that_is_not_vouched_for_is_not_asked_without_a_pause(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has entries that nobody applies, so a wait for new ones would end at once, fifty times a second."""
    await shop.drain()
    asked = 0

    async def replaced(*_: object, **__: object) -> bool:
        nonlocal asked
        asked += 1
        return False

    monkeypatch.setattr(Gate, "vouches", replaced)
    await shop.lane.admit(shop.lane.attempt())
    await Drain(shop.database, shop.gate).run(asyncio.Event(), for_s=2.5)
    assert 2 <= asked <= 4, "once each second"


async def test_the_store_vouches_for_its_own_history_alone(shop: Shop) -> None:
    await shop.lane.admit(shop.lane.attempt(), shop.lane.attempt())
    gate, lane_id = shop.lane.gate, shop.lane.lane_id
    reading = await gate.read(lane_id)
    (last,) = await gate.entries(lane_id, start=reading.last, count=1)
    assert await gate.vouches(lane_id, last, safe=True)
    other = dataclasses.replace(last, digest="0" * 40)
    assert not await gate.vouches(lane_id, other, safe=True), "another history"
    later = dataclasses.replace(last, entry_id=last.entry_id._replace(seq=last.entry_id.seq + 1))
    assert not await gate.vouches(lane_id, later, safe=True), "an entry that it never had, or has lost"
    assert await gate.vouches(lane_id, other, safe=False), "nobody can have been put in a lone server's place"
    assert (await gate.read(lane_id)).last == last.entry_id
