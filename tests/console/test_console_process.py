"""The console's own ASGI application, as a process: sign-in, origins, headers, downloads, stopping."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from console.guard import SESSION_COOKIE
from tests.console.conftest import PROJECT, Console
from tests.console.peer import PASSWORD, Peer, make_sale
from tests.console.peer_pages import WEBP


def form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found
    return found[1]


def sign_in(console: Console, client: httpx.Client, password: str = PASSWORD, **changes: str) -> httpx.Response:
    page = client.get("/console/sign-in").text
    fields = {"form_token": form_token(page), "next": "/console/", "email": "olga@ember.test", "password": password}
    return client.post("/console/sign-in", data=fields | changes, headers={"Origin": console.origin})


def test_signing_in_sets_a_cookie_no_script_can_read(console: Console) -> None:
    with console.client() as client:
        answer = sign_in(console, client, next="/console/sale?sale=1")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/console/sale?sale=1"
        cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith(SESSION_COOKIE))
        assert {"HttpOnly", "Path=/console", "SameSite=strict"} <= set(cookie.split("; "))
        assert "Max-Age=2" in cookie  # eight hours, as long as the token
        assert answer.headers["cache-control"] == "no-store"


def test_a_wrong_password_and_an_unknown_address_read_the_same(console: Console) -> None:
    with console.client() as client:
        wrong, unknown = sign_in(console, client, "nope"), sign_in(console, client, email="who@ember.test")
        assert wrong.status_code == unknown.status_code == 401
        assert "E-mail or password is not right." in wrong.text
        assert SESSION_COOKIE not in client.cookies


@pytest.mark.parametrize("case", ["no origin", "foreign origin", "other token", "no cookie"])
def test_a_form_from_elsewhere_is_refused(console: Console, module_peer: Peer, case: str) -> None:
    before = len(module_peer.sent("POST", "/session"))
    with console.client() as client:
        token = form_token(client.get("/console/sign-in").text)
        if case == "no cookie":
            client.cookies.clear()
        answer = client.post(
            "/console/sign-in",
            data={"form_token": "x" if case == "other token" else token, "email": "olga@ember.test",
                  "password": PASSWORD},
            headers={"no origin": {}, "foreign origin": {"Origin": "http://evil.test"}}.get(
                case, {"Origin": console.origin}),
        )  # fmt: skip
        assert answer.status_code == 403
    assert len(module_peer.sent("POST", "/session")) == before


def test_what_was_typed_comes_back_escaped(console: Console) -> None:
    with console.client() as client:
        answer = sign_in(console, client, "nope", email='"><script>alert(1)</script>')
        assert "<script>alert" not in answer.text
        assert "&lt;script&gt;" in answer.text


def test_a_form_longer_than_any_real_one_is_refused(console: Console) -> None:
    with console.client() as client:
        assert sign_in(console, client, "x" * 20_000).status_code == 403


def test_signing_out_revokes_and_forgets(console: Console, module_peer: Peer) -> None:
    with console.client() as client:
        sign_in(console, client)
        foreign = client.post("/console/sign-out", headers={"Origin": "http://evil.test"})
        assert foreign.status_code == 403
        assert SESSION_COOKIE in client.cookies
        answer = client.post("/console/sign-out", headers={"Origin": console.origin})
        assert answer.headers["location"] == "/console/sign-in?why=left"
        assert SESSION_COOKIE not in client.cookies
    assert len(module_peer.sent("DELETE", "/operator/session")) == 1
    module_peer.revoked.clear()


def test_a_page_without_a_session_leads_to_the_sign_in_and_back(console: Console) -> None:
    with console.client() as client:
        answer = client.get("/console/sale?sale=1", headers={"Accept": "text/html"})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/console/sign-in?next=%2Fconsole%2Fsale%3Fsale%3D1"
        # From another site the strict cookie is missing though the session may be good: no redirect.
        foreign = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site"}
        assert client.get("/console/sale", headers=foreign).status_code == 200


def handshake(console: Console, origin: str | None) -> str:
    """The status line that answers a websocket handshake."""
    lines = [
        "GET /console/_stcore/stream HTTP/1.1", f"Host: 127.0.0.1:{console.port}", "Connection: Upgrade",
        "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]  # fmt: skip
    lines += [f"Origin: {origin}"] if origin else []
    with socket.create_connection(("127.0.0.1", console.port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection.recv(4096).split(b"\r\n", 1)[0].decode()


def test_a_websocket_of_a_foreign_origin_is_refused(console: Console) -> None:
    assert " 101 " in handshake(console, console.origin)
    # The last is what Streamlit's own check lets in: any port of localhost.
    for origin in ("http://evil.test", None, "null", "http://localhost:9"):
        assert " 403 " in handshake(console, origin), origin


def test_every_answer_carries_the_security_headers(console: Console) -> None:
    with console.client() as client:
        for path in ("/console/sign-in", "/console/_stcore/health", "/console/nothing", "/console/assets/mark.svg"):
            headers = client.get(path).headers
            assert "frame-ancestors 'none'" in headers["content-security-policy"], path
            assert headers["x-content-type-options"] == "nosniff"
        for path in ("/console/_stcore/metrics", "/console/_stcore/agent/openapi.json"):
            assert client.get(path).status_code == 404


def test_nothing_in_the_pages_names_another_host(console: Console) -> None:
    with console.client() as client:
        page = client.get("/console/sign-in").text
    assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", page)


def test_downloads_pass_the_apis_bytes_through(console: Console, module_peer: Peer) -> None:
    module_peer.add(make_sale("1", "live"))
    with console.client() as client:
        assert client.get("/console/download/sales/1/ledger.ndjson").status_code == 401
        sign_in(console, client)
        answer = client.get("/console/download/sales/1/ledger.ndjson")
        assert answer.status_code == 200
        assert json.loads(answer.text)["entry"] == "allot"
        assert answer.headers["content-disposition"] == 'attachment; filename="ledger-1.ndjson"'
        assert answer.headers["cache-control"] == "no-store"
        missing = client.get("/console/download/sales/2/ledger.ndjson")
        assert missing.status_code == 404
        assert "This does not exist" in missing.text
        assert client.get("/console/download/reconciliations/..%2Fx.json").status_code == 400
        assert client.get("/console/download/reconciliations/a b.json").status_code == 404
    assert module_peer.sent("GET", "/ledger")[-1].headers["Accept"] == "application/x-ndjson"


def test_a_picture_is_shown_with_the_operators_own_token(console: Console, module_peer: Peer) -> None:
    path = "/console/download/pictures/s0/p-1"
    with console.client() as client:
        assert client.get(path).status_code == 401
        sign_in(console, client)
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/webp", WEBP)
        assert answer.headers["cache-control"] == "private, max-age=3600"
        assert client.get("/console/download/pictures/s0/none").status_code == 404
        assert client.get("/console/download/pictures/s0/html").status_code == 503, "only pictures are passed on"
        assert client.get("/console/download/pictures/s0/..%2Fme").status_code in {400, 404}


def test_a_file_is_taken_from_operators_alone(console: Console, module_peer: Peer) -> None:
    """Streamlit itself takes files from whoever opened a websocket, and keeps them in memory."""
    path = "/console/_stcore/upload_file/none/1"
    with console.client() as client:
        refused = client.put(path, content=b"x" * 1_000)
        assert (refused.status_code, refused.text) == (403, "Sign in again, then choose the file.")
        client.cookies.set(SESSION_COOKIE, "made-up", domain="127.0.0.1", path="/console")
        assert client.put(path, content=b"x").text == refused.text
        client.cookies.clear()
        sign_in(console, client)
        # Past our guard: Streamlit's own check of the form's token and the session answers.
        assert client.put(path, content=b"x").text != refused.text


def test_bad_settings_are_named_and_end_the_process() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STAMPEDE_")}
    environment |= {"STAMPEDE_API_URL": "ftp://x", "STAMPEDE_PUBLIC_URL": "http://127.0.0.1:1"}
    ended = subprocess.run(
        [sys.executable, "-m", "console", "--port", "1"],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "STAMPEDE_API_URL" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_promises_are_kept_by_options_no_file_can_undo(tmp_path: Path) -> None:
    """In a process of its own, in a folder whose configuration asks for telemetry."""
    folder = tmp_path / ".streamlit"
    folder.mkdir()
    (folder / "config.toml").write_text(
        "[browser]\ngatherUsageStats = true\n[server]\nenableXsrfProtection = false\nenableCORS = false\n"
    )
    code = (
        "from console import server; from console.settings import get_settings; server.build_app(get_settings())\n"
        "from streamlit import config\n"
        "assert {n: config.get_option(n) for n in server.OPTIONS} == dict(server.OPTIONS)\n"
        "print(config.get_option('theme.light.backgroundColor'), config.get_option('theme.dark.backgroundColor'))"
    )
    environment = {
        **os.environ, "PYTHONPATH": str(PROJECT), "STAMPEDE_API_URL": "http://127.0.0.1:1",
        "STAMPEDE_PUBLIC_URL": "http://127.0.0.1:2", "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "true",
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["#f6f5f2", "#14161a"]


def test_it_stops_within_five_seconds_of_sigterm_and_logs_json_alone(console: Console) -> None:
    """Last in this file: it ends the process of the fixture, with a websocket open."""
    with socket.create_connection(("127.0.0.1", console.port), timeout=10):
        started = time.monotonic()
        console.process.send_signal(signal.SIGTERM)
        assert console.process.wait(timeout=10) in {0, -signal.SIGTERM}
        assert time.monotonic() - started < 5
    for line in console.log.read_text().splitlines():
        assert json.loads(line)["process"] == "console"
