"""A buy attempt, by what becomes of it: what it costs the API process and the gate store."""

import time
from collections.abc import Callable, Sequence

from bench.contest import Contestant, Sample, Scenario, Target
from bench.crowd import Attempts
from bench.hold import held
from bench.references.names import GATE_URL
from bench.references.servers import run_program, store
from bench.scenarios.asking import Asked
from bench.scenarios.post import BARE_POST, CONNECTIONS, BarePost
from bench.shop import GENEROUS, OpenSale, Terms
from bench.world import World
from stack.cost import Cost
from stack.load import Address, Tally, closed_loop

_WINDOW = {**GENEROUS, "repeat_window_ms": 600_000}
_REFUSALS = {"SOLD_OUT": 409, "REPEATED": 429, "REPLAYED": 202, "LINK_INVALID": 404}


class Bought(Contestant):
    """Attempts on a sale of this round's own, until the last order is committed.

    The API process has not seen the shoppers before: their tokens are verified, not remembered. Costs run from
    before the first attempt until the ledger has applied the last.
    """

    def __init__(
        self,
        world: World,
        count: int,
        *,
        name: str = "accepted attempt",
        units: int = 0,
        connections: int = CONNECTIONS,
    ) -> None:
        """``units`` are as many as there are attempts unless given."""
        self.name = name
        self._world = world
        self._count = count
        self._units = units or count
        self._connections = connections

    @property
    def addresses(self) -> Sequence[Address]:
        """Where the attempts go."""
        return self._world.platform.api

    async def run(self) -> Sample:
        world, shop, count = self._world, self._world.shop, self._count
        sale = await shop.opened(Terms(units=self._units))
        attempts = world.crowd.attempts(sale.items, world.crowd.shoppers(count))
        began_s = time.monotonic()
        with Cost(world.platform.pids) as cost:
            tally = await closed_loop(self.addresses, attempts.requests, connections=self._connections, keep=True)
            await shop.drained(sale)
        took_s = time.monotonic() - began_s
        faults = await sold_faults(world, sale, attempts, tally, units=self._units)
        await shop.end(sale)
        figures = {f"{role}_us": us / count for role, us in cost.us.items()}
        figures["sold_us"] = cost.total_us(without=["edge"]) / count
        figures |= {"rate_per_s": tally.rate_per_s, "placed_s": took_s}
        return Sample(figures, tally.by_name(), faults)


class Accepted(Bought):
    """The attempts alone: their orders are placed after the costs were taken, so that API and gate have the two cores
    to themselves, as the bare POST has."""

    async def run(self) -> Sample:
        world, shop, count = self._world, self._world.shop, self._count
        sale = await shop.opened(Terms(units=self._units))
        attempts = world.crowd.attempts(sale.items, world.crowd.shoppers(count))
        pids = {role: world.platform.pids[role] for role in ("api", "gate")}
        async with held(shop, sale):
            with Cost(pids) as cost:
                tally = await closed_loop(self.addresses, attempts.requests, connections=self._connections, keep=True)
        await shop.drained(sale)
        faults = await sold_faults(world, sale, attempts, tally, units=self._units)
        await shop.end(sale)
        figures = {f"{role}_us": us / count for role, us in cost.us.items()}
        return Sample(figures | {"rate_per_s": tally.rate_per_s}, tally.by_name(), faults)


class BoughtThroughEdge(Bought):
    """The same by way of nginx, as shoppers come."""

    @property
    def addresses(self) -> Sequence[Address]:
        return [self._world.platform.edge]


async def sold_faults(world: World, sale: OpenSale, attempts: Attempts, tally: Tally, *, units: int) -> list[str]:
    """What is wrong after attempts on a fresh sale: lost answers, another number of acceptances than there were
    units or attempts, and its books."""
    faults = [f"{tally.unanswered} attempts had no answer"] if tally.unanswered else []
    reserved = tally.count("RESERVED")
    if reserved != tally.accepted or reserved != min(units, len(attempts)):
        faults.append(f"answers were {tally.by_name()}")
    promised = [attempts.reservations[one.index] for one in tally.kept]
    return faults + await world.shop.faults(sale, sold=reserved, reservations=promised)


class Refused(Asked):
    """Attempts that all meet one answer. ``rehearse`` brings the sale into that state."""

    def __init__(
        self,
        world: World,
        name: str,
        outcome: str,
        terms: Terms,
        requests: Callable[[OpenSale], Sequence[bytes]],
        rehearse: Callable[[OpenSale], Attempts] | None = None,
    ) -> None:
        super().__init__(world, name, (_REFUSALS[outcome], outcome), ("api", "gate"))
        self._terms = terms
        self._make_requests = requests
        self._rehearse = rehearse
        self._sold = 0

    async def setup(self) -> Sequence[bytes]:
        world, shop = self._world, self._world.shop
        sale = self._sale = await shop.opened(self._terms)
        if self._rehearse is not None:
            rehearsal = self._rehearse(sale)
            tally = await closed_loop(world.platform.api, rehearsal.requests, connections=CONNECTIONS)
            self._sold = tally.accepted
            await shop.drained(sale)
        return self._make_requests(sale)

    async def check(self) -> list[str]:
        return await self._world.shop.faults(self._sale, sold=self._sold, reservations=[])

    async def close(self) -> None:
        await self._world.shop.end(self._sale)


def _sold_out(world: World, count: int) -> Refused:
    """Nobody of this crowd gets the one unit: it is gone before they come."""
    crowd = world.crowd
    return Refused(
        world,
        "sold out",
        "SOLD_OUT",
        Terms(units=1),
        lambda sale: crowd.attempts(sale.items, crowd.shoppers(count)).requests,
        lambda sale: crowd.attempts(sale.items, crowd.shoppers(1)),
    )


def _repeat(world: World, count: int) -> Refused:
    """The shoppers have each bought once, and try again with another key within the repeat window."""
    crowd = world.crowd
    buyers = crowd.shoppers(count)
    return Refused(
        world,
        "repeat",
        "REPEATED",
        Terms(units=count * 2, limit=1_000, throttle=_WINDOW),
        lambda sale: crowd.attempts(sale.items, buyers).requests,
        lambda sale: crowd.attempts(sale.items, buyers),
    )


def _replay(world: World, count: int) -> Refused:
    """The same requests again: bought, and the answer was lost."""
    crowd = world.crowd
    bought: list[Attempts] = []

    def buy(sale: OpenSale) -> Attempts:
        bought.append(crowd.attempts(sale.items, crowd.shoppers(count)))
        return bought[0]

    return Refused(world, "replay", "REPLAYED", Terms(units=count), lambda _: bought[0].requests, buy)


def _forged(world: World, count: int) -> Refused:
    crowd = world.crowd
    return Refused(
        world,
        "forged link",
        "LINK_INVALID",
        Terms(units=10),
        lambda sale: crowd.forged(sale.item, crowd.shoppers(count)),
    )


def _foreign(world: World, count: int) -> Refused:
    crowd = world.crowd
    return Refused(
        world,
        "foreign link",
        "LINK_INVALID",
        Terms(units=10),
        lambda sale: crowd.attempts(sale.items, crowd.shoppers(count), foreign=True).requests,
    )


class LuaClaim(Contestant):
    """Reference (e): what a claim costs a store that does nothing else."""

    name = "Lua claim"

    def __init__(self, world: World, count: int) -> None:
        self._world = world
        self._count = count

    async def prepare(self) -> None:
        self._store = await self._world.reference(store(self._world.folder, "claim"))

    async def run(self) -> Sample:
        assert self._store.pid is not None
        with Cost({"gate": [self._store.pid]}) as cost:
            result = await run_program("lua_claim", str(self._count), env={GATE_URL: self._store.url})
        faults = [] if result["accepted"] == self._count else [f"{result['accepted']} of {self._count} were accepted"]
        figures = {"gate_us": cost.us["gate"] / self._count, "rate_per_s": self._count / result["seconds"]}
        return Sample(figures, faults=faults)


def _accepted(world: World) -> list[Contestant]:
    count = world.size.of(20_000, 5_000)
    return [
        Accepted(world, count),
        Bought(world, count, name="accepted, placed meanwhile"),
        BarePost(world, count),
        LuaClaim(world, count),
    ]


def beside_post(make: Callable[[World, int], Contestant], *, quick: int = 5_000) -> Callable[[World], list[Contestant]]:
    """A subject and the bare POST, each with so many requests a round."""

    def contestants(world: World) -> list[Contestant]:
        count = world.size.of(20_000, quick)
        return [make(world, count), BarePost(world, count)]

    return contestants


def api_target(name: str, bound: float) -> Target:
    """So many times the API CPU of a bare POST."""
    return Target(f"API CPU of {name}", "api_us", bound, reference=BARE_POST)


def _gate_target(name: str, bound_us: float) -> Target:
    return Target(f"gate store CPU-µs of {name}", "gate_us", bound_us)


_REMEMBERED = (
    "From the second round on the shoppers' tokens are remembered by the process, as when somebody tries again."
)

SCENARIOS = (
    Scenario(
        "accepted",
        "A buy attempt that gets a unit",
        _accepted,
        (api_target("an accepted attempt", 1.3), _gate_target("an accepted attempt", 12.0)),
        note="The targets compare like with like: the journal's drain is held until the attempts are over, so that the "
        "API process shares the two cores with the gate and the load alone. In the second row worker and PostgreSQL "
        "place the orders meanwhile on the same two cores, which makes everybody's CPU time dearer. `sold_us` is "
        "everything but the edge.",
    ),
    Scenario(
        "sold-out",
        "An attempt after the last unit is gone",
        beside_post(_sold_out),
        (api_target("a sold-out answer", 1.3), _gate_target("a sold-out answer", 5.0)),
        note=_REMEMBERED,
    ),
    Scenario(
        "repeat",
        "Another attempt of the same shopper within the repeat window",
        beside_post(_repeat),
        (api_target("a repeat", 1.3), _gate_target("a repeat", 5.0)),
        note=_REMEMBERED,
    ),
    Scenario("replay", "The same attempt again, after a lost answer", beside_post(_replay), note=_REMEMBERED),
    Scenario(
        "forged",
        "A link signed with a guessed secret",
        beside_post(_forged),
        (api_target("a forged link", 1.15),),
        note=_REMEMBERED,
    ),
    Scenario(
        "foreign",
        "Another shopper's genuine link",
        beside_post(_foreign),
        (api_target("a foreign link", 1.15),),
        note=_REMEMBERED,
    ),
)
