"""Reference (a) as a contestant: the floor for every request that an API process answers."""

from bench.contest import Contestant, Sample
from bench.crowd import nowhere
from bench.references.servers import WebReference
from bench.world import World
from stack.cost import Cost
from stack.load import Address, closed_loop

CONNECTIONS = 64
BARE_POST = "bare ASGI POST"


class BarePost(Contestant):
    """The very requests of an attempt, sent to ``bench.references.bare_asgi``."""

    name = BARE_POST

    def __init__(self, world: World, count: int, *, connections: int = CONNECTIONS) -> None:
        self._world = world
        self._count = count
        self._connections = connections

    async def prepare(self) -> None:
        self._server = await self._world.reference(WebReference("bare_asgi", self._world.folder))
        crowd = self._world.crowd
        self._requests = crowd.attempts([nowhere()], crowd.shoppers(self._count)).requests

    async def run(self) -> Sample:
        assert self._server.pid is not None
        with Cost({"api": [self._server.pid]}) as cost:
            tally = await closed_loop([Address(self._server.port)], self._requests, connections=self._connections)
        faults = [] if tally.accepted == self._count else [f"answers were {tally.by_name()}"]
        figures = {"api_us": cost.us["api"] / self._count, "rate_per_s": tally.rate_per_s}
        return Sample(figures, tally.by_name(), faults)
