"""How long a shopper waits: for the answer to an attempt, and from its 202 until the order is committed."""

import asyncio
import math
import time
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from statistics import median

import orjson

from backend.core.signing import derive_key
from backend.gate import TICKET_KEY_LABEL, LaneId, Tickets
from bench.contest import Contestant, Sample, Scenario, Target
from bench.crowd import Attempts
from bench.scenarios.buying import sold_faults
from bench.shop import OpenSale, Shop, Terms
from bench.world import World
from stack.load import Address, Kept, Tally, closed_loop, open_loop, percentile

SAMPLE_S = 0.005
"""How often the applied entry is looked at: decisions are seen up to so much later."""
OPENING_MARGIN_S = 0.002
PREPARE_S_AN_ATTEMPT = 0.000_04
FULL_CONNECTIONS = 64
IDLE_S = 1.7
"""Longer than a drain's wait for news, and no multiple of the clock's second: each try finds it at another point."""


class Applied:
    """When the ledger had applied which entry of a lane, seen from outside."""

    def __init__(self, shop: Shop, sale: OpenSale) -> None:
        self._gate = shop.gate
        self._lane_id = LaneId(sale.item.item_id)
        self._times_s = array("d")
        self._seqs = array("q")

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look all the time within the block, and once at its end."""
        over = asyncio.Event()
        watching = asyncio.create_task(self._watch(over))
        try:
            yield
        finally:
            over.set()  # not cancelled: the Redis client may swallow that
            await watching

    async def _watch(self, over: asyncio.Event) -> None:
        while not over.is_set():
            await self.look()
            await asyncio.sleep(SAMPLE_S)
        await self.look()

    async def look(self) -> None:
        """Once."""
        entry = await self._gate.applied(self._lane_id)
        seq = -1 if entry is None else entry.seq
        if not self._seqs or seq > self._seqs[-1]:
            self._seqs.append(seq)
            self._times_s.append(time.perf_counter())

    def at_s(self, seq: int) -> float:
        """When ``seq`` was first seen applied; infinite when it never was."""
        found = bisect_left(self._seqs, seq)
        return self._times_s[found] if found < len(self._seqs) else math.inf


def decided_ms(shop: Shop, applied: Applied, attempts: Attempts, kept: Sequence[Kept]) -> list[float]:
    """From each 202 until its entry was committed, in ms; the entry is read from the ticket itself."""
    tickets = Tickets(derive_key(shop.settings.secret_key, TICKET_KEY_LABEL))
    found = []
    for one in kept:
        ticket = tickets.read(orjson.loads(one.body)["ticket"], attempts.shoppers[one.index].shopper_id)
        at_s = applied.at_s(ticket.entry_id.seq) if ticket else math.inf
        found.append(max(0.0, at_s - one.at_s) * 1_000)
    return found


class HalfLoad(Contestant):
    """Arrivals at half the rate that the machine could just sustain, from the very moment of opening.

    What it could sustain is measured once, closed loop, from the first attempt to the last order.
    """

    name = "half of full load"

    def __init__(self, world: World, *, calibration: int, seconds: float, addresses: Sequence[Address]) -> None:
        self._world = world
        self._calibration = calibration
        self._seconds = seconds
        self._addresses = addresses

    async def prepare(self) -> None:
        world, shop, count = self._world, self._world.shop, self._calibration
        rates = []
        for _ in range(3):
            sale = await shop.opened(Terms(units=count))
            attempts = world.crowd.attempts(sale.items, world.crowd.shoppers(count))
            began_s = time.perf_counter()
            await closed_loop(self._addresses, attempts.requests, connections=FULL_CONNECTIONS)
            await shop.drained(sale)
            rates.append(count / (time.perf_counter() - began_s))
            await shop.end(sale)
        self._full_per_s = median(rates)

    async def run(self) -> Sample:
        world, shop, rate_per_s = self._world, self._world.shop, self._full_per_s / 2
        count = int(rate_per_s * self._seconds)
        sale = await shop.sale(Terms(units=count, opens_in_s=2.0 + count * PREPARE_S_AN_ATTEMPT))
        attempts = world.crowd.attempts(sale.items, world.crowd.shoppers(count))
        applied = Applied(shop, sale)
        opens_s = time.perf_counter() + sale.opens_at_s - time.time() + OPENING_MARGIN_S
        async with applied.watched():
            tally = await open_loop(
                self._addresses, attempts.requests, rate_per_s=rate_per_s, keep=True, start_s=opens_s
            )
            await shop.drained(sale)
        faults = await sold_faults(world, sale, attempts, tally, units=count)
        decided = decided_ms(shop, applied, attempts, tally.kept)
        if math.inf in decided:
            faults.append("an accepted attempt was never seen decided")
        await shop.end(sale)
        return Sample({**_latencies(tally, decided), "full_per_s": self._full_per_s}, tally.by_name(), faults)


def _latencies(tally: Tally, decided: Sequence[float]) -> dict[str, float]:
    every = [latency * 1_000 for latency in tally.latency_s]
    first = [latency * 1_000 for due, latency in zip(tally.due_s, tally.latency_s, strict=True) if due < 1.0]
    return {
        "buy_p50_ms": percentile(every, 0.5),
        "buy_p99_ms": percentile(every, 0.99),
        "buy_max_ms": max(every, default=0.0),
        "first_second_p50_ms": percentile(first, 0.5),
        "first_second_p99_ms": percentile(first, 0.99),
        "decided_p50_ms": percentile(decided, 0.5),
        "decided_p99_ms": percentile(decided, 0.99),
        "offered_per_s": tally.answered / max(tally.due_s, default=1.0),
        "generator_late_ms": tally.late_s * 1_000,
    }


class FromIdle(Contestant):
    """One attempt at a time, each after a pause in which nothing happened."""

    name = "from idle"

    def __init__(self, world: World, tries: int) -> None:
        self._world = world
        self._tries = tries

    async def run(self) -> Sample:
        world, shop = self._world, self._world.shop
        sale = await shop.opened(Terms(units=self._tries))
        attempts = world.crowd.attempts(sale.items, world.crowd.shoppers(self._tries))
        waits, whole = [], Tally()
        for at in range(self._tries):
            await asyncio.sleep(IDLE_S)
            applied = Applied(shop, sale)
            tally = await closed_loop(world.platform.api, attempts.requests[at : at + 1], keep=True)
            whole.answers.update(tally.answers)
            whole.unanswered += tally.unanswered
            async with applied.watched():
                await shop.drained(sale)
            kept = [Kept(at, one.at_s, one.body) for one in tally.kept]
            whole.kept += kept
            waits += decided_ms(shop, applied, attempts, kept)
        faults = await sold_faults(world, sale, attempts, whole, units=self._tries)
        await shop.end(sale)
        return Sample({"decided_p50_ms": percentile(waits, 0.5), "decided_max_ms": max(waits)}, whole.by_name(), faults)


def _half_load(world: World) -> list[Contestant]:
    size = world.size
    return [HalfLoad(world, calibration=size.of(20_000, 5_000), seconds=size.of(10, 4), addresses=world.platform.api)]


def _from_idle(world: World) -> list[Contestant]:
    return [FromIdle(world, world.size.of(10, 3))]


SCENARIOS = (
    Scenario(
        "latency",
        "Waiting at half of full load, the first second after opening included",
        _half_load,
        (
            Target("p50 of a buy in ms", "buy_p50_ms", 5.0),
            Target("p99 of a buy in ms", "buy_p99_ms", 25.0),
            Target("p50 from 202 to decided in ms", "decided_p50_ms", 100.0),
            Target("p99 from 202 to decided in ms", "decided_p99_ms", 500.0),
        ),
        note="Open loop: arrivals at a fixed rate, latency from the scheduled arrival, so a generator that is late is "
        "part of it (`generator_late_ms`). `full_per_s` is what a closed loop of 64 connections got sold a second, "
        "orders committed. Every attempt gets a unit.",
    ),
    Scenario(
        "idle",
        "From a 202 to its order when nothing else happens",
        _from_idle,
        (Target("longest from 202 to decided from idle in ms", "decided_max_ms", 1_500.0),),
    ),
)
