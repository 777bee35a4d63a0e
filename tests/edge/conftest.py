"""The edge as it runs, in front of small real servers."""

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from stack.process import Process
from stack.servers import EdgeLimits, EdgeServer, Server
from stack.servers.base import http_status
from tests.edge.client import publish

# Small enough that a test reaches them, with rates so low that nothing refills while it looks.
STRICT = EdgeLimits(
    buy_rate=1,
    buy_burst=4,
    link_rate=1,
    link_burst=4,
    sign_in_rate=1,
    sign_in_burst=2,
    api_rate=1,
    api_burst=6,
    connections=16,
    header_timeout_s=1,
    body_timeout_s=1,
)


class Upstream(Server):
    """tests/edge/upstream.py as API process or console."""

    role = "upstream"

    def process(self) -> Process:
        script = Path(__file__).with_name("upstream.py")
        return Process([sys.executable, str(script), "--port", str(self.port)], log_path=self.log_path)

    async def probe(self) -> bool:
        return await http_status(self.port, "/api/v1/seen") == 200


@pytest.fixture(scope="session")
def pages_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published pages, in a folder with a space in its name."""
    pages = tmp_path_factory.mktemp("edge") / "the pages"
    publish(pages, "friday-tee", 1, "<h1>Friday tee</h1>")
    (pages / "index" / "versions" / "1").mkdir(parents=True)
    (pages / "index" / "versions" / "1" / "index.html").write_text("<h1>All sales</h1>")
    (pages / "index" / "current").symlink_to("versions/1")
    (pages / "assets").mkdir()
    (pages / "assets" / "sale.0123abcd.js").write_text("start();")
    (pages / "assets" / "sale.0123abcd.js.gz").write_bytes(gzip.compress(b"start();"))
    (pages / "state").mkdir()
    (pages / "state" / "friday-tee.json").write_text('{"phase":"live"}')
    (pages / "soldout" / "friday-tee").mkdir(parents=True)
    (pages.parent / "outside.html").write_text("not for the public")
    return pages


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def upstreams(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Upstream]]:
    """Two API processes and a console."""
    folder = tmp_path_factory.mktemp("upstreams")
    servers = [Upstream(name, folder) for name in ("api-1", "api-2", "console")]
    await asyncio.gather(*(server.start() for server in servers))
    yield servers
    await asyncio.gather(*(server.stop() for server in servers))


@pytest_asyncio.fixture(loop_scope="session")
async def living_upstreams(upstreams: list[Upstream]) -> list[Upstream]:
    """The same, revived after a test that killed one."""
    await asyncio.gather(*(server.start() for server in upstreams))
    return upstreams


MakeEdge = Callable[..., Awaitable[EdgeServer]]


@pytest_asyncio.fixture(loop_scope="session")
async def make_edge(
    tmp_path_factory: pytest.TempPathFactory, pages_dir: Path, living_upstreams: list[Upstream]
) -> AsyncIterator[MakeEdge]:
    """``await make_edge(limits=…, exempt_loopback=False)``: an edge of this test's own."""
    edges: list[EdgeServer] = []

    async def make(**options: Any) -> EdgeServer:
        *api, console = living_upstreams
        options.setdefault("api_ports", tuple(server.port for server in api))
        edge = EdgeServer(
            tmp_path_factory.mktemp("edge run"), console_port=console.port, pages_dir=pages_dir, **options
        )
        edges.append(edge)
        await edge.start()
        return edge

    yield make
    for edge in edges:
        await edge.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def edge(make_edge: MakeEdge) -> EdgeServer:
    """The edge of the local stack."""
    return await make_edge()


@pytest_asyncio.fixture(loop_scope="session")
async def strict_edge(make_edge: MakeEdge) -> EdgeServer:
    """An edge that treats this machine as a stranger, with limits that a test can reach."""
    return await make_edge(exempt_loopback=False, limits=STRICT)
