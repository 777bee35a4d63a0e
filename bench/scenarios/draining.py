"""The ledger's side: how fast one worker process turns a journal into committed orders."""

import asyncio
import time

from bench.contest import Contestant, Sample, Scenario, Target
from bench.hold import held
from bench.references.names import DATABASE_URL
from bench.references.servers import ledger, product_database, run_program
from bench.scenarios.post import CONNECTIONS
from bench.shop import DRAINED_WITHIN_S, Terms
from bench.world import World
from stack.cost import Cost
from stack.errors import StackError
from stack.load import closed_loop
from stack.servers import PostgresServer

UNNEST, COPY = "bare unnest", "bare COPY"
POLL_S = 0.01


class Drained(Contestant):
    """A journal filled while its drain was held, then let go.

    The rate is taken between the first batch seen applied and the last, so that the wait for the drain's next look
    (at most a second) is not in it; the costs are from the release of the hold on.
    """

    name = "drain"

    def __init__(self, world: World, count: int) -> None:
        self._world = world
        self._count = count

    async def run(self) -> Sample:
        world, shop, count = self._world, self._world.shop, self._count
        sale = await shop.opened(Terms(units=count))
        await shop.drained(sale)  # the genesis
        attempts = world.crowd.attempts(sale.items, world.crowd.shoppers(count))
        async with held(shop, sale):
            tally = await closed_loop(world.platform.api, attempts.requests, connections=CONNECTIONS, keep=True)
            waiting = await shop.backlog(sale)
        with Cost(world.platform.pids) as cost:
            seen: list[tuple[float, int]] = []
            while not seen or seen[-1][1]:
                seen.append((time.perf_counter(), await shop.backlog(sale)))
                if seen[-1][0] - seen[0][0] > DRAINED_WITHIN_S:
                    raise StackError(f"{seen[-1][1]} orders are not placed after {DRAINED_WITHIN_S:.0f} s")
                await asyncio.sleep(POLL_S)
        moving = [one for one in seen if one[1] < waiting]
        (first_s, left), (last_s, _) = moving[0], moving[-1]
        faults = [] if tally.count("RESERVED") == count == waiting else [f"answers were {tally.by_name()}"]
        promised = [attempts.reservations[one.index] for one in tally.kept]
        faults += await shop.faults(sale, sold=count, reservations=promised)
        await shop.end(sale)
        figures = {f"{role}_us": cost.us[role] / count for role in ("worker", "gate", "postgres")}
        if last_s > first_s:
            figures["orders_per_s"] = left / (last_s - first_s)
        return Sample(figures, tally.by_name(), faults)


class BareSql(Contestant):
    """Reference (d), a process of its own for each run."""

    def __init__(self, world: World, name: str, method: str, count: int) -> None:
        self.name = name
        self._world = world
        self._method = method
        self._count = count

    async def prepare(self) -> None:
        folder = self._world.folder
        self._ledger: PostgresServer = await self._world.reference(ledger(folder))
        self._url = await self._world.once("database rows", lambda: product_database(self._ledger, "rows", folder))

    async def run(self) -> Sample:
        assert self._ledger.pid is not None
        with Cost({"postgres": [self._ledger.pid]}) as cost:
            result = await run_program("bare_sql", self._method, str(self._count), env={DATABASE_URL: self._url})
        figures = {
            "worker_us": result["cpu_us"] / self._count,
            "postgres_us": cost.us["postgres"] / self._count,
            "orders_per_s": self._count / result["seconds"],
        }
        return Sample(figures)


def _contestants(world: World) -> list[Contestant]:
    count = world.size.of(60_000, 12_000)
    return [
        Drained(world, count),
        BareSql(world, UNNEST, "unnest", count),
        BareSql(world, COPY, "copy", count),
    ]


SCENARIOS = (
    Scenario(
        "ledger",
        "Journal to committed orders, on one worker process",
        _contestants,
        (
            Target("orders a second of one worker process", "orders_per_s", 15_000, at_least=True),
            Target("ledger rate beside a bare unnest", "orders_per_s", 0.5, at_least=True, reference=UNNEST),
        ),
        note="Reservation, order, two ledger entries and the notification's outbox row a unit, in the product's own "
        "tables with all their indexes and checks, 2,000 units a transaction, in all three. Nothing else loads "
        "the machine meanwhile.",
    ),
)
