"""What happens while a gate is rebuilt: units on their way, work by others, two at once, and death at every step."""

import asyncio
from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from backend.gate import Gate, Outcome
from backend.models import Database
from backend.orders import Recovery, Settlement, confirm_paid, expire_due
from backend.sales import apply_configs, load_lanes, run_due_transitions, take_from_gate
from backend.settings import Settings
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
from tests.support.seams import DatabaseWith, Death, Died, gate_with, once
from tests.support.shop import Counters, Shop


@pytest.mark.parametrize("stage", ["pending", "told", "drained", "lost", "refused"])
async def test_a_release_at_any_stage_comes_back_once(
    database: Database, gate: Gate, admin: Redis, settings: Settings, stage: str
) -> None:
    shop, _ = await held_shop(database, gate, admin, 10)
    await shop.make_due()
    before = await shop.lane.snapshot()
    if stage == "refused":
        claims = await admin.hkeys(shop.lane.keys.claims)
        await admin.hdel(shop.lane.keys.claims, *claims[:4])
    assert await expire_due(database) == 10
    if stage != "pending":
        assert await shop.relay() == 6 if stage == "refused" else 10
    if stage == "drained":
        await shop.settle()
    if stage in ("drained", "lost"):
        await shop.lane.fail_over_to(before)
    await ask_for_rebuild(shop)
    await recover(shop, settings)
    await assert_whole(shop)
    assert await shop.counters() == Counters(allotment=10, available=10, reserved=0, sold=0)
    assert set(await shop.outbox()) <= {"superseded", "done"}
    await buy(shop, 10)
    assert (await shop.lane.buy()).outcome is Outcome.SOLD_OUT


@pytest.mark.parametrize("place", ["before rebuild", "after rebuild", "before refill", "after refill", "before reload"])
@pytest.mark.parametrize("what", ["expire", "cancel", "pay", "top up"])
async def test_what_the_ledger_gives_while_the_gate_is_rebuilt_reaches_it_afterwards(
    database: Database, gate: Gate, admin: Redis, settings: Settings, place: str, what: str
) -> None:
    shop, attempts = await held_shop(database, gate, admin, 6)
    await lose_everything(shop)

    async def act() -> None:
        match what:
            case "expire":
                await shop.make_due()
                assert await expire_due(database) == 6
            case "cancel":
                assert await shop.cancel() == 6
            case "pay":
                order_id = await shop.one(
                    "SELECT id FROM orders WHERE reservation_id = :id", id=attempts[0].reservation_id
                )
                async with database.transaction() as session:
                    assert await confirm_paid(session, order_id) is Settlement.CONFIRMED
            case "top up":
                await shop.top_up(5)
        await follow(shop)
        assert await shop.relay() == 0  # the gate is not there, and nothing is taken for told

    steps = await recover(shop, settings, gate=gate_with(gate, once(place, act)))
    assert steps.figures("sale.recovered")["generation"] == 2
    expected = {
        "expire": Counters(allotment=10, available=10, reserved=0, sold=0),
        "cancel": Counters(allotment=10, available=10, reserved=0, sold=0),
        "pay": Counters(allotment=10, available=4, reserved=5, sold=1),
        "top up": Counters(allotment=15, available=9, reserved=6, sold=0),
    }[what]
    assert await shop.counters() == expected
    await assert_whole(shop)
    assert await shop.counters() == expected
    assert await shop.lane.lane_field("available") == str(expected.available)


async def test_a_reduction_that_was_lost_is_taken_again_and_one_that_was_booked_is_not(
    shop: Shop, settings: Settings
) -> None:
    await shop.settle()
    booked, tail, lost = uuid4(), uuid4(), uuid4()

    async def reduce(command: UUID, units: int) -> str:
        applied = await shop.gate.adjust(
            shop.lane.lane_id, cause=command, units=-units, generation=shop.lane.generation
        )
        return applied.answer.value

    assert await reduce(booked, 1) == "DONE"
    await shop.settle()
    old = await shop.lane.snapshot()
    assert await reduce(lost, 2) == "DONE"
    await shop.lane.fail_over_to(old)
    assert await reduce(tail, 3) == "DONE"
    await ask_for_rebuild(shop)
    steps = await recover(shop, settings)
    assert steps.figures("recovery.generation_begun")["reductions"] == 1
    assert await reduce(booked, 1) == "ALREADY"
    assert await reduce(tail, 3) == "ALREADY"
    assert await reduce(lost, 2) == "DONE"
    await assert_whole(shop)
    assert await shop.counters() == Counters(allotment=4, available=4, reserved=0, sold=0)


async def test_recoveries_at_once_do_it_once(database: Database, gate: Gate, admin: Redis, settings: Settings) -> None:
    shop, _ = await held_shop(database, gate, admin, 5)
    await lose_everything(shop)
    await asyncio.gather(*(Recovery(database, gate, settings).tick() for _ in range(8)))
    for _ in range(3):
        await recover(shop, settings)
    await assert_whole(shop)
    assert await shop.alarms() == ["fault.regressed"]
    events = await shop.one("SELECT count(*) FROM sale_events WHERE kind = 'sale.recovered'")
    assert events == 1
    await buy(shop, 5)
    await assert_whole(shop)


async def test_it_may_die_at_every_step_and_whoever_comes_next_finishes(
    database: Database, gate: Gate, admin: Redis, settings: Settings
) -> None:
    places = []
    for nth in range(1, 1_000):
        shop, _ = await held_shop(database, gate, admin, 3)
        await shop.make_due()
        await shop.rows(
            "UPDATE reservations SET expires_at = now() + interval '1 hour' WHERE id = "
            "(SELECT id FROM reservations WHERE item_id = :item LIMIT 1)"
        )
        await expire_due(database)
        queued = await buy(shop, 2)
        await ask_for_rebuild(shop)
        death = Death(nth)
        with suppress(Died):
            await recover(shop, settings, database=DatabaseWith(database, death), gate=gate_with(gate, death))
        if not death.place:
            break
        places.append(death.place)
        # Meanwhile the others go on: what is due, relays and drains.
        await shop.relay()
        await shop.drain()
        await recover(shop, settings)
        await recover(shop, settings)
        await assert_whole(shop)
        assert await verdicts(shop, queued) == ["reserved"] * 2
        assert await shop.counters() == Counters(allotment=10, available=7, reserved=3, sold=0)
        assert shop.lane.generation in (2, 3)
        events = await shop.one("SELECT count(*) FROM sale_events WHERE kind = 'sale.recovered' AND sale_id = :sale")
        assert events == 1
        await shop.rows("UPDATE sales SET stage = 'reconciled' WHERE id = :sale")
    assert {"after rebuild", "after refill", "after reload", "before commit", "after commit"} <= set(places)


@pytest.mark.parametrize("place", ["after rebuild", "after refill", "after reload"])
async def test_a_store_that_is_lost_again_meanwhile_is_rebuilt_again(
    shop: Shop, gate: Gate, settings: Settings, place: str
) -> None:
    won = await buy(shop, 4)
    await shop.settle()
    await lose_everything(shop)
    await recover(shop, settings, gate=gate_with(gate, once(place, lambda: lose_everything(shop))))
    for _ in range(2):
        await recover(shop, settings)
    await assert_whole(shop)
    assert shop.lane.generation == 3
    assert await replay(shop, won) == same(won)


async def test_an_older_store_that_wakes_sells_nothing_and_is_replaced(shop: Shop, settings: Settings) -> None:
    won = await buy(shop, 4)
    await shop.settle()
    old = await shop.lane.snapshot()
    await lose_everything(shop)
    await recover(shop, settings)
    await shop.settle()
    new = await buy(shop, 2)
    await shop.settle()
    await shop.lane.fail_over_to(old)
    # Who knows the newer generation is refused by the old store, which stops itself.
    assert (await shop.lane.buy()).outcome is Outcome.REGRESSED
    await recover(shop, settings)
    assert shop.lane.generation == 3
    await assert_whole(shop)
    assert await replay(shop, won + new) == same(won + new)


async def test_a_sale_that_is_not_to_go_on_by_itself_waits_rebuilt_and_drains(shop: Shop, settings: Settings) -> None:
    await shop.rows("UPDATE sales SET recovery = 'manual' WHERE id = :sale")
    won = await buy(shop, 4)
    await shop.settle()
    await lose_everything(shop)
    steps = await recover(shop, settings)
    assert steps.figures("sale.recovered")["resumed"] is False
    for _ in range(3):
        assert await recover(shop, settings) == []
    assert await shop.fault() == "regressed"
    assert (await shop.lane.buy()).outcome is Outcome.PAUSED
    assert await replay(shop, won) == same(won)
    # What is still to be done is done: the new journal is read, although the sale stands.
    await shop.settle()
    assert await findings(shop, at_rest=True) == []
    assert await shop.cursor() == (0, 6)
    # As an operator's resume does it.
    await shop.rows("UPDATE sales SET fault = NULL, config_version = config_version + 1 WHERE id = :sale")
    await recover(shop, settings)
    await assert_whole(shop)
    await buy(shop, 6)


async def test_nobody_gets_in_while_the_journal_is_read(shop: Shop, settings: Settings) -> None:
    await buy(shop, 2)
    await ask_for_rebuild(shop)
    tried = []

    async def attempt() -> None:
        tried.append(await shop.lane.buy())

    steps = await recover(shop, settings, gate=gate_with(shop.gate, once("after xrange", attempt)))
    assert [one.outcome for one in tried] == [Outcome.PAUSED]
    assert steps.figures("sale.recovered")["generation"] == 2
    await assert_whole(shop)


async def test_what_the_lane_did_after_its_journal_was_read_is_read_too(
    database: Database, gate: Gate, admin: Redis, settings: Settings
) -> None:
    """The latch holds shoppers off; a relay that was on its way is not held off, nor is an operator's reduction."""
    shop, _ = await held_shop(database, gate, admin, 4)
    command = uuid4()

    async def act() -> None:
        await gate.adjust(shop.lane.lane_id, cause=command, units=-2, generation=1)

    await ask_for_rebuild(shop)
    steps = await recover(shop, settings, gate=gate_with(gate, once("before rebuild", act)))
    assert steps.figures("recovery.generation_begun")["reductions"] == 1
    assert shop.lane.generation == 3
    await assert_whole(shop)
    assert await shop.counters() == Counters(allotment=8, available=4, reserved=4, sold=0)


@pytest.mark.parametrize("place", ["before rebuild", "after rebuild", "after refill"])
async def test_a_preload_that_comes_again_loads_nothing_meanwhile(shop: Shop, settings: Settings, place: str) -> None:
    """An emptied lane with an empty cursor looks as before the first load. Loaded again, it would have no claims."""
    won = await buy(shop, 4)
    await shop.settle()
    await lose_everything(shop)

    async def act() -> None:
        await load_lanes(shop.database, shop.gate, settings, shop.sale_id)
        await run_due_transitions(shop.database, shop.gate, settings)
        assert not (await shop.gate.read(shop.lane.lane_id)).loaded

    await recover(shop, settings, gate=gate_with(shop.gate, once(place, act)))
    await assert_whole(shop)
    assert await replay(shop, won) == same(won)


async def test_a_lane_that_another_recovery_made_whole_meanwhile_is_no_fault(shop: Shop, settings: Settings) -> None:
    await buy(shop, 4)
    await shop.settle()
    await lose_everything(shop)

    async def others() -> None:
        await recover(shop, settings)
        await recover(shop, settings)

    assert await recover(shop, settings, gate=gate_with(shop.gate, once("after read", others))) == []
    await assert_whole(shop)
    assert await shop.alarms() == ["fault.regressed"]
    assert shop.lane.generation == 2


@pytest.mark.parametrize("policy", ["automatic", "manual"])
async def test_the_config_tick_takes_a_lane_that_waits_for_no_faulty_one(
    shop: Shop, settings: Settings, policy: str
) -> None:
    await shop.rows("UPDATE sales SET recovery = :policy WHERE id = :sale", policy=policy)
    await buy(shop, 4)
    await shop.settle()
    await lose_everything(shop)
    events: list[str] = []

    async def at(place: str) -> None:
        # It dies when the sale may go on, and the lanes have not been told.
        events.append(place)
        if place == "after commit" and await shop.fault() is None and "before reload" in events:
            raise Died(place)

    with suppress(Died):
        await recover(shop, settings, database=DatabaseWith(shop.database, at), gate=gate_with(shop.gate, at))
    assert await shop.lane.lane_field("fault") == "rebuilt"
    for _ in range(3):
        await apply_configs(shop.database, shop.gate, settings)
    assert await shop.lane.lane_field("fault") == "rebuilt"
    assert await shop.fault() == (None if policy == "automatic" else "regressed")
    await recover(shop, settings)
    if policy == "automatic":
        await assert_whole(shop)
    assert await shop.alarms() == ["fault.regressed"]


async def test_a_reduction_that_waits_for_the_ledger_is_told_again_to_the_rebuilt_gate(
    shop: Shop, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.sales.stock.APPLIED_WITHIN_S", 60.0)
    await shop.settle()
    command = uuid4()

    async def lose() -> None:
        await lose_everything(shop)
        await recover(shop, settings)

    waiting = asyncio.create_task(
        take_from_gate(
            shop.database,
            gate_with(shop.gate, once("after adjust", lose)),
            shop.sale_id,
            sku="TEE-M",
            units=3,
            command_id=command,
        )
    )
    while not waiting.done():
        await shop.drain()
        await asyncio.sleep(0.02)
    await waiting
    await assert_whole(shop)
    assert await shop.counters() == Counters(allotment=7, available=7, reserved=0, sold=0)
    # Told again by whoever got no answer: the ledger has it, nobody is asked.
    await take_from_gate(shop.database, shop.gate, shop.sale_id, sku="TEE-M", units=3, command_id=command)
    assert (await shop.counters()).available == 7


async def test_a_store_that_is_lost_before_its_new_genesis_was_read_is_rebuilt_again(
    shop: Shop, settings: Settings
) -> None:
    won = await buy(shop, 4)
    await shop.settle()
    await lose_everything(shop)
    await recover(shop, settings)
    assert (await shop.fault(), await shop.cursor()) == (None, (None, None))
    await lose_everything(shop)
    await recover(shop, settings)
    assert shop.lane.generation == 3
    await assert_whole(shop)
    assert await replay(shop, won) == same(won)
