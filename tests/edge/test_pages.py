"""Static pages: found, compressed, cached as they should be, and nothing else of the disk."""

import asyncio
import gzip
from pathlib import Path

import pytest

from stack.servers import EdgeServer
from tests.edge.client import publish, request


async def test_index_and_sale_page(edge: EdgeServer) -> None:
    index = await request(edge, "/")
    assert (index.status, index.body) == (200, b"<h1>All sales</h1>")
    page = await request(edge, "/s/friday-tee/")
    assert (page.status, page.body) == (200, b"<h1>Friday tee</h1>")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepts", "compressed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("br", False), ("", False), ("notgzip", False)],
)
async def test_compressed_file_goes_to_who_takes_it(edge: EdgeServer, accepts: str, *, compressed: bool) -> None:
    for target, content in (("/s/friday-tee/", b"<h1>Friday tee</h1>"), ("/assets/sale.0123abcd.js", b"start();")):
        answer = await request(edge, target, headers={"Accept-Encoding": accepts})
        assert answer.status == 200
        assert answer.headers.get("content-encoding") == ("gzip" if compressed else None)
        assert answer.headers["vary"] == "Accept-Encoding"
        assert (gzip.decompress(answer.body) if compressed else answer.body) == content
        assert answer.headers["content-type"].startswith(("text/html", "text/javascript"))


async def test_file_without_compressed_twin_is_served_plain(edge: EdgeServer) -> None:
    answer = await request(edge, "/", headers={"Accept-Encoding": "gzip"})
    assert answer.body == b"<h1>All sales</h1>"
    assert "content-encoding" not in answer.headers


async def test_cache_times(edge: EdgeServer) -> None:
    state = await request(edge, "/s/friday-tee/state.json")
    assert state.json == {"phase": "live"}
    assert state.headers["cache-control"] == "public, max-age=1"
    assert state.headers["content-type"] == "application/json"
    asset = await request(edge, "/assets/sale.0123abcd.js")
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_publication_is_seen_within_the_second_that_files_are_kept(edge: EdgeServer, pages_dir: Path) -> None:
    publish(pages_dir, "new-sale", 1, "<p>one</p>")
    assert (await request(edge, "/s/new-sale/")).body == b"<p>one</p>"
    publish(pages_dir, "new-sale", 2, "<p>two</p>")
    await asyncio.sleep(2.1)  # nginx counts in whole seconds
    assert (await request(edge, "/s/new-sale/")).body == b"<p>two</p>"


async def test_security_headers(edge: EdgeServer) -> None:
    for target in ("/", "/s/friday-tee/", "/s/friday-tee/state.json", "/assets/sale.0123abcd.js"):
        headers = (await request(edge, target)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["server"] == "nginx"


async def test_slash_is_added_without_naming_a_host(edge: EdgeServer) -> None:
    answer = await request(edge, "/s/friday-tee")
    assert answer.status == 308
    assert answer.headers["location"] == "/s/friday-tee/"


@pytest.mark.parametrize(
    "target",
    [
        "/s/no-such-sale/",
        "/s/no-such-sale/state.json",
        "/assets/sale.ffffffff.js",
        "/s/friday-tee/index.html.gz",
        "/s/../outside.html",
        "/assets//sale.0123abcd.js",
        "/assets/",
        "/sales/friday-tee/current/index.html",
        "/soldout/friday-tee/TEE-M",
        "/s/FRIDAY-TEE/",
        "/state/friday-tee.json",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/metrics",
        "/api/docs",
        "/api/v1/docs",
        "/api/v1/openapi.json",
        "/api/v1/metrics",
        "/api",
    ],
)
async def test_nothing_else_is_public(edge: EdgeServer, target: str) -> None:
    answer = await request(edge, target)
    if target.startswith(("/api", "/assets/s")) or target.endswith("/state.json"):
        assert answer.problem() == (404, "NOT_FOUND")
    else:
        assert answer.status == 404
        assert b"<h1>There is no such page</h1>" in answer.body
    assert b"not for the public" not in answer.body


async def test_path_above_the_root_cannot_be_read(edge: EdgeServer) -> None:
    for target in ("/s/%2e%2e/%2e%2e/outside.html", "/assets/..%2f..%2foutside.html", "/../outside.html"):
        assert (await request(edge, target)).problem() == (400, "INVALID")


async def test_pages_take_no_post(edge: EdgeServer) -> None:
    assert (await request(edge, "/s/friday-tee/", method="POST")).problem() == (405, "METHOD_NOT_ALLOWED")
