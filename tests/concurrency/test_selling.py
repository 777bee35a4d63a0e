"""Neither over- nor undersold: crowds, parallel clicks and repeated keys, over several processes' worth of clients,
with drains, sweeps and relays at work all the while. Each guard has its negative control."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Self
from uuid import UUID, uuid4

import pytest_asyncio
from redis.asyncio import Redis

from backend.gate import Admission, Attempt, Decision, Gate, Outcome
from backend.models import Database
from backend.orders import expire_due
from tests.concurrency.broken import CarelessExpiry, ForgetfulReleaseGate, GetThenDecrGate, UpdateFirstDrain
from tests.support.checker import findings
from tests.support.shop import Shop

PROCESSES = 4
CLICKS = 20


@pytest_asyncio.fixture(loop_scope="session")
async def processes(gate_url: str):
    """Gates of several API processes, each with its own connections and its own memory."""
    gates = [Gate.connect(gate_url, timeout_s=30.0, name=f"api-{n}") for n in range(PROCESSES)]
    yield [Admission(one) for one in gates]
    for one in gates:
        await one.close()


async def _crowd(shop: Shop, processes: Sequence[Admission], attempts: Sequence[Attempt]) -> list[Decision]:
    """All attempts at once, dealt out to the processes."""
    lanes = [process.lane(shop.lane.lane_id) for process in processes]
    return list(await asyncio.gather(*(lanes[n % len(lanes)].submit(one) for n, one in enumerate(attempts))))


class Background:
    """Drains, sweeps and relays, two of each, until the crowd has gone."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.found: list[str] = []

    async def _loop(self, work) -> None:
        while not self._stopping.is_set():
            await work()
            await asyncio.sleep(0.005)

    async def _expire(self) -> None:
        await expire_due(self._shop.database)

    async def __aenter__(self) -> Self:
        works = [self._shop.drain, self._shop.relay, self._expire] * 2
        self._tasks = [asyncio.create_task(self._loop(work)) for work in works]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await asyncio.gather(*self._tasks)


async def test_parallel_clicks_of_everybody_sell_everything_once(shop: Shop, processes: list[Admission]) -> None:
    """40 shoppers for 10 units, 20 clicks each with different keys, a limit of 1."""
    shoppers = [uuid4() for _ in range(40)]
    attempts = [shop.lane.attempt(shopper, f"click {n}") for n in range(CLICKS) for shopper in shoppers]
    async with Background(shop):
        decisions = await _crowd(shop, processes, attempts)
    outcomes = Counter(one.outcome for one in decisions)
    winners = Counter(
        attempt.shopper_id for attempt, one in zip(attempts, decisions, strict=True) if one.outcome is Outcome.RESERVED
    )
    assert outcomes[Outcome.RESERVED] == 10
    assert set(winners.values()) == {1}
    assert set(outcomes) <= {Outcome.RESERVED, Outcome.LIMIT_REACHED, Outcome.SOLD_OUT}
    await shop.settle()
    assert await findings(shop, at_rest=True) == []
    counters = await shop.counters()
    assert (counters.sold, counters.available) == (10, 0)  # sell-through 100 %
    assert len(await shop.rows("SELECT DISTINCT shopper_id FROM reservations")) == 10


async def test_one_key_sent_twenty_times_is_one_ticket(
    database: Database, gate: Gate, admin: Redis, processes: list[Admission]
) -> None:
    shop = await Shop.open(database, gate, admin, units=60, limit=5)
    attempts = [shop.lane.attempt() for _ in range(30)]
    async with Background(shop):
        decisions = await _crowd(shop, processes, attempts * CLICKS)
    tickets: dict[UUID, set[str]] = {}
    outcomes: Counter[str] = Counter()
    for attempt, one in zip(attempts * CLICKS, decisions, strict=True):
        outcomes[one.outcome] += 1
        tickets.setdefault(attempt.reservation_id, set()).add(f"{one.entry_id} {one.at_ms}")
    assert outcomes == {Outcome.RESERVED: 30, Outcome.REPLAYED: 570}
    assert {len(told) for told in tickets.values()} == {1}
    await shop.settle()
    assert (await shop.counters()).sold == 30
    assert await findings(shop, limit=5, at_rest=True) == []


async def test_a_thousand_for_a_hundred_of_mixed_quantities(
    database: Database, gate: Gate, admin: Redis, processes: list[Admission]
) -> None:
    shop = await Shop.open(database, gate, admin, units=100, limit=3)
    attempts = [shop.lane.attempt(quantity=1 + n % 3) for n in range(1_000)]
    async with Background(shop):
        decisions = await _crowd(shop, processes, attempts)
    units = sum(a.quantity for a, one in zip(attempts, decisions, strict=True) if one.outcome is Outcome.RESERVED)
    assert units == 100
    await shop.settle()
    assert (await shop.counters()).sold == 100
    assert await findings(shop, limit=3, at_rest=True) == []


async def test_held_units_go_round_until_everything_is_sold(
    database: Database, gate: Gate, admin: Redis, processes: list[Admission]
) -> None:
    """Every hold of the first rounds runs out; the units are bought by others, and none is lost on the way."""
    shop = await Shop.open(database, gate, admin, units=20, hold_s=600)
    for _ in range(3):
        attempts = [shop.lane.attempt() for _ in range(60)]
        async with Background(shop):
            decisions = await _crowd(shop, processes, attempts)
        assert Counter(one.outcome for one in decisions) == {Outcome.RESERVED: 20, Outcome.SOLD_OUT: 40}
        await shop.settle()
        assert await findings(shop, at_rest=True) == []
        await shop.make_due()
        async with Background(shop):
            while (await shop.gate.read(shop.lane.lane_id)).available < 20:
                await asyncio.sleep(0.01)
        await shop.settle()
    assert await shop.reservations() == {"expired": 60}
    counters = await shop.counters()
    assert (counters.available, counters.reserved) == (20, 0)


async def test_control_a_get_and_a_decr_are_seen(shop: Shop, gate: Gate) -> None:
    meet = asyncio.Barrier(PROCESSES)
    broken = [Admission(GetThenDecrGate(gate.store, shop, meet)) for _ in range(PROCESSES)]
    shoppers = [uuid4() for _ in range(10)]
    attempts = [shop.lane.attempt(shopper, f"click {n}") for shopper in shoppers for n in range(CLICKS)]
    decisions = await _crowd(shop, broken, attempts)
    assert Counter(one.outcome for one in decisions)[Outcome.RESERVED] > 10
    found = await findings(shop)
    assert [one for one in found if one.startswith("I2")]
    assert [one for one in found if one.startswith("I8 gate")]


async def test_control_a_release_without_its_cause_is_seen(database: Database, gate: Gate, admin: Redis) -> None:
    shop = await Shop.open(database, gate, admin, hold_s=600)
    await shop.lane.admit(*(shop.lane.attempt() for _ in range(5)))
    await shop.drain()
    await shop.make_due()
    await expire_due(database)
    assert await findings(shop) == []
    real = shop.lane.gate
    shop.lane.gate = ForgetfulReleaseGate(gate.store)
    for _ in range(2):
        await shop.relay()
        await shop.forget_telling()
    shop.lane.gate = real
    found = await findings(shop)
    assert [one for one in found if one.startswith("I2")], found
    assert [one for one in found if one.startswith("I9")], found
    # The product's own eyes: the journal does not say what the lane does, which the next entry reveals.
    await shop.lane.buy()
    assert (await shop.drain()).fault == "forked"


async def test_control_a_drain_that_updates_before_it_inserts_is_seen(shop: Shop) -> None:
    await shop.lane.admit(*(shop.lane.attempt() for _ in range(3)))
    drain = UpdateFirstDrain(shop.database, shop.gate)
    await drain.drain_lane(shop.lane.lane_id)
    await drain.drain_lane(shop.lane.lane_id)  # the same entries again: a redelivery
    found = await findings(shop)
    assert (await shop.counters()).sold == 6
    assert [one for one in found if one.startswith("I1 reservations hold 0 and 3")], found
    assert [one for one in found if one.startswith("I17")], found


async def test_control_two_careless_sweeps_are_seen(database: Database, gate: Gate, admin: Redis) -> None:
    shop = await Shop.open(database, gate, admin, hold_s=600)
    await shop.lane.admit(*(shop.lane.attempt() for _ in range(6)))
    await shop.drain()
    await shop.rows("UPDATE reservations SET expires_at = now() WHERE seq <= 3")
    careless = CarelessExpiry()
    await asyncio.gather(careless.sweep(shop), careless.sweep(shop))
    found = await findings(shop)
    assert (await shop.counters()).available == 10
    assert [one for one in found if one.startswith("I1")], found
    assert [one for one in found if one.startswith("I3")], found
