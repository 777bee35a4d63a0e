"""Single servers: on their data after a kill, in odd folders, as root in each way, and honest about faults."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import redis.asyncio as redis

from stack.errors import StackError, StartError
from stack.servers import EdgeServer, GateServer, PostgresServer
from stack.state import PROJECT_ROOT

_LIFE_CYCLE_S = 90
_NOBODY = 65534
_LIFE_CYCLE = """
import asyncio, os, sys
from pathlib import Path
from stack.servers import PostgresServer
from stack.servers.privileges import find_unprivileged
async def main():
    async with PostgresServer(Path(sys.argv[1])) as server:
        server.kill()
        await server.start()
        await server.restart()
        connection = await server.connect()
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        print(find_unprivileged().wrapper[:1], Path(f"/proc/{server.pid}").stat().st_uid)
asyncio.run(main())
"""


async def _value(server: PostgresServer, query: str) -> object:
    connection = await server.connect()
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_postgres_keeps_its_data_and_port(tmp_path: Path, seed_dir: Path) -> None:
    folder = tmp_path / "it's a “folder” 100%"
    shutil.copytree(seed_dir, folder)
    async with PostgresServer(folder) as server:
        port = server.port
        await _value(server, "CREATE TABLE kept AS SELECT 7 AS id")
        server.kill()
        assert not server.running
        with pytest.raises(OSError):
            await server.connect()
        await server.start()
        assert await _value(server, "SELECT id FROM kept") == 7
        await server.restart()
        assert await _value(server, "SELECT id FROM kept") == 7
        assert server.port == port
        assert await _value(server, "SHOW fsync") == "on"
        assert await _value(server, "SHOW listen_addresses") == "127.0.0.1"
        assert await _value(server, "SHOW unix_socket_directories") == ""


async def test_postgres_sorts_by_code_point(postgres_server: PostgresServer) -> None:
    ordered = "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['a', 'B', 'ä', 'z', '_']) AS x"
    assert await _value(postgres_server, ordered) == "B_azä"


async def test_lock_file_of_a_reused_process_number_does_not_stop_postgres(tmp_path: Path, seed_dir: Path) -> None:
    shutil.copytree(seed_dir, tmp_path / "data")
    lock = tmp_path / "data" / "postgres" / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{lock.parent}\n1\n1\n\n127.0.0.1\n")
    async with PostgresServer(tmp_path / "data") as server:
        assert await _value(server, "SELECT 1") == 1


async def test_live_postmaster_is_never_overrun(tmp_path: Path, seed_dir: Path) -> None:
    shutil.copytree(seed_dir, tmp_path / "data")
    async with PostgresServer(tmp_path / "data") as first:
        second = PostgresServer(tmp_path / "data")
        with pytest.raises(StartError, match="already serves"):
            await second.start()
        await second.stop()
        assert await _value(first, "SELECT 1") == 1


async def test_cluster_of_another_version_is_refused(tmp_path: Path, seed_dir: Path) -> None:
    shutil.copytree(seed_dir, tmp_path / "data")
    (tmp_path / "data" / "postgres" / "PG_VERSION").write_text("12\n")
    server = PostgresServer(tmp_path / "data")
    with pytest.raises(StackError, match="made by PostgreSQL 12"):
        await server.start()
    await server.stop()


async def test_gate_keeps_what_scripts_and_transactions_wrote_after_a_kill(tmp_path: Path) -> None:
    """Their effects stand in the file as MULTI … EXEC, which is replayed with the default user's rights."""
    async with GateServer(tmp_path) as server:
        async with redis.Redis.from_url(server.url, decode_responses=True) as client:
            two_writes = "redis.call('HSET', KEYS[1], 'a', '1') redis.call('XADD', KEYS[2], '1-1', 'a', '1') return 1"
            await client.eval(two_writes, 2, "{lane}:hash", "{lane}:stream")
            async with client.pipeline(transaction=True) as pipe:
                pipe.set("{lane}:first", "1").set("{lane}:second", "2")
                await pipe.execute()
        server.kill()
        await server.start()
        async with redis.Redis.from_url(server.url, decode_responses=True) as client:
            assert await client.hgetall("{lane}:hash") == {"a": "1"}
            assert await client.xrange("{lane}:stream") == [("1-1", {"a": "1"})]
            assert await client.mget("{lane}:first", "{lane}:second") == ["1", "2"]
        assert "CRITICAL" not in server.log_path.read_text()
        async with redis.Redis(host="127.0.0.1", port=server.port) as stranger:
            with pytest.raises(redis.AuthenticationError):
                await stranger.ping()


async def test_gate_keeps_its_data_after_a_kill(tmp_path: Path) -> None:
    async with GateServer(tmp_path / "a folder") as server:
        client = redis.Redis.from_url(server.url)
        await client.xadd("journal", {"kind": "load"}, id="1-0")
        await client.execute_command("WAITAOF", 1, 0, 5000)
        await client.aclose()
        server.kill()
        await server.start()
        client = redis.Redis.from_url(server.url)
        assert await client.xlen("journal") == 1
        admin = redis.Redis.from_url(server.admin_url)
        wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}
        assert {key: (await admin.config_get(key))[key] for key in wanted} == wanted
        await client.aclose()
        await admin.aclose()


async def test_port_taken_by_a_stranger_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        server = GateServer(tmp_path, port=stranger.getsockname()[1])
        with pytest.raises(StackError, match="in use"):
            await server.start()


async def test_server_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path, seed_dir: Path) -> None:
    shutil.copytree(seed_dir, tmp_path / "data")
    server = PostgresServer(tmp_path / "data", settings={"shared_buffers": "nonsense"})
    with pytest.raises(StartError, match=r"(?s)postgres ended while it was starting.*shared_buffers"):
        await server.start()
    assert not server.running
    await server.stop()


async def test_edge_refuses_a_path_it_cannot_write_down(tmp_path: Path) -> None:
    edge = EdgeServer(tmp_path / "5$ off", api_ports=(1,), console_port=1, pages_dir=tmp_path)
    with pytest.raises(StackError, match="cannot be told the path"):
        await edge.start()
    await edge.stop()


async def test_passwords_differ_between_folders(tmp_path: Path) -> None:
    one, two = GateServer(tmp_path / "one"), GateServer(tmp_path / "two")
    assert one.url.split("@")[0] != two.url.split("@")[0]
    await one.stop()
    await two.stop()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users, which only root can")


def _life_cycle(data_dir: Path, *, path: str | None = None, prefix: tuple[str, ...] = ()) -> list[str]:
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    done = subprocess.run(
        [*prefix, sys.executable, "-c", _LIFE_CYCLE, str(data_dir)],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LIFE_CYCLE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@needs_root
async def test_root_without_user_namespaces_becomes_nobody(tmp_path: Path) -> None:
    """Also below a folder that only root may enter."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("setpriv", "true", "sh"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "closed").mkdir(mode=0o700)
    answer = await asyncio.to_thread(_life_cycle, tmp_path / "closed" / "data", path=str(tools))
    assert answer == ["('setpriv',)", str(_NOBODY)]
    # and back: the same cluster, under the first choice
    assert (await asyncio.to_thread(_life_cycle, tmp_path / "closed" / "data"))[1] in ("0", str(_NOBODY))


@needs_root
async def test_plain_user_needs_nothing_special() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, _NOBODY, _NOBODY)
        plain = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
        trial = [*plain, sys.executable, "-c", "import stack.servers"]
        if subprocess.run(trial, cwd=PROJECT_ROOT, capture_output=True, check=False).returncode != 0:
            pytest.skip("the checkout or its Python is in a folder that only root may enter")
        answer = await asyncio.to_thread(_life_cycle, Path(folder) / "data", prefix=plain)
        assert answer == ["()", str(_NOBODY)]
