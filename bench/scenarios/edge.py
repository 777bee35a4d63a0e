"""What nginx answers by itself: links of an item that is sold out, pages, and the state that they poll."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from bench.contest import Contestant, Sample, Scenario, Target
from bench.crowd import AUTHORITY, link_request
from bench.references.nginx import NginxReference
from bench.scenarios.asking import Asked
from bench.scenarios.post import CONNECTIONS
from bench.shop import OpenSale, Terms, until
from bench.world import World
from stack.cost import Cost
from stack.load import Address, closed_loop, request_bytes

RETURN_200, STATIC = "nginx return 200", "nginx static file"
PUBLISHED_WITHIN_S = 30.0
_BROWSER = {"accept": "*/*", "accept-encoding": "gzip, deflate, br", "user-agent": "bench"}


class AtTheEdge(Asked):
    """Requests that nginx answers without asking the API, whose cost is shown to prove it."""

    def __init__(self, world: World, name: str, expected: tuple[int, str], count: int) -> None:
        super().__init__(world, name, expected, ("edge", "api"))
        self._count = count

    @property
    def addresses(self) -> Sequence[Address]:
        return [self._world.platform.edge]

    async def run(self) -> Sample:
        return with_capacity(await super().run())

    async def close(self) -> None:
        await self._world.shop.end(self._sale)

    async def _open(self, units: int) -> OpenSale:
        self._sale = await self._world.shop.opened(Terms(units=units))
        return self._sale

    async def _published(self, file: Path) -> None:
        async def look() -> bool:
            return await asyncio.to_thread(file.exists)

        await until(f"{file.name} is published", look, PUBLISHED_WITHIN_S)


def with_capacity(sample: Sample) -> Sample:
    """Requests for each second of CPU: what a core of nginx could answer. The load generator reaches its own limit
    before nginx does, so requests a second compare generators."""
    if sample.figures["edge_us"]:
        sample.figures["per_cpu_s"] = 1e6 / sample.figures["edge_us"]
    return sample


class SoldOutLinks(AtTheEdge):
    """Links asked for after the marker is there."""

    async def setup(self) -> Sequence[bytes]:
        world, shop, crowd = self._world, self._world.shop, self._world.crowd
        sale = await self._open(units=1)
        bought = crowd.attempts(sale.items, crowd.shoppers(1))
        await closed_loop(world.platform.api, bought.requests)
        await shop.drained(sale)
        await self._published(world.platform.pages_dir / "soldout" / sale.item.slug / sale.item.sku)
        return [link_request(sale.item, one) for one in crowd.shoppers(self._count)]


class Looking(AtTheEdge):
    """A published file, asked for as a browser does."""

    def __init__(self, world: World, name: str, outcome: str, path: str, file: str, count: int) -> None:
        """``path`` and ``file`` name the sale as ``{slug}``."""
        super().__init__(world, name, (200, outcome), count)
        self._path = path
        self._file = file

    async def setup(self) -> Sequence[bytes]:
        sale = await self._open(units=100)
        await self._published(self._world.platform.pages_dir / self._file.format(slug=sale.item.slug))
        path = self._path.format(slug=sale.item.slug)
        return [request_bytes("GET", path, AUTHORITY, headers=_BROWSER)] * self._count


class BareNginx(Contestant):
    """``return 200``, or a file of ``size_bytes``."""

    def __init__(self, world: World, name: str, count: int, *, size_bytes: int = 0) -> None:
        self.name = name
        self._world = world
        self._count = count
        self._size_bytes = size_bytes

    async def prepare(self) -> None:
        self._server = await self._world.reference(NginxReference(self._world.folder))
        path = "/200"
        if self._size_bytes:
            path = f"/{self._size_bytes}.html"
            (self._server.files / path[1:]).write_bytes(b"x" * self._size_bytes)
        self._requests = [request_bytes("GET", path, AUTHORITY, headers=_BROWSER)] * self._count

    async def run(self) -> Sample:
        assert self._server.pid is not None
        with Cost({"edge": [self._server.pid]}) as cost:
            tally = await closed_loop([Address(self._server.port)], self._requests, connections=CONNECTIONS)
        right = sum(count for (status, _), count in tally.answers.items() if status == 200)
        faults = [] if right == self._count else [f"answers were {tally.by_name()}"]
        figures = {"edge_us": cost.us["edge"] / self._count, "rate_per_s": tally.rate_per_s}
        return with_capacity(Sample(figures, tally.by_name(), faults))


PAGE_BYTES, STATE_BYTES = 3_000, 160
"""About what a sale's page takes compressed, and its state."""


def _count(world: World) -> int:
    return world.size.of(40_000, 15_000)


def _links(world: World) -> list[Contestant]:
    count = _count(world)
    return [SoldOutLinks(world, "sold-out link", (409, "SOLD_OUT"), count), BareNginx(world, RETURN_200, count)]


def _page(world: World) -> list[Contestant]:
    count = _count(world)
    page = Looking(world, "page", "", "/s/{slug}/", "sales/{slug}/current/index.html.gz", count)
    return [page, BareNginx(world, STATIC, count, size_bytes=PAGE_BYTES)]


def _state(world: World) -> list[Contestant]:
    count = _count(world)
    state = Looking(world, "state.json", "", "/s/{slug}/state.json", "state/{slug}.json", count)
    return [state, BareNginx(world, STATIC, count, size_bytes=STATE_BYTES)]


_NOTE = (
    "`per_cpu_s` is requests for each second of nginx's CPU: the generator is at its limit before nginx is, so "
    "`rate_per_s` compares little. The edge also limits, logs, and sets its security headers; the reference does not."
)

SCENARIOS = (
    Scenario(
        "edge-link",
        "A link of an item that is sold out, answered by nginx",
        _links,
        (Target("sold-out links at the edge", "per_cpu_s", 0.8, at_least=True, reference=RETURN_200),),
        note=_NOTE,
    ),
    Scenario(
        "edge-page",
        "A sale's page",
        _page,
        (Target("pages at the edge", "per_cpu_s", 0.8, at_least=True, reference=STATIC),),
        note=_NOTE,
    ),
    Scenario(
        "edge-state",
        "A page's look at state.json",
        _state,
        (Target("state.json at the edge", "per_cpu_s", 0.8, at_least=True, reference=STATIC),),
        note=_NOTE,
    ),
)
