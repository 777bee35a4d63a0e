"""A gate that lost its history is found, rebuilt from the ledger, and sells on: nothing oversold, nothing stranded."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from backend.gate import Gate, Outcome
from backend.models import Database
from backend.orders import Recovery, expire_due
from backend.settings import Settings
from tests.support import forge
from tests.support.checker import findings
from tests.support.recovery import (
    ask_for_rebuild,
    assert_whole,
    buy,
    follow,
    held_shop,
    lose_everything,
    recover,
    replay,
    same,
    verdicts,
)
from tests.support.shop import Counters, Shop


async def test_an_emptied_store_is_rebuilt_and_sells_the_rest(shop: Shop, settings: Settings) -> None:
    won = await buy(shop, 4)
    await shop.settle()
    await lose_everything(shop)
    assert (await shop.lane.buy()).outcome is Outcome.NOT_LOADED
    steps = await recover(shop, settings)
    assert await shop.alarms() == ["fault.regressed"]
    assert steps.figures("sale.recovered") | {"seconds": 0} == {
        "sale_id": str(shop.sale_id),
        "survivors": 0,
        "rejected": 0,
        "superseded": 0,
        "generation": 2,
        "seconds": 0,
        "fault": "regressed",
        "resumed": True,
    }
    await assert_whole(shop)
    assert await replay(shop, won) == same(won)
    assert (await shop.lane.buy(won[0][0].shopper_id, key="another")).outcome is Outcome.LIMIT_REACHED
    assert [one.item_id for one in (await shop.gate.directory()).values()] == [shop.item_id]
    assert await shop.rows("SELECT generation, fault, seq, left_units FROM closed_generations") == [
        (1, "regressed", 4, 6)
    ]
    await buy(shop, 6)
    assert (await shop.lane.buy()).outcome is Outcome.SOLD_OUT
    await assert_whole(shop)
    assert await shop.counters() == Counters(allotment=10, available=0, reserved=0, sold=10)


@pytest.mark.parametrize("after", [0, 2, 4, 6])
@pytest.mark.parametrize("lost", ["below the cursor", "above the cursor"])
async def test_a_lost_tail_ends_honestly_and_nothing_is_sold_twice(
    shop: Shop, settings: Settings, lost: str, after: int
) -> None:
    kept = await buy(shop, 2)
    await shop.settle()
    old = await shop.lane.snapshot()
    gone = await buy(shop, 4)
    if lost == "below the cursor":
        await shop.settle()
    await shop.lane.fail_over_to(old)
    new = await buy(shop, after)
    if lost == "above the cursor":
        # An API process remembers what it was answered.
        (refused,) = await shop.lane.admit(shop.lane.attempt(), seen=6 + after)
        assert refused.outcome is Outcome.REGRESSED
    steps = await recover(shop, settings)
    await assert_whole(shop)
    drained = lost == "below the cursor"
    fits = min(after, 8 - 4 * drained)
    assert await verdicts(shop, kept) == ["confirmed"] * 2
    assert await verdicts(shop, gone) == ["confirmed" if drained else "lost_in_failover"] * 4
    assert await verdicts(shop, new) == ["confirmed"] * fits + ["lost_in_failover"] * (after - fits)
    assert steps.figures("sale.recovered")["survivors"] == after
    assert steps.figures("sale.recovered")["rejected"] == after - fits
    decided = kept + new + (gone if drained else [])
    assert await replay(shop, decided) == same(decided)
    left = 10 - (await shop.counters()).sold
    assert left == 8 - 4 * drained - fits
    await buy(shop, left)
    assert (await shop.lane.buy()).outcome is Outcome.SOLD_OUT
    await assert_whole(shop)
    told = await shop.one("SELECT count(*) FROM notifications WHERE kind = 'order_confirmed'")
    assert told == 10


async def test_entries_that_no_drain_has_read_survive_when_the_gate_is_asked_for_again(
    shop: Shop, settings: Settings
) -> None:
    await buy(shop, 2)
    await shop.settle()
    queued = await buy(shop, 3)
    await ask_for_rebuild(shop)
    steps = await recover(shop, settings)
    assert steps.figures("sale.recovered")["survivors"] == 3
    assert await verdicts(shop, queued) == ["confirmed"] * 3
    await assert_whole(shop)
    assert await shop.rows("SELECT count(*) FROM reservations WHERE recovered") == [(3,)]
    steps = await recover(shop, settings)
    assert steps == []  # once is enough
    assert shop.lane.generation == 2


async def test_a_shopper_who_won_in_both_histories_holds_no_more_than_the_limit(shop: Shop, settings: Settings) -> None:
    shopper = uuid4()
    old = await shop.lane.snapshot()
    first = (shop.lane.attempt(shopper, "one"), await shop.lane.buy(shopper, "one"))
    await shop.settle()
    await shop.lane.fail_over_to(old)
    second = (shop.lane.attempt(shopper, "two"), await shop.lane.buy(shopper, "two"))
    assert second[1].outcome is Outcome.RESERVED
    await recover(shop, settings)
    assert await verdicts(shop, [first, second]) == ["confirmed", "lost_in_failover"]
    await assert_whole(shop)
    assert (await shop.lane.buy(shopper, "three")).outcome is Outcome.LIMIT_REACHED


async def test_a_cancelled_sale_takes_survivors_back(shop: Shop, settings: Settings) -> None:
    queued = await buy(shop, 2)
    await shop.cancel()
    await ask_for_rebuild(shop)
    await recover(shop, settings)
    assert await verdicts(shop, queued) == ["sale_cancelled"] * 2
    await assert_whole(shop)
    assert await shop.counters() == Counters(allotment=10, available=10, reserved=0, sold=0)


async def test_what_cannot_be_read_is_passed_over(shop: Shop, settings: Settings) -> None:
    await shop.settle()
    for broken in ({"cause": "nobody"}, {"shopper": ""}, {"quantity": 0}, {"quantity": 2**40}, {"at": 10**30}):
        await forge.append(shop.lane, **broken)
    await shop.lane.admin.xadd(shop.lane.keys.journal, {"kind": "reserve", "quantity": "x"}, id="1-6")
    await shop.lane.set_lane(seq=6, available=10)
    good = await buy(shop, 1)
    await ask_for_rebuild(shop)
    steps = await recover(shop, settings)
    assert steps.figures("recovery.generation_begun")["unusable"] == 6
    assert await verdicts(shop, good) == ["confirmed"]
    await assert_whole(shop)


@pytest.mark.parametrize("fault", ["drift", "no_stock", "poison", "clock"])
async def test_other_faults_are_left_to_a_person(shop: Shop, settings: Settings, fault: str) -> None:
    await buy(shop, 1)
    await shop.settle()
    await shop.rows("UPDATE sales SET fault = :fault WHERE id = :sale", fault=fault)
    await lose_everything(shop)
    assert await recover(shop, settings) == []
    assert await shop.fault() == fault


async def test_a_sound_gate_is_left_alone(shop: Shop, settings: Settings) -> None:
    await buy(shop, 3)
    before = await shop.lane.contents()
    assert await recover(shop, settings) == []
    await shop.drain()
    assert await recover(shop, settings) == []
    before.pop(shop.lane.keys.applied, None)
    after = await shop.lane.contents()
    after.pop(shop.lane.keys.applied, None)
    assert after == before
    assert await shop.fault() is None


async def test_a_ledger_that_does_not_add_up_is_not_put_into_a_gate(shop: Shop, settings: Settings) -> None:
    await buy(shop, 4)
    await shop.settle()
    await shop.rows("UPDATE sale_items SET sold = 3, available = 7 WHERE id = :item")
    await lose_everything(shop)
    for _ in range(2):
        await recover(shop, settings)
    assert await shop.fault() == "regressed"
    assert (await shop.lane.buy()).outcome is Outcome.NOT_LOADED
    await shop.rows("UPDATE sale_items SET sold = 4, available = 6 WHERE id = :item")
    await ask_for_rebuild(shop)
    await recover(shop, settings)
    await assert_whole(shop)


@pytest.mark.parametrize("key", ["config", "lane", "claims", "shoppers", "causes", "journal"])
async def test_a_lane_that_lost_one_of_its_keys_is_rebuilt_or_works_on(
    shop: Shop, settings: Settings, key: str
) -> None:
    won = await buy(shop, 4)
    await shop.settle()
    queued = await buy(shop, 2)
    await shop.lane.admin.delete(getattr(shop.lane.keys, key))
    if key in ("claims", "shoppers", "causes"):
        await ask_for_rebuild(shop)  # nobody can tell; the audit will
    await recover(shop, settings)
    await assert_whole(shop)
    lost = key == "journal"
    assert await verdicts(shop, won + queued) == ["confirmed"] * 4 + ["lost_in_failover" if lost else "confirmed"] * 2
    assert await replay(shop, won) == same(won)


async def test_one_sick_lane_does_not_keep_the_others_waiting(
    database: Database, gate: Gate, admin: Redis, settings: Settings
) -> None:
    shops = [await Shop.open(database, gate, admin) for _ in range(3)]
    for shop in shops:
        await buy(shop, 1)
        await shop.settle()
        await admin.delete(*shop.lane.keys.all())
    for shop in shops[:2]:
        await admin.set(shop.lane.keys.journal, "no stream")
    await recover(shops[2], settings)
    await assert_whole(shops[2])


class _WithoutClaims(Recovery):
    """A recovery that gives the gate its stock back and forgets who holds what."""

    async def _refill(self, rebuild: Any, lane_id: Any) -> int:
        await rebuild._store.client.hset(rebuild._keys.rebuild, "held", 4)
        return 0


async def test_control_a_gate_rebuilt_without_its_claims_is_reported(shop: Shop, settings: Settings) -> None:
    won = await buy(shop, 4)
    await shop.settle()
    await lose_everything(shop)
    await _WithoutClaims(shop.database, shop.gate, settings).tick()
    await follow(shop)
    again = await replay(shop, won)
    assert {outcome for outcome, _, _ in again} == {Outcome.RESERVED}, "each key took a second unit"
    await shop.drain()
    reported = {one.partition(" ")[0] for one in await findings(shop)}
    assert {"I2", "I7"} <= reported


class _KeepsPromises(Recovery):
    """A recovery that leaves what the gate was still to be told as it was."""

    async def _close(self, *args: Any) -> Any:
        pending = await self._pending()
        begun = await super()._close(*args)
        async with self._database.transaction() as session:
            await session.execute(
                text("UPDATE gate_outbox SET status = 'pending' WHERE id = ANY(CAST(:ids AS uuid[]))"), {"ids": pending}
            )
        return begun

    async def _pending(self) -> list[UUID]:
        async with self._database.transaction() as session:
            return [row[0] for row in await session.execute(text("SELECT id FROM gate_outbox"))]


async def test_control_promises_that_outlive_a_rebuild_are_refused_and_reported(
    database: Database, gate: Gate, admin: Redis, settings: Settings
) -> None:
    shop, _ = await held_shop(database, gate, admin, 4)
    await shop.make_due()
    await expire_due(database)
    await ask_for_rebuild(shop)
    await _KeepsPromises(database, gate, settings).tick()
    # The claims that are to come back would hold more than the ledger says: the gate does not take them.
    assert (await shop.lane.buy()).outcome is Outcome.NOT_LOADED
    await ask_for_rebuild(shop)
    await recover(shop, settings)
    # And were they told to a gate that has their units already:
    await shop.rows("UPDATE gate_outbox SET status = 'pending'")
    await shop.drain()
    assert "I3" in {one.partition(" ")[0] for one in await findings(shop)}
    assert await shop.fault() == "drift"
