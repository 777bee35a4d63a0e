"""The access log: one bounded JSON line a request, and no link or ticket in it."""

import asyncio
import json
from typing import Any

from stack.servers import EdgeServer
from tests.edge.client import exchange, request
from tests.edge.conftest import MakeEdge, Upstream

_FLUSH_S = 1.5
_LONGEST_LINE = 4096


async def _lines(edge: EdgeServer) -> list[dict[str, Any]]:
    await asyncio.sleep(_FLUSH_S)
    return [json.loads(line) for line in edge.access_log.read_text().splitlines()]


async def test_links_and_tickets_are_masked(edge: EdgeServer) -> None:
    secret = "s3cret-link-0123456789"
    for target in (
        f"/api/v1/buy/{secret}",
        f"/api/v1/tickets/{secret}?poll=1",
        f"/api/v1/buy/{secret}/",
        f"/API/V1/BUY/{secret}",
        f"//api/v1/buy/{secret}",
        f"/api/v1/%62uy/{secret}",
        f"/api/v1/buy;x/{secret}",
        f"/s/friday-tee/?link={secret}",
        f"/api/v1/clock?token={secret}",
    ):
        await request(edge, target, headers={"Referer": f"http://127.0.0.1/api/v1/buy/{secret}"})
    lines = await _lines(edge)
    assert len(lines) == 9
    assert secret not in edge.access_log.read_text()
    paths = sorted(line["path"] for line in lines)  # two nginx workers write, each its own buffer
    masked = ["/api/v1/buy/***", "/api/v1/buy/***", "/API/V1/BUY/***", "/api/v1/tickets/***", "***", "***", "***"]
    assert paths == sorted([*masked, "/s/friday-tee/", "/api/v1/clock"])


async def test_a_looking_crowd_leaves_a_line_in_a_hundred_and_each_refusal_its_own(edge: EdgeServer) -> None:
    for _ in range(300):
        assert (await request(edge, "/s/friday-tee/state.json")).status == 200
    for _ in range(5):
        assert (await request(edge, "/s/no-such-sale/state.json")).status == 404
    lines = await _lines(edge)
    assert sum(line["path"] == "/s/friday-tee/state.json" for line in lines) < 60
    assert sum(line["path"] == "/s/no-such-sale/state.json" for line in lines) == 5


async def test_faults_do_not_put_links_into_the_error_log(
    make_edge: MakeEdge, living_upstreams: list[Upstream]
) -> None:
    edge = await make_edge()
    for server in living_upstreams:
        server.kill()
    for _ in range(3):
        assert (await request(edge, "/api/v1/buy/s3cret", method="POST")).status == 503
        assert (await request(edge, "/api/v1/buy/s3cret", method="POST", body=b"x" * 70_000)).status == 413
    lines = await _lines(edge)
    assert {line["status"] for line in lines} == {"503", "413"}
    assert "s3cret" not in edge.access_log.read_text() + edge.log_path.read_text()


async def test_hostile_values_stay_inside_their_line(edge: EdgeServer) -> None:
    agent = 'x"}\x1b[31m' + "y" * 4000
    await request(edge, "/s/friday-tee/", headers={"User-Agent": agent})
    await request(edge, "/" + "z" * 6000)
    await exchange(edge.port, b"G\x1bT / HTTP/1.1\r\n\r\n")
    lines = await _lines(edge)
    assert len(lines) == 3
    assert any(line["user_agent"].startswith('x"}') for line in lines)
    raw = edge.access_log.read_text()
    assert "\x1b" not in raw
    assert max(len(line) for line in raw.splitlines()) < _LONGEST_LINE
