"""Limits per client, and what gets round them: nothing."""

import asyncio
import time

import pytest

from stack.servers import EdgeServer
from tests.edge.client import request
from tests.edge.conftest import STRICT, MakeEdge

BUY = "/api/v1/buy/aaaa"
_SLOW_CLIENTS = 200


async def _statuses(edge: EdgeServer, target: str, count: int, **options: object) -> list[int]:
    return [(await request(edge, target, method="POST", **options)).status for _ in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "burst"),
    [
        (BUY, STRICT.buy_burst),
        ("/api/v1/sales/friday-tee/items/TEE-L/link", STRICT.link_burst),
        ("/api/v1/operator/session", STRICT.sign_in_burst),
        ("/api/v1/shoppers/codes", STRICT.sign_in_burst),
        ("/api/v1/orders", STRICT.api_burst),
    ],
)
async def test_each_kind_of_call_has_its_limit(strict_edge: EdgeServer, target: str, burst: int) -> None:
    statuses = await _statuses(strict_edge, target, burst + 4)
    assert statuses[: burst + 1] == [200] * (burst + 1)
    assert 429 in statuses[burst + 1 :]
    refused = await request(strict_edge, target, method="POST")
    assert refused.problem() == (429, "RATE_LIMITED")
    assert refused.headers["retry-after"] == "1"
    assert refused.json["retry_after_ms"] == 1000


async def test_spoofed_headers_do_not_help(strict_edge: EdgeServer) -> None:
    statuses = []
    for number in range(STRICT.buy_burst + 6):
        address = f"203.0.113.{number}"
        spoofed = {"X-Forwarded-For": address, "X-Real-IP": address, "Forwarded": f"for={address}"}
        statuses.append((await request(strict_edge, BUY, method="POST", headers=spoofed)).status)
    assert statuses.count(200) <= STRICT.buy_burst + 2
    assert statuses[-1] == 429


async def test_other_links_share_the_limit(strict_edge: EdgeServer) -> None:
    statuses = [
        (await request(strict_edge, f"/api/v1/buy/link{number}", method="POST")).status
        for number in range(STRICT.buy_burst + 6)
    ]
    assert statuses[-1] == 429


async def test_loopback_is_exempt_in_the_local_stack(make_edge: MakeEdge) -> None:
    edge = await make_edge(limits=STRICT)
    assert set(await _statuses(edge, BUY, STRICT.buy_burst + 20)) == {200}


async def test_ipv6_network_is_one_client(make_edge: MakeEdge) -> None:
    """Behind a trusted load balancer, which alone may say who the client is."""
    edge = await make_edge(exempt_loopback=False, limits=STRICT, trusted_proxies=("127.0.0.1",))

    async def buy_from(address: str) -> int:
        return (await request(edge, BUY, method="POST", headers={"X-Forwarded-For": address})).status

    inside = [await buy_from(f"2001:db8:1:2:{number:x}::{number:x}") for number in range(1, STRICT.buy_burst + 6)]
    assert inside[-1] == 429
    assert inside.count(200) <= STRICT.buy_burst + 2
    assert await buy_from("2001:db8:1:3::1") == 200
    assert await buy_from("198.51.100.1") == 200


async def test_only_a_trusted_proxy_may_speak_for_others(make_edge: MakeEdge) -> None:
    edge = await make_edge(exempt_loopback=False, limits=STRICT, trusted_proxies=("192.0.2.1",))
    answer = await request(edge, "/api/v1/clock", headers={"X-Forwarded-For": "127.0.0.9"})
    assert answer.echoed("x-forwarded-for") == ["127.0.0.1"]


async def test_slow_headers_are_cut(strict_edge: EdgeServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", strict_edge.port)
    started = time.monotonic()
    try:
        for byte in b"GET /api/v1/clock HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"x" * 100:
            writer.write(bytes([byte]))
            if await _ended(reader, 0.05):
                break
        took_s = time.monotonic() - started
    finally:
        writer.close()
    assert took_s < STRICT.header_timeout_s + 1.5


async def test_slow_body_is_cut(strict_edge: EdgeServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", strict_edge.port)
    started = time.monotonic()
    try:
        writer.write(f"POST {BUY} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx".encode())
        assert await _ended(reader, STRICT.body_timeout_s + 2)
    finally:
        writer.close()
    assert time.monotonic() - started < STRICT.body_timeout_s + 1.5


async def test_half_open_connections_do_not_hurt_others(strict_edge: EdgeServer) -> None:
    """Connections count against a client's limit from the end of their header; these never get there."""
    opened = [await asyncio.open_connection("127.0.0.1", strict_edge.port) for _ in range(_SLOW_CLIENTS)]
    try:
        for _, writer in opened:
            writer.write(b"POST /api/v1/buy/x HTTP/1.1\r\nHost: 127")
        started = time.monotonic()
        assert (await request(strict_edge, "/s/friday-tee/")).status == 200
        assert time.monotonic() - started < 1
        ended = await asyncio.gather(*(_ended(reader, STRICT.header_timeout_s + 3) for reader, _ in opened))
        assert all(ended)
    finally:
        for _, writer in opened:
            writer.close()


async def test_connections_of_one_client_are_limited(strict_edge: EdgeServer) -> None:
    """A client that holds requests open gets its share and no more."""
    target = "/api/v1/orders/slow"
    answers = await asyncio.gather(*(request(strict_edge, target) for _ in range(STRICT.connections + 10)))
    statuses = [answer.status for answer in answers]
    assert 429 in statuses
    assert (await request(strict_edge, "/s/friday-tee/")).status == 200


async def _ended(reader: asyncio.StreamReader, within_s: float) -> bool:
    """Whether the edge has answered or closed the connection."""
    try:
        await asyncio.wait_for(reader.read(1), within_s)
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True
