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
        assert answer.headers["vary"].startswith("Accept-Encoding")
        assert (gzip.decompress(answer.body) if compressed else answer.body) == content
        assert answer.headers["content-type"].startswith(("text/html", "text/javascript"))


async def test_file_without_compressed_twin_is_served_plain(edge: EdgeServer) -> None:
    answer = await request(edge, "/", headers={"Accept-Encoding": "gzip"})
    assert answer.body == b"<h1>All sales</h1>"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("target", "headers", "language"),
    [
        ("", {}, "de"),
        ("", {"Accept-Language": "fr, *;q=0.1"}, "de"),
        ("", {"Accept-Language": "ar"}, "ar"),
        ("", {"Accept-Language": "AR-EG,en;q=0.5"}, "ar"),
        ("", {"Accept-Language": "fr-FR, nl;q=0.9,  en-GB;q=0.8, ar;q=0.7"}, "en"),
        ("", {"Accept-Language": "enm, arn, den"}, "de"),
        ("", {"Accept-Language": "de, ar"}, "de"),
        ("", {"Accept-Language": "ar", "Cookie": "a=b; lang=en"}, "en"),
        ("", {"Accept-Language": "ar", "Cookie": "lang=../../outside"}, "ar"),
        ("?lang=ar", {"Accept-Language": "en", "Cookie": "lang=en"}, "ar"),
        ("?lang=xx", {"Accept-Language": "en"}, "en"),
        ("?lang=/etc/passwd%00", {}, "de"),
    ],
)
async def test_a_page_comes_in_the_language_that_was_asked_for(
    edge: EdgeServer, pages_dir: Path, target: str, headers: dict[str, str], language: str
) -> None:
    version = pages_dir / "sales" / "friday-sprache" / "versions" / "1"
    if not version.exists():
        publish(pages_dir, "friday-sprache", 1, "de")  # the sale's own language has no name of its own
        for other in ("en", "ar"):
            (version / f"index.{other}.html").write_text(other)
    answer = await request(edge, f"/s/friday-sprache/{target}", headers=headers)
    assert (answer.status, answer.body.decode()) == (200, language)
    assert answer.headers["vary"] == "Accept-Encoding, Accept-Language, Cookie"


async def test_a_preview_is_framed_by_itself_alone_and_never_listed(edge: EdgeServer, pages_dir: Path) -> None:
    folder = pages_dir / "preview" / ("Ab-_" * 8)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preview.html").write_text("frame")
    (folder / "index.html").write_text("page")
    for path, body in ((f"/preview/{folder.name}/", b"frame"), (f"/preview/{folder.name}/page", b"page")):
        answer = await request(edge, path)
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
    for path in (
        "/preview/",
        "/preview/short/",
        f"/preview/{folder.name}/index.html",
        f"/preview/{folder.name}/../page",
    ):
        assert (await request(edge, path)).status in (400, 404), path
    assert (await request(edge, "/s/friday-tee/")).headers["x-frame-options"] == "DENY"


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
