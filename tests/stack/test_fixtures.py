"""The fixtures of tests/conftest.py are what they say: fresh, migrated, and without the rights to harm."""

import asyncpg
import pytest
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from stack.servers import GateServer, PostgresServer
from stack.servers.postgres import APP_ROLE


async def test_database_is_fresh_and_the_application_owns_nothing(
    postgres_server: PostgresServer, fresh_database: str, database_url: str
) -> None:
    assert database_url.endswith(f"/{fresh_database}")
    connection = await postgres_server.connect(fresh_database, APP_ROLE)
    try:
        owned = await connection.fetchval(
            "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = current_user"
        )
        assert owned == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE public.intruder (id int)")
        assert not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "command",
    [
        *("FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET maxmemory", "CONFIG SET maxmemory 1", "SHUTDOWN", "DEBUG JMAP"),
        *("SCRIPT FLUSH", "ACL LIST", "SWAPDB 0 1", "REPLICAOF NO ONE", "MONITOR", "FUNCTION FLUSH"),
    ],
)
async def test_application_cannot_harm_the_gate(gate_url: str, command: str) -> None:
    client = redis.Redis.from_url(gate_url)
    try:
        await client.set("kept", "1")
        with pytest.raises(redis.ResponseError):
            await client.execute_command(*command.split())
        assert await client.get("kept") == b"1"
    finally:
        await client.aclose()


async def test_application_can_do_its_work_in_the_gate(gate_url: str, gate_server: GateServer) -> None:
    client = redis.Redis.from_url(gate_url)
    try:
        digest = await client.script_load("return redis.call('XADD', KEYS[1], ARGV[1], 'a', '1')")
        assert await client.evalsha(digest, 1, "journal", "1-0") == b"1-0"
        assert await client.xread({"journal": "0"}, count=1)
        assert (await client.info("server"))["tcp_port"] == gate_server.port
        await client.publish("applied", "1")
    finally:
        await client.aclose()


async def test_gate_is_empty_for_each_test(gate_url: str) -> None:
    client = redis.Redis.from_url(gate_url)
    try:
        assert await client.dbsize() == 0
    finally:
        await client.aclose()


async def test_servers_ask_for_a_password(gate_server: GateServer, postgres_server: PostgresServer) -> None:
    client = redis.Redis(host="127.0.0.1", port=gate_server.port, retry=Retry(NoBackoff(), 0))
    with pytest.raises(redis.AuthenticationError):
        await client.ping()
    await client.aclose()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host="127.0.0.1", port=postgres_server.port, user=APP_ROLE, password="guess", database="postgres"
        )
