"""A sold unit: from the attempt to the committed order, over all processes, beside two other ways to sell one."""

import time
from abc import abstractmethod

import asyncpg
from redis.asyncio import Redis

from bench.contest import Contestant, Sample, Scenario, Target
from bench.crowd import nowhere
from bench.references import names
from bench.references.servers import WebReference, WorkerReference, database, ledger, store
from bench.scenarios.buying import Bought, BoughtThroughEdge
from bench.scenarios.post import CONNECTIONS
from bench.shop import until
from bench.world import World
from stack.cost import Cost
from stack.load import Address, closed_loop
from stack.servers import GateServer, PostgresServer
from stack.servers.base import Server

COMPOSITION = "bare composition"
TEXTBOOK = "textbook design"
PLACED_WITHIN_S = 300.0


class ReferenceShop(Contestant):
    """A reference that sells: an API process, a worker, a store of its own and a database on the references' server.

    A run begins with emptied tables and full stock, and ends when every accepted attempt has its order.
    """

    module: str
    worker_module: str
    stock_table: str

    def __init__(self, world: World, attempts: int, units: int) -> None:
        self._world = world
        self._attempts = attempts
        self._units = units

    async def prepare(self) -> None:
        world, folder = self._world, self._world.folder
        self._store: GateServer = await world.reference(store(folder, self.module))
        self._ledger: PostgresServer = await world.reference(ledger(folder))
        self._url = await world.once(f"database {self.module}", lambda: database(self._ledger, self.module))
        env = {
            names.GATE_URL: self._store.url,
            names.BROKER_URL: self._store.broker_url,
            names.DATABASE_URL: self._url,
        }
        self._web: Server = await world.reference(WebReference(self.module, folder, env))
        self._worker: Server = await world.reference(WorkerReference(self.worker_module, folder, env))
        self._redis: Redis = Redis.from_url(self._store.admin_url)
        self._database = await asyncpg.connect(self._url)

    async def close(self) -> None:
        await self._redis.aclose()
        await self._database.close()

    @abstractmethod
    async def stock_up(self, tokens: list[str]) -> None:
        """Empty the store's own keys and put the stock there; ``tokens`` will come."""

    async def run(self) -> Sample:
        crowd = self._world.crowd
        attempts = crowd.attempts([nowhere()], crowd.shoppers(self._attempts))
        await self._database.execute(
            f"TRUNCATE orders; DELETE FROM {self.stock_table}; "  # noqa: S608 - our own names
            f"INSERT INTO {self.stock_table} VALUES (1, {self._units})"
        )
        await self.stock_up([shopper.token for shopper in attempts.shoppers])
        began_s = time.monotonic()
        with Cost(self._pids()) as cost:
            tally = await closed_loop([Address(self._web.port)], attempts.requests, connections=CONNECTIONS)
            await until("every accepted attempt has an order", lambda: self._placed(tally.accepted), PLACED_WITHIN_S)
        took_s = time.monotonic() - began_s
        expected = min(self._attempts, self._units)
        faults = [] if tally.accepted == expected else [f"answers were {tally.by_name()}"]
        left = await self._database.fetchval(f"SELECT available FROM {self.stock_table}")  # noqa: S608
        if left != self._units - expected:
            faults.append(f"{left} units are left of {self._units} after {expected} were sold")
        figures = {f"{role}_us": us / self._attempts for role, us in cost.us.items()}
        figures["sold_us"] = cost.total_us() / self._attempts
        figures |= {"rate_per_s": tally.rate_per_s, "placed_s": took_s}
        return Sample(figures, tally.by_name(), faults)

    def _pids(self) -> dict[str, list[int]]:
        servers = {"api": self._web, "gate": self._store, "worker": self._worker, "postgres": self._ledger}
        return {role: [server.pid] for role, server in servers.items() if server.pid is not None}

    async def _placed(self, expected: int) -> bool:
        return int(await self._database.fetchval("SELECT count(*) FROM orders")) == expected


class Composition(ReferenceShop):
    """Reference (f)."""

    name = COMPOSITION
    module, worker_module, stock_table = "composition", "consumer", "stock"

    async def stock_up(self, tokens: list[str]) -> None:
        del tokens
        await self._redis.delete(names.CLAIMS, names.BUCKET, names.JOURNAL, names.APPLIED)
        await self._redis.set(names.STOCK, self._units)


class Textbook(ReferenceShop):
    """Reference (b)."""

    name = TEXTBOOK
    module, worker_module, stock_table = "textbook", "textbook_worker", "items"

    async def stock_up(self, tokens: list[str]) -> None:
        await self._redis.flushdb()
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(names.STOCK, self._units)
            pipe.set(names.WINDOW, 0)
            for number, token in enumerate(tokens):
                pipe.set(names.SESSION + token, f"shopper-{number}")
            await pipe.execute()


def _sold(world: World) -> list[Contestant]:
    size = world.size
    count, few = size.of(20_000, 5_000), size.of(2_000, 500)
    return [
        Bought(world, count),
        Composition(world, count, count),
        Textbook(world, few, few),
        BoughtThroughEdge(world, count, name="accepted, through the edge"),
    ]


def _rush(world: World) -> list[Contestant]:
    size = world.size
    count, few = size.of(100_000, 10_000), size.of(5_000, 1_000)
    return [
        Bought(world, count, name="attempt of a rush", units=count // 100, connections=256),
        Textbook(world, few, few // 100),
    ]


SCENARIOS = (
    Scenario(
        "sold",
        "A sold unit, over all processes, from the attempt to the committed order",
        _sold,
        (
            Target("CPU-µs of a sold unit", "sold_us", 100.0),
            Target("sold unit beside the composition", "sold_us", 1.5, reference=COMPOSITION),
            Target("sold unit beside the textbook", "sold_us", 0.1, reference=TEXTBOOK),
        ),
        note="`sold_us` is every process but the edge. The textbook design gets fewer attempts (2,000, quick 500): "
        "it takes that long. A round with fewer attempts carries more of the background a request.",
    ),
    Scenario(
        "rush",
        "100,000 attempts on 1,000 units, opening to last order committed",
        _rush,
        rounds=3,
        rounds_quick=1,
        note="The textbook design gets 5,000 attempts on 50 units (quick: 1,000 on 10, beside 10,000 on 100): its "
        "figures are a request's, its `placed_s` is for those. An attempt is mostly a refusal here.",
    ),
)
