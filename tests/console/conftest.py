"""Fixtures of the console's tests: a peer that speaks the contract, and the console in front of it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from streamlit.testing.v1 import AppTest

from console.guard import SESSION_COOKIE
from tests.console.peer import Peer

PROJECT = Path(__file__).parents[2]
APP = str(PROJECT / "console" / "app.py")
START_TIMEOUT_S = 30


@pytest.fixture
def peer() -> Iterator[Peer]:
    """An API of this test's own."""
    running = Peer().start()
    yield running
    running.stop()


@pytest.fixture
def open_app(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AppTest]]:
    """Opens the console's script as one operator: `open_app("token-owner", sale="1")`."""
    import streamlit as st
    from streamlit.runtime import context

    from console import session
    from console.settings import get_settings

    monkeypatch.setenv("STAMPEDE_API_URL", peer.origin)
    monkeypatch.setenv("STAMPEDE_PUBLIC_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("STAMPEDE_ENVIRONMENT", "local")

    def forget() -> None:
        get_settings.cache_clear()
        st.cache_data.clear()
        st.cache_resource.clear()

    def opened(token: str | None, page: str = "sales", **params: str) -> AppTest:
        # AppTest has no websocket, so no cookies: the place Streamlit reads its client from is set.
        client = SimpleNamespace(cookies={SESSION_COOKIE: token} if token else {}, headers=[], remote_ip=None)
        monkeypatch.setattr(context, "_get_client_context", lambda: client)
        app = AppTest.from_file(APP, default_timeout=30)
        for name, value in params.items():
            app.query_params[name] = value
        app.run()
        if page != "home":
            _switch(app, page)
            app.run()
        return app

    forget()
    yield opened
    session.api_client().close()
    forget()


def _switch(app: AppTest, page: str) -> None:
    """Open a page by its address: pages are functions, which `AppTest.switch_page` does not know."""
    from streamlit.util import calc_hash

    app._page_hash = calc_hash(page)


@dataclass
class Console:
    """A console process and where it listens."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.origin, trust_env=False, **options)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def module_peer() -> Iterator[Peer]:
    running = Peer().start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def console(module_peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """`python -m console` as a process of its own, as the stack starts it."""
    port = free_port()
    log = tmp_path_factory.mktemp("console") / "console.log"
    environment = {
        **os.environ,
        "STAMPEDE_API_URL": module_peer.origin,
        "STAMPEDE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "STAMPEDE_ENVIRONMENT": "local",
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "console", "--port", str(port)],
            cwd=PROJECT, env=environment, stdout=output, stderr=output, text=True,
        )  # fmt: skip
        running = Console(process, port, log)
        try:
            _wait_until_ready(running)
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(running: Console) -> None:
    ends = time.monotonic() + START_TIMEOUT_S
    with running.client() as client:
        while time.monotonic() < ends and running.process.poll() is None:
            try:
                if client.get("/console/_stcore/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
    raise AssertionError(f"the console did not start: {running.log.read_text()}")
