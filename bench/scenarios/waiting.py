"""What else a shopper asks an API process for: a link before the attempt, the ticket's state after it."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

import orjson

from bench.contest import Scenario
from bench.crowd import link_request, ticket_request
from bench.hold import held
from bench.scenarios.asking import Asked
from bench.scenarios.buying import api_target, beside_post
from bench.scenarios.post import CONNECTIONS
from bench.shop import Terms
from bench.world import World
from stack.errors import StackError
from stack.load import closed_loop

_POLLS_A_TICKET = 4


class Polled(Asked):
    """Tickets of a sale that was just bought from, each polled four times a round.

    ``queued``: their drain is held meanwhile, as when a crowd waits; otherwise they are decided.
    """

    def __init__(self, world: World, count: int, *, queued: bool) -> None:
        state = "queued" if queued else "confirmed"
        super().__init__(world, f"poll, {state}", (200, state), ("api", "gate", "postgres"))
        self._count = count
        self._queued = queued
        self._holding = AsyncExitStack()

    async def setup(self) -> Sequence[bytes]:
        world, shop = self._world, self._world.shop
        buyers = world.crowd.shoppers(self._count // _POLLS_A_TICKET)
        sale = self._sale = await shop.opened(Terms(units=len(buyers)))
        attempts = world.crowd.attempts(sale.items, buyers)
        if self._queued:
            await self._holding.enter_async_context(held(shop, sale))
        tally = await closed_loop(world.platform.api, attempts.requests, connections=CONNECTIONS, keep=True)
        self._sold = tally.accepted
        if not self._queued:
            await shop.drained(sale)
        tickets = [(orjson.loads(kept.body)["ticket"], attempts.shoppers[kept.index]) for kept in tally.kept]
        return [ticket_request(ticket, shopper) for ticket, shopper in tickets] * _POLLS_A_TICKET

    async def close(self) -> None:
        await self._holding.aclose()
        await self._world.shop.drained(self._sale)
        faults = await self._world.shop.faults(self._sale, sold=self._sold, reservations=[])
        if faults:
            raise StackError("; ".join(faults))
        await self._world.shop.end(self._sale)


class LinksIssued(Asked):
    """A link for each shopper of an open sale."""

    def __init__(self, world: World, count: int) -> None:
        super().__init__(world, "link", (201, ""), ("api", "gate"))
        self._count = count

    async def setup(self) -> Sequence[bytes]:
        self._sale = await self._world.shop.opened(Terms(units=100))
        return [link_request(self._sale.item, one) for one in self._world.crowd.shoppers(self._count)]

    async def close(self) -> None:
        await self._world.shop.end(self._sale)


SCENARIOS = (
    Scenario(
        "ticket",
        "A poll of a queued ticket",
        beside_post(lambda world, count: Polled(world, count, queued=True), quick=3_000),
        (api_target("a ticket's poll", 1.5),),
        note="Queued tickets are what a crowd polls; a decided one is asked for once more.",
    ),
    Scenario(
        "ticket-decided",
        "A poll of a decided ticket",
        beside_post(lambda world, count: Polled(world, count, queued=False), quick=1_500),
        note="Its state comes from PostgreSQL, whose cost stands beside the API's.",
    ),
    Scenario("link", "A link is issued", beside_post(LinksIssued, quick=3_000), (api_target("a link", 2.0),)),
)
