"""RabbitMQ as a server of the stack: on its data after a kill, beside another, as any user, leaving nothing behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from stack import binaries
from stack.errors import ServerNotFoundError, StackError
from stack.servers import RabbitmqServer
from stack.state import PROJECT_ROOT
from tests.stack.processes import descendants, gone

_NOBODY = 65534
_LIFE_CYCLE_S = 120
_END_S = 10
_LIFE_CYCLE = """
import asyncio, os, sys
from pathlib import Path
from stack.servers import RabbitmqServer
async def main():
    async with RabbitmqServer(Path(sys.argv[1])) as server:
        print(server.pid, Path(f"/proc/{server.pid}").stat().st_uid, flush=True)
        if "stay" in sys.argv:
            await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _needs_rabbitmq(request: pytest.FixtureRequest) -> None:
    """Without RabbitMQ these are skipped, but never in CI."""
    if "CI" not in os.environ and "without" not in request.node.name:
        try:
            binaries.find_rabbitmq()
        except ServerNotFoundError as error:
            pytest.skip(str(error))


def _count(server: RabbitmqServer, *bodies: bytes) -> int:
    """Messages on the durable queue ``kept``, after these were put there."""
    connection = pika.BlockingConnection(pika.URLParameters(server.url))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        for body in bodies:
            channel.basic_publish("", "kept", body, pika.BasicProperties(delivery_mode=2))
        return channel.queue_declare("kept", passive=True).method.message_count
    finally:
        connection.close()


def _listening(pid: int) -> set[str]:
    """Addresses on which the process accepts TCP connections, as /proc spells them."""
    inodes = {
        os.readlink(entry)[8:-1]
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if entry.is_symlink() and os.readlink(entry).startswith("socket:")
    }
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


async def test_two_side_by_side_keep_their_data_and_leave_nothing(tmp_path: Path) -> None:
    of_others = descendants(os.getpid())  # the broker that other tests of this process share
    one, two = RabbitmqServer(tmp_path / "a folder"), RabbitmqServer(tmp_path / "two")
    await asyncio.gather(one.start(), two.start())
    family = descendants(os.getpid())
    try:
        assert one.url.split("@")[0] != two.url.split("@")[0]
        assert await asyncio.to_thread(_count, one, b"a", b"b") == 2
        assert await asyncio.to_thread(_count, two) == 0
        assert one.pid is not None
        assert _listening(one.pid) == {"0100007F"}, "everything on loopback"
        port = one.port
        one.kill()
        await one.start()
        assert await asyncio.to_thread(_count, one) == 2
        await one.restart()
        assert (await asyncio.to_thread(_count, one), one.port) == (2, port)
        family += descendants(os.getpid())
    finally:
        await asyncio.gather(one.stop(), two.stop())
    names = ("beam.smp", "epmd", "erl_child_setup", "inet_gethost")
    mine = [seen for seen in family if seen.name in names and seen not in of_others]
    assert len({seen.name for seen in mine}) >= 3
    assert not await gone(mine, _END_S)


async def test_the_applications_user_does_not_administer(tmp_path: Path) -> None:
    async with RabbitmqServer(tmp_path) as server:
        strangers = pika.URLParameters(server.url.replace(server.url.split(":")[2].split("@")[0], "guess"))
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            await asyncio.to_thread(pika.BlockingConnection, strangers)
        guest = pika.URLParameters(f"amqp://guest:guest@127.0.0.1:{server.port}/%2f")
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            await asyncio.to_thread(pika.BlockingConnection, guest)
        await server.control("list_users")
        listed = (tmp_path / "logs" / "rabbitmq-control.log").read_text()
        assert "stampede\t[]" in listed
        assert "administrator" not in listed


async def test_a_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    """Port mapper included, which Erlang by itself would leave to the machine for ever."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _LIFE_CYCLE, str(tmp_path), "stay", cwd=PROJECT_ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(_LIFE_CYCLE_S):
        await process.stdout.readline()
    family = descendants(process.pid)
    assert {"beam.smp", "epmd"} <= {seen.name for seen in family}
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    assert not await gone(family, _END_S)


async def test_a_path_that_its_scripts_cannot_read_is_a_clear_error(tmp_path: Path) -> None:
    server = RabbitmqServer(tmp_path / "it's")
    with pytest.raises(StackError, match="cannot be told the path"):
        await server.start()
    await server.stop()


async def test_a_port_taken_by_a_stranger_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        server = RabbitmqServer(tmp_path, port=stranger.getsockname()[1])
        with pytest.raises(StackError, match="in use"):
            await server.start()
        await server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="changes users, which only root can")
async def test_a_plain_user_needs_nothing_special() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, _NOBODY, _NOBODY)
        plain = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
        trial = [*plain, sys.executable, "-c", "import stack.servers"]
        if subprocess.run(trial, cwd=PROJECT_ROOT, capture_output=True, check=False).returncode != 0:
            pytest.skip("the checkout or its Python is in a folder that only root may enter")
        done = await asyncio.to_thread(
            subprocess.run,
            [*plain, sys.executable, "-c", _LIFE_CYCLE, f"{folder}/data"],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=_LIFE_CYCLE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[1] == str(_NOBODY)


@pytest.fixture
def fresh_finder() -> Iterator[None]:
    binaries.find_rabbitmq.cache_clear()
    yield
    binaries.find_rabbitmq.cache_clear()


@pytest.mark.usefixtures("fresh_finder")
def test_without_rabbitmq_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STAMPEDE_RABBITMQ_BIN", str(tmp_path))
    with pytest.raises(ServerNotFoundError, match=r"STAMPEDE_RABBITMQ_BIN=.*rabbitmq-server"):
        binaries.find_rabbitmq()
    monkeypatch.delenv("STAMPEDE_RABBITMQ_BIN")
    monkeypatch.setattr(binaries, "_DEBIAN_RABBITMQ", tmp_path / "none")
    with pytest.raises(ServerNotFoundError, match="install Debian's rabbitmq-server"):
        binaries.find_rabbitmq()
