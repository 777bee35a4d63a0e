"""Requests that change nothing, so that the same ones are sent in each round and all get the same answer."""

from abc import abstractmethod
from collections.abc import Sequence

from bench.contest import Contestant, Sample
from bench.scenarios.post import CONNECTIONS
from bench.world import World
from stack.cost import Cost
from stack.load import Address, closed_loop


class Asked(Contestant):
    """``setup`` brings the platform into a state and makes the requests; each run sends them all."""

    def __init__(self, world: World, name: str, expected: tuple[int, str], roles: Sequence[str]) -> None:
        """``expected`` are status and outcome of every answer; ``roles`` whose cost is of interest."""
        self.name = name
        self._world = world
        self._expected = expected
        self._roles = roles
        self._requests: Sequence[bytes] = ()

    @abstractmethod
    async def setup(self) -> Sequence[bytes]:
        """Make the state and the requests."""

    async def check(self) -> list[str]:
        """What is wrong after a run, besides its answers."""
        return []

    @property
    def addresses(self) -> Sequence[Address]:
        """Where the requests go."""
        return self._world.platform.api

    async def prepare(self) -> None:
        self._requests = await self.setup()

    async def run(self) -> Sample:
        count = len(self._requests)
        with Cost(self._world.platform.pids) as cost:
            tally = await closed_loop(self.addresses, self._requests, connections=CONNECTIONS)
        faults = [] if tally.answers[self._expected] == count else [f"answers were {tally.by_name()}"]
        faults += await self.check()
        figures = {f"{role}_us": cost.us[role] / count for role in self._roles}
        return Sample({**figures, "rate_per_s": tally.rate_per_s}, tally.by_name(), faults)
