"""What grows with sales, shoppers and processes, and what must not: cost per attempt, memory of an API process."""

from bench.contest import ROUNDS, Contestant, Sample, Scenario, Target
from bench.scenarios.post import CONNECTIONS
from bench.shop import UNITS_MAX, OpenSale, Terms, gate_bytes
from bench.world import World
from stack.cost import Cost, rss_bytes
from stack.errors import StackError
from stack.load import closed_loop
from stack.servers import Server

FLAT = 1.1
"""± 10 %: how far a cost per attempt may rise with what grows."""
SALE_MADE_IN_S = 0.08
"""At least: the sales of a round shall open together, after the last is loaded."""
FILL_CHUNK = 20_000
"""Attempts made at a time while a sale is filled: a million requests at once would take half a gigabyte."""
API_RSS_MAX_MB, API_GROWTH_MAX_MB = 120, 10
MB = 1_000_000


class Buying(Contestant):
    """Attempts spread over sales that stay open from round to round; every one gets a unit."""

    def __init__(self, world: World, name: str, count: int) -> None:
        self.name = name
        self._world = world
        self._count = count
        self._sales: list[OpenSale] = []
        self._sold = 0

    async def run(self) -> Sample:
        world, count = self._world, self._count
        items = [sale.item for sale in self._sales]
        attempts = world.crowd.attempts(items, world.crowd.shoppers(count))
        with Cost(world.platform.pids) as cost:
            tally = await closed_loop(world.platform.api, attempts.requests, connections=CONNECTIONS, keep=True)
            for sale in self._sales:
                await world.shop.drained(sale)
        faults = [] if tally.count("RESERVED") == count else [f"answers were {tally.by_name()}"]
        self._sold += tally.accepted
        promised = [attempts.reservations[one.index] for one in tally.kept]
        faults += await world.shop.faults(*self._sales, sold=self._sold, reservations=promised)
        figures = {f"{role}_us": cost.us[role] / count for role in ("api", "gate")}
        figures["attempt_us"] = figures["api_us"] + figures["gate_us"]
        return Sample({**figures, "rate_per_s": tally.rate_per_s}, tally.by_name(), faults)

    async def close(self) -> None:
        for sale in self._sales:
            await self._world.shop.end(sale)


class OnSales(Buying):
    """So many sales open at once, and no others: each round makes its own, and waits until they are reconciled."""

    def __init__(self, world: World, count: int, *, sales: int) -> None:
        super().__init__(world, sales_name(sales), count)
        self._many = sales

    async def run(self) -> Sample:
        shop = self._world.shop
        terms = Terms(opens_in_s=1.5 + SALE_MADE_IN_S * self._many)
        self._sales = [await shop.sale(terms) for _ in range(self._many)]
        self._sold = 0
        await shop.until_open(*self._sales)
        sample = await super().run()
        for sale in self._sales:
            await shop.end(sale)
        await shop.until_reconciled(*self._sales)
        self._sales = []
        return sample


class AmongShoppers(Buying):
    """A sale from which so many shoppers have bought already.

    Filling it is the memory test: the API process's resident memory is read after a tenth and at the end.
    """

    def __init__(self, world: World, count: int, *, shoppers: int) -> None:
        super().__init__(world, shoppers_name(shoppers), count)
        self._shoppers = shoppers
        self._memory: dict[str, float] = {}

    async def prepare(self) -> None:
        world, shop = self._world, self._world.shop
        sale = await shop.opened()
        self._sales = [sale]
        before = await gate_bytes(shop)
        at_a_tenth_mb = 0.0
        while self._sold < self._shoppers:
            many = min(FILL_CHUNK, self._shoppers - self._sold)
            attempts = world.crowd.attempts(sale.items, world.crowd.shoppers(many))
            tally = await closed_loop(world.platform.api, attempts.requests, connections=CONNECTIONS)
            if tally.count("RESERVED") != many:
                raise StackError(f"answers were {tally.by_name()}")
            self._sold += many
            if not at_a_tenth_mb and self._sold >= self._shoppers // 10:
                at_a_tenth_mb = _api_rss_mb(world)
        await shop.drained(sale)
        rss_mb = _api_rss_mb(world)
        self._memory = {
            "api_rss_mb": rss_mb,
            "api_growth_mb": rss_mb - at_a_tenth_mb,
            "gate_bytes_a_reservation": (await gate_bytes(shop) - before) / self._shoppers,
        }

    async def run(self) -> Sample:
        sample = await super().run()
        sample.figures |= self._memory
        return sample


class OnProcesses(Buying):
    """One sale, so many API processes; the load spreads itself over them."""

    def __init__(self, world: World, count: int, *, processes: int) -> None:
        super().__init__(world, f"{processes} API process{'es' if processes > 1 else ''}", count)
        self._processes = processes

    async def prepare(self) -> None:
        self._sales = [await self._world.shop.opened()]

    async def run(self) -> Sample:
        platform = self._world.platform
        further: list[Server] = [await platform.add_api() for _ in range(self._processes - len(platform.api))]
        try:
            # A new process reads directory and lane with its first request: not what is compared.
            crowd = self._world.crowd
            first = crowd.attempts([self._sales[0].item], crowd.shoppers(64))
            self._sold += (await closed_loop(platform.api, first.requests)).accepted
            return await super().run()
        finally:
            for server in further:
                await platform.remove(server)


class TurnedAway(Contestant):
    """Shoppers who reach the bucket and get nothing: what the gate keeps of each, and what of a sale whose lane is
    dropped, as after retention."""

    name = "shoppers turned away"

    def __init__(self, world: World, count: int) -> None:
        self._world = world
        self._count = count

    async def run(self) -> Sample:
        world, shop, count = self._world, self._world.shop, self._count
        tiny = {"rate_per_s": 0.01, "burst": 1, "wait_budget_ms": 0, "repeat_window_ms": 600_000}
        empty = await gate_bytes(shop)
        sale = await shop.opened(Terms(throttle=tiny))
        await shop.drained(sale)
        before = await gate_bytes(shop)
        attempts = world.crowd.attempts(sale.items, world.crowd.shoppers(count))
        tally = await closed_loop(world.platform.api, attempts.requests, connections=CONNECTIONS, keep=True)
        await shop.drained(sale)
        after = await gate_bytes(shop)
        accepted = tally.accepted
        right = tally.count("THROTTLED") == count - accepted and accepted <= 2
        faults = [] if right else [f"answers were {tally.by_name()}"]
        promised = [attempts.reservations[one.index] for one in tally.kept]
        faults += await shop.faults(sale, sold=accepted, reservations=promised)
        await shop.end(sale)
        await shop.until_reconciled(sale)
        await shop.drop(sale)
        figures = {
            "gate_bytes_a_shopper": (after - before) / count,
            "gate_bytes_after_retention": (await gate_bytes(shop) - empty) / count,
        }
        return Sample(figures, tally.by_name(), faults)


def _api_rss_mb(world: World) -> float:
    return max(rss_bytes(pid) for pid in world.platform.pids["api"]) / MB


def sales_name(sales: int) -> str:
    return f"{sales} live sale{'s' if sales > 1 else ''}"


def shoppers_name(shoppers: int) -> str:
    return f"among {shoppers:,} shoppers"


def _sales(world: World) -> list[Contestant]:
    size = world.size
    many = (10, 1) if size.quick else (100, 10, 1)
    return [OnSales(world, size.of(20_000, 5_000), sales=one) for one in many]


def _shoppers(world: World) -> list[Contestant]:
    size = world.size
    count = size.of(20_000, 5_000)
    most = UNITS_MAX - count * (size.rounds or ROUNDS)
    many = (20_000, 5_000, 1_000) if size.quick else (most, 100_000, 1_000)
    return [AmongShoppers(world, count, shoppers=one) for one in many]


def _processes(world: World) -> list[Contestant]:
    count = world.size.of(20_000, 5_000)
    return [OnProcesses(world, count, processes=2), OnProcesses(world, count, processes=1)]


SCENARIOS = (
    Scenario(
        "growth-sales",
        "An accepted attempt with 1, 10 and 100 live sales",
        _sales,
        (Target("attempt with many live sales", "attempt_us", FLAT, reference=sales_name(1)),),
        note="`attempt_us` is API and gate store together. The same load is spread over all sales, so with 100 of "
        "them few attempts meet in one call of the script. Quick: 10 and 1.",
        rounds=3,
        rounds_quick=1,
    ),
    Scenario(
        "growth-processes",
        "An accepted attempt with one and two API processes",
        _processes,
        (Target("attempt with 2 API processes", "attempt_us", FLAT, reference="1 API process"),),
    ),
    Scenario(
        "growth-shoppers",
        "An accepted attempt among a thousand, 100,000 and nearly a million shoppers, and the memory they take",
        _shoppers,
        (
            Target("attempt among most shoppers", "attempt_us", FLAT, reference=shoppers_name(1_000)),
            Target("MB of an API process", "api_rss_mb", API_RSS_MAX_MB),
            Target("MB that an API process grows", "api_growth_mb", API_GROWTH_MAX_MB),
        ),
        note="An allotment has at most a million units: the largest sale is filled so far that its rounds reach that "
        "(quick: 20,000, 5,000 and 1,000). `api_growth_mb` is from a tenth of the filling to its end. "
        "All three sales are open meanwhile, are audited, and make the store rewrite its append-only file: that is in "
        "`gate_us` of each.",
    ),
    Scenario(
        "memory",
        "What the gate keeps of shoppers who got nothing",
        lambda world: [TurnedAway(world, world.size.of(100_000, 20_000))],
        rounds=1,
        rounds_quick=1,
        note="`gate_bytes_after_retention` is what is left of a shopper when the sale's lane is dropped.",
    ),
)
