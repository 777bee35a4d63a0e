"""What the edge passes on to the API, what it refuses itself, and what it says when the API is down."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.servers import EdgeServer
from tests.edge.client import exchange, request
from tests.edge.conftest import MakeEdge, Upstream

LINK = "/api/v1/sales/friday-tee/items/TEE-M/link"
BUY = "/api/v1/buy/aaaa.bbbb_cc-dd"


@pytest.fixture
def marker(pages_dir: Path) -> Iterator[Path]:
    """The place of the sold-out marker of one item; gone after the test."""
    path = pages_dir / "soldout" / "friday-tee" / "TEE-M"
    yield path
    path.unlink(missing_ok=True)


async def test_request_reaches_the_api_as_it_was_sent(edge: EdgeServer) -> None:
    answer = await request(
        edge, "/api/v1/orders?after=1", method="POST", headers={"Idempotency-Key": "k1"}, body=b'{"a":1}'
    )
    assert answer.status == 200
    assert (answer.json["method"], answer.json["path"]) == ("POST", "/api/v1/orders")
    assert answer.json["body_bytes"] == 7
    assert answer.echoed("idempotency-key") == ["k1"]


async def test_answers_are_never_stored(edge: EdgeServer) -> None:
    headers = (await request(edge, "/api/v1/clock")).headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


async def test_client_cannot_speak_about_itself(edge: EdgeServer) -> None:
    spoofed = {
        "X-Forwarded-For": "203.0.113.7, 10.0.0.1",
        "X-Real-IP": "203.0.113.7",
        "Forwarded": "for=203.0.113.7",
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "1",
        "X-Original-URL": "/api/v1/operator/sales",
        "X-Rewrite-URL": "/api/v1/operator/sales",
        "X-HTTP-Method-Override": "DELETE",
        "X-Request-ID": "mine",
        "X_Forwarded_For": "203.0.113.7",
    }
    answer = await request(edge, "/api/v1/clock", headers=spoofed)
    assert answer.echoed("x-forwarded-for") == ["127.0.0.1"]
    assert answer.echoed("x-real-ip") == ["127.0.0.1"]
    assert answer.echoed("x-forwarded-proto") == ["http"]
    assert answer.echoed("host") == answer.echoed("x-forwarded-host") == [f"127.0.0.1:{edge.port}"]
    for name in ("forwarded", "x-forwarded-port", "x-original-url", "x-rewrite-url", "x-http-method-override"):
        assert answer.echoed(name) == []
    assert "203.0.113.7" not in answer.body.decode()
    assert answer.echoed("x-request-id") != ["mine"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "169.254.169.254"])
async def test_foreign_host_is_refused_and_not_reflected(edge: EdgeServer, host: str) -> None:
    for target in ("/", "/s/friday-tee", "/api/v1/clock"):
        answer = await request(edge, target, headers={"Host": host})
        assert answer.problem() == (421, "MISDIRECTED")
        assert "evil" not in str(answer.headers) + answer.body.decode()


async def test_foreign_host_in_absolute_form_is_refused(edge: EdgeServer) -> None:
    answer = await request(edge, "http://evil.example/api/v1/clock")
    assert answer.problem() == (421, "MISDIRECTED")


async def test_trace_and_nonsense_are_refused(edge: EdgeServer) -> None:
    assert (await request(edge, "/api/v1/clock", method="TRACE")).problem() == (405, "METHOD_NOT_ALLOWED")
    assert (await exchange(edge.port, b"nonsense\r\n\r\n")).problem() == (400, "INVALID")
    assert (await exchange(edge.port, b"GET / HTTP/1.1\r\n\r\n")).problem() == (400, "INVALID")
    assert (await request(edge, "/", headers={"Host": ""})).problem() == (400, "INVALID")
    assert (await request(edge, "/api/v1/buy/aaaa%00")).problem() == (400, "INVALID")
    huge = {"X-Padding": "x" * 20_000}
    assert (await request(edge, "/api/v1/clock", headers=huge)).problem() == (400, "INVALID")


async def test_large_bodies_are_refused(edge: EdgeServer) -> None:
    declared = await request(edge, BUY, method="POST", headers={"Content-Length": "65537"})
    assert declared.problem() == (413, "TOO_LARGE")
    sent = await request(edge, BUY, method="POST", body=b"x" * 65_537)
    assert sent.problem() == (413, "TOO_LARGE")
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    head = f"POST {BUY} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = await exchange(edge.port, head.encode() + chunk * 3 + b"0\r\n\r\n")
    assert chunked.problem() == (413, "TOO_LARGE")
    largest = await request(edge, BUY, method="POST", body=b"x" * 65_536)
    assert largest.json["body_bytes"] == 65_536


async def test_smuggled_lengths_are_refused(edge: EdgeServer) -> None:
    both = {"Content-Length": "4", "Transfer-Encoding": "chunked"}
    answer = await request(edge, BUY, method="POST", headers=both, body=b"0\r\n\r\n")
    assert answer.problem() == (400, "INVALID")


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/./buy/aaaa",
        "/api/v1/x/../buy/aaaa",
        "/api/v1/%62uy/aaaa",
        "/api/v1%2fbuy/aaaa",
        "/api/v1/buy%2faaaa",
        "/api/v1//buy/aaaa",
        "//api/v1/buy/aaaa",
        "/api//v1/buy/aaaa",
        "/api/v1/buy;x/aaaa",
        "/api/v1/buy/aaaa;jsessionid=1",
        "/api/v1/buy/%E2%80%AEaaaa",
        "/api/v1/%2e%2e/v1/buy/aaaa",
        "/api\\v1\\buy\\aaaa",
        "/s/../api/v1/buy/aaaa",
        "/assets/%2e%2e/api/v1/buy/aaaa",
    ],
)
async def test_no_path_has_two_readings(edge: EdgeServer, living_upstreams: list[Upstream], target: str) -> None:
    before = await _seen(living_upstreams)
    answer = await request(edge, target, method="POST")
    assert answer.status == 404
    assert await _seen(living_upstreams) == before


@pytest.mark.parametrize("target", ["/api/v1/buy/aaaa/", "/API/v1/buy/aaaa", "/api/v1/Buy/aaaa"])
async def test_variants_are_other_paths_to_the_api(edge: EdgeServer, target: str) -> None:
    """The API knows one spelling; another may come through, but as what it is."""
    answer = await request(edge, target, method="POST")
    assert answer.status == 404 or answer.json["path"] == target


async def test_sold_out_marker_answers_link_requests_alone(
    edge: EdgeServer, living_upstreams: list[Upstream], marker: Path
) -> None:
    assert (await request(edge, LINK, method="POST")).status == 200
    marker.touch()
    before = await _seen(living_upstreams)
    answer = await request(edge, LINK, method="POST")
    assert answer.problem() == (409, "SOLD_OUT")
    assert answer.headers["cache-control"] == "no-store"
    assert await _seen(living_upstreams) == before
    # another item, another method, and every buy reach the API
    assert (await request(edge, LINK.replace("TEE-M", "TEE-L"), method="POST")).status == 200
    assert (await request(edge, LINK)).status == 200
    assert (await request(edge, BUY, method="POST")).status == 200
    marker.unlink()
    assert (await request(edge, LINK, method="POST")).status == 200


async def test_dead_api_process_is_passed_over(make_edge: MakeEdge, living_upstreams: list[Upstream]) -> None:
    edge = await make_edge()
    living_upstreams[0].kill()
    answers = [await request(edge, BUY, method="POST") for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 6
    assert {answer.json["port"] for answer in answers} == {living_upstreams[1].port}


async def test_post_that_reached_the_api_is_not_sent_again(
    make_edge: MakeEdge, living_upstreams: list[Upstream]
) -> None:
    edge = await make_edge()
    target = "/api/v1/buy/once/die"
    answer = await request(edge, target, method="POST")
    assert answer.problem() == (503, "DEGRADED")
    await _until(lambda: any(not server.running for server in living_upstreams[:2]))
    alive = [server for server in living_upstreams[:2] if server.running]
    assert len(alive) == 1
    assert target not in (await _seen(alive))


async def test_get_may_be_sent_again(make_edge: MakeEdge, living_upstreams: list[Upstream]) -> None:
    """The negative control: were a POST passed on, the second process would have died as this one does."""
    edge = await make_edge()
    assert (await request(edge, "/api/v1/die")).problem() == (503, "DEGRADED")
    await _until(lambda: not any(server.running for server in living_upstreams[:2]))


async def test_pages_and_a_friendly_answer_without_the_api(
    make_edge: MakeEdge, living_upstreams: list[Upstream]
) -> None:
    edge = await make_edge()
    for server in living_upstreams:
        server.kill()
    assert (await request(edge, "/s/friday-tee/")).status == 200
    assert (await request(edge, "/s/friday-tee/state.json")).status == 200
    for _ in range(3):
        answer = await request(edge, BUY, method="POST")
        assert answer.problem() == (503, "DEGRADED")
        assert answer.json["retry_after_ms"] == 2000
        assert answer.headers["retry-after"] == "2"
        assert answer.headers["cache-control"] == "no-store"
        assert "fail" not in answer.body.decode().lower()
    console = await request(edge, "/console/")
    assert console.status == 503
    assert b"<h1>" in console.body


async def _until(is_so: Callable[[], bool]) -> None:
    """Wait for what follows a cut connection: it falls a moment before the process is gone."""
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.05)


async def _seen(servers: list[Upstream]) -> dict[str, int]:
    total: dict[str, int] = {}
    for server in servers:
        answer = await exchange(
            server.port, b"GET /api/v1/seen HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )
        for path, count in answer.json.items():
            total[path] = total.get(path, 0) + count
    return total
