"""What scenarios are given: the platform with its shop, servers for the references, and how large all is to be."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.contest import Scenario
from bench.shop import Shop
from stack.servers import Server

_S = TypeVar("_S", bound=Server)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is sent. Figures are a request's, so that a quick run differs in spread, not in what it measures."""

    quick: bool
    rounds: int | None = None

    def rounds_of(self, scenario: Scenario) -> int:
        """As asked for, else the scenario's own number."""
        if self.rounds is not None:
            return self.rounds
        return scenario.rounds_quick if self.quick else scenario.rounds

    def of(self, full: int, quick: int) -> int:
        """One number or the other."""
        return quick if self.quick else full


class World:
    """Lives as long as the run; ``reference`` starts a reference's server once and stops it at the end."""

    def __init__(self, shop: Shop, folder: Path, size: Size) -> None:
        self.shop = shop
        self.platform = shop.platform
        self.crowd = shop.crowd
        self.folder = folder
        self.size = size
        self._running = AsyncExitStack()
        self._servers: dict[str, Server] = {}
        self._made: dict[str, str] = {}

    async def reference(self, server: _S) -> _S:
        """The server of that name, started when this is the first to ask."""
        found = self._servers.get(server.name)
        if found is None:
            found = self._servers[server.name] = await self._running.enter_async_context(server)
        assert isinstance(found, type(server))
        return found

    async def once(self, what: str, make: Callable[[], Awaitable[str]]) -> str:
        """What ``make`` gave the first time it was asked for."""
        if what not in self._made:
            self._made[what] = await make()
        return self._made[what]

    async def close(self) -> None:
        """Stop the references' servers."""
        await self._running.aclose()
