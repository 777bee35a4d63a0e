"""The health check on real processes: the clock at work, frozen, without its broker, gone."""

import asyncio
import contextlib
import http.server
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from stack.servers import GateServer
from tests.deploy.entry import healthcheck
from tests.deploy.project import ROOT

_START_S = 30


@pytest_asyncio.fixture(loop_scope="session")
async def clock(gate_server: GateServer, gate_url: str, tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A real clock that has connected to its broker."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("STAMPEDE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "workers.clock"),
        cwd=ROOT,
        stderr=asyncio.subprocess.DEVNULL,
        env={
            **clean,
            "STAMPEDE_ENVIRONMENT": "local",
            "STAMPEDE_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
            "STAMPEDE_GATE_URL": gate_url,
            "STAMPEDE_BROKER_URL": gate_server.broker_url,
            "STAMPEDE_PAGES_DIR": str(tmp_path),
        },
    )
    port = urlsplit(gate_server.broker_url).port
    deadline = time.monotonic() + _START_S
    while not _owns_connection(process.pid, port):
        assert process.returncode is None, "the clock ended"
        assert time.monotonic() < deadline, "the clock did not connect"
        await asyncio.sleep(0.1)
    yield process
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _owns_connection(pid: int, port: int) -> bool:
    """By the process's own descriptors: on this machine others are connected to the store as well."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(link))
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return any(
        int(row.split()[2].rpartition(":")[2], 16) == port and f"socket:[{row.split()[9]}]" in inodes for row in rows
    )


async def test_a_clock_at_work_is_well(clock: asyncio.subprocess.Process, gate_server: GateServer) -> None:
    port = healthcheck.broker_port(gate_server.broker_url)
    assert await asyncio.to_thread(healthcheck.works, clock.pid, port) is None


async def test_a_frozen_clock_is_not(clock: asyncio.subprocess.Process, gate_server: GateServer) -> None:
    clock.send_signal(signal.SIGSTOP)
    # Coming to a halt is one last switch of each thread.
    while any("State:\tT" not in task.read_text() for task in Path("/proc").glob(f"{clock.pid}/task/*/status")):
        await asyncio.sleep(0.01)
    port = healthcheck.broker_port(gate_server.broker_url)
    assert "was not scheduled" in await asyncio.to_thread(healthcheck.works, clock.pid, port)


async def test_without_a_connection_to_the_broker_it_is_not(clock: asyncio.subprocess.Process) -> None:
    with socket.socket() as nobody_connects:
        nobody_connects.bind(("127.0.0.1", 0))
        nobody_connects.listen()
        port = nobody_connects.getsockname()[1]
        assert healthcheck.works(clock.pid, port) == f"no connection to port {port}, the broker's"


def test_a_process_that_is_gone_is_not() -> None:
    assert "is gone" in healthcheck.works(2**22 + 1, 6379)


@pytest.mark.parametrize(
    ("url", "port"), [("redis://u:{secret:x}@gate:6380/1", 6380), ("redis://gate", 6379), ("amqp://mq", 5672)]
)
def test_the_brokers_port(url: str, port: int) -> None:
    """Also before the secrets are in: a check is run beside the entry point, not through it."""
    assert healthcheck.broker_port(url) == port


@pytest.fixture
def web() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_answer_of_200_is_health(web: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main(["http", f"{web}/200"]) == 0
    assert capsys.readouterr().out == "well\n"


def test_another_answer_is_not(web: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main(["http", f"{web}/503"]) == 1
    assert capsys.readouterr().out == f"{web}/503: answers 503\n"


def test_no_answer_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert healthcheck.main(["http", f"http://127.0.0.1:{closed.getsockname()[1]}/200"]) == 1
    assert "ConnectionRefusedError" in capsys.readouterr().out


def test_a_wrong_word_is_not_health(capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main(["workz"]) == 1
    assert capsys.readouterr().out.startswith("usage")
