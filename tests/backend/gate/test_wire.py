"""The shared connection: answers reach whoever asked, nothing is sent twice, and what fails fails for all at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from backend.gate import GateUnavailable
from backend.gate.store import Store
from backend.gate.wire import PENDING_MAX, UnknownScript, Wire
from stack.servers import GateServer
from tests.backend.server import free_origin
from tests.support.loops import on_both_loops, turns
from tests.support.scripted_store import OK, Command, ScriptedStore, echo, scripted_store

LONG_S = 20.0
SHORT_S = 0.05
MISSING = b"-NOSCRIPT No matching script. Please use EVAL.\r\n"


@asynccontextmanager
async def wired(url: str, *, timeout_s: float = LONG_S, name: str = "tests") -> AsyncIterator[Wire]:
    wire = Wire(url, timeout_s=timeout_s, name=name)
    try:
        yield wire
    finally:
        await wire.close()


@asynccontextmanager
async def administering(server: GateServer) -> AsyncIterator[Redis]:
    client = Redis.from_url(server.admin_url, decode_responses=True)
    try:
        yield client
    finally:
        await client.aclose()


async def clients(admin: Redis, name: str) -> list[dict[str, str]]:
    return [one for one in await admin.client_list() if one["name"] == f"stampede-{name}"]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask the server again, a bounded number of times: its client may take a cancelled wait for a fault to retry."""
    for _ in range(2_000):
        if await condition():
            return
    pytest.fail("it never came to that")


async def outcomes(*calls: Any) -> list[str]:
    """What the calls came to, failures by their text."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [f"{type(one).__name__}: {one}" if isinstance(one, BaseException) else one for one in results]


def silent(_: Command) -> None:
    return None


# On the real store.


@on_both_loops
async def test_hundreds_of_callers_share_one_connection_and_each_gets_its_own_answer(
    gate_server: GateServer, gate_url: str
) -> None:
    name = uuid4().hex
    async with wired(gate_url, name=name) as wire, administering(gate_server) as admin:
        for turn in range(5):
            said = [f"{turn}/{number} ü" * (number % 50) for number in range(400)]
            assert await asyncio.gather(*(wire.call("ECHO", one) for one in said)) == said
        (client,) = await clients(admin, name)
        assert client["db"] == "0"


@on_both_loops
async def test_the_kinds_of_replies(gate_server: GateServer, gate_url: str) -> None:
    async with wired(gate_url) as wire:
        key = f"{{{uuid4().hex}}}"
        script = "return {1, 'two', {'three', 4}, false}"
        assert await wire.call("GET", key) is None
        assert await wire.call(b"SET", key, 1.5) == "OK"
        assert await wire.call("GET", key) == "1.5"
        assert await wire.call("EVAL", script, 0) == [1, "two", ["three", 4], None]
        assert await wire.call("ECHO", b"\xff") == "\ufffd", "no UTF-8 is no reason to lose a connection"
        for bad in (("NOSUCHCOMMAND",), ("INCR",), ("FLUSHALL",), ("HGET", key, "field")):
            with pytest.raises(GateUnavailable):
                await wire.call(*bad)
        assert await wire.call("DEL", key) == 1


@on_both_loops
async def test_an_error_is_its_callers_alone(gate_server: GateServer, gate_url: str) -> None:
    name = uuid4().hex
    async with wired(gate_url, name=name) as wire, administering(gate_server) as admin:
        await wire.call("PING")
        (before,) = await clients(admin, name)
        said = await outcomes(wire.call("ECHO", "a"), wire.call("INCR"), wire.call("ECHO", "b"))
        assert (said[0], said[2]) == ("a", "b")
        assert said[1].startswith("GateUnavailable: ERR")
        (after,) = await clients(admin, name)
        assert before["id"] == after["id"]


@on_both_loops
async def test_a_connection_that_the_server_ends_fails_who_waits_and_the_next_call_connects_anew(
    gate_server: GateServer, gate_url: str
) -> None:
    name, key = uuid4().hex, uuid4().hex
    async with wired(gate_url, name=name) as wire, administering(gate_server) as admin:
        await wire.call("PING")
        (client,) = await clients(admin, name)
        waiting = [asyncio.ensure_future(wire.call("BLPOP", key, 0)) for _ in range(3)]

        async def blocked() -> bool:
            return "b" in (await clients(admin, name))[0]["flags"]

        await until(blocked)
        await admin.client_kill_filter(_id=client["id"])
        said = await outcomes(*waiting)
        assert all(one.startswith("GateUnavailable: the connection was lost") for one in said)
        assert await wire.call("ECHO", "again") == "again"
        (other,) = await clients(admin, name)
        assert other["id"] != client["id"]


@on_both_loops
async def test_a_script_that_the_server_has_forgotten_is_sent_again(gate_server: GateServer, gate_url: str) -> None:
    store = Store(gate_url, timeout_s=LONG_S, name="tests")
    keys = [f"{{{uuid4().hex}}}:{number}" for number in range(2)]
    async with administering(gate_server) as admin:
        for _ in range(2):
            await admin.script_flush()
            replies = await asyncio.gather(*(store.run("applied", keys, (1, 0)) for _ in range(20)))
            assert set(replies) == {"NOT_LOADED"}
            with pytest.raises(UnknownScript):
                await store._scripts.call("EVALSHA", "0" * 40, 0)
    await store.close()


@pytest.mark.parametrize("spoilt", ["wrong password", "no password", "no such user"])
@on_both_loops
async def test_a_refused_sign_in_fails_every_caller_and_keeps_no_connection(
    gate_server: GateServer, gate_url: str, spoilt: str
) -> None:
    user, _, rest = gate_url.removeprefix("redis://").partition(":")
    password, _, place = rest.partition("@")
    credentials = {
        "wrong password": f"{user}:x{password}@", "no password": "", "no such user": f"nobody:{password}@"
    }[spoilt]  # fmt: skip
    name = uuid4().hex
    async with wired(f"redis://{credentials}{place}", name=name) as wire, administering(gate_server) as admin:
        before = await admin.info("clients")
        said = await outcomes(*(wire.call("PING") for _ in range(5)))
        assert {one.split()[1] for one in said} <= {"WRONGPASS", "NOAUTH"}
        assert password not in "".join(said)

        async def gone() -> bool:
            return (await admin.info("clients"))["connected_clients"] <= before["connected_clients"]

        await until(gone)


# On a server that misbehaves.


@on_both_loops
async def test_a_timeout_fails_everybody_on_the_way_and_nothing_is_sent_again() -> None:
    async with scripted_store(silent) as store, wired(store.url, timeout_s=SHORT_S) as wire:
        said = await outcomes(*(wire.call("ECHO", f"{number}") for number in range(50)))
        assert set(said) == {f"GateUnavailable: no answer within {SHORT_S} s"}
        assert [command[1] for command in store.commands] == [b"%d" % number for number in range(50)]
        store.answer = echo
        assert await wire.call("ECHO", "after") == "after"
        assert (store.accepted, len(store.commands)) == (2, 51)


@on_both_loops
async def test_one_missing_answer_fails_those_behind_it_and_not_those_before() -> None:
    def but_three(command: Command) -> bytes | None:
        return None if len(store.commands) >= 3 else echo(command)

    async with scripted_store(but_three) as store, wired(store.url, timeout_s=SHORT_S) as wire:
        said = await outcomes(*(wire.call("ECHO", f"{number}") for number in range(5)))
        assert said[:2] == ["0", "1"]
        assert all(one.startswith("GateUnavailable: no answer") for one in said[2:])
        assert len(store.commands) == 5


@on_both_loops
async def test_an_answer_that_comes_too_late_is_nobodys() -> None:
    async with scripted_store(silent) as store, wired(store.url, timeout_s=SHORT_S) as wire:
        assert (await outcomes(wire.call("ECHO", "lost")))[0].startswith("GateUnavailable")
        store.answer = echo
        if not store.writers[0].is_closing():
            store.writers[0].write(b"$4\r\nlost\r\n")
        assert await wire.call("ECHO", "mine") == "mine"


@pytest.mark.parametrize(
    "said", [b"-READONLY You can't write against a read only replica.\r\n", b"-LOADING the dataset\r\n",
             b"-MASTERDOWN Link with MASTER is down\r\n", b"-CLUSTERDOWN The cluster is down\r\n",
             b"-NOREPLICAS Not enough good replicas to write.\r\n"],
    ids=lambda said: said.split()[0].decode(),
)  # fmt: skip
@on_both_loops
async def test_a_server_that_takes_no_writes_is_left(said: bytes) -> None:
    def after_one(_: Command) -> bytes | None:
        return said if len(store.commands) == 2 else OK if len(store.commands) == 1 else None

    async with scripted_store(after_one) as store, wired(store.url) as wire:
        first, *others = await outcomes(*(wire.call("SET", "key", number) for number in range(4)))
        assert first == "OK"
        assert others == [f"GateUnavailable: {said[1:-2].decode()}"] * 3, "the rest will not be answered"
        store.answer = echo
        assert await wire.call("ECHO", "elsewhere") == "elsewhere"
        assert (store.accepted, len(store.commands)) == (2, 5)


@pytest.mark.parametrize("stage", ["sign-in", "call"])
@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x01\x02", b"*x\r\n", b"$-7\r\n"])
@on_both_loops
async def test_garbage_ends_the_connection_and_every_wait(said: bytes, stage: str) -> None:
    async with scripted_store(lambda _: said) as store, wired(store.url) as wire:
        if stage == "sign-in":
            store.greet = store.answer
        results = await outcomes(*(wire.call("ECHO", number) for number in range(3)))
        assert all(one.startswith("GateUnavailable: not the protocol of Redis") for one in results), results
        assert store.accepted == 1
        store.greet, store.answer = (lambda _: OK), echo
        assert await wire.call("ECHO", "fine") == "fine"
        assert store.accepted == 2


@pytest.mark.parametrize("more", [b"$5\r\nwrong\r\n", b"+", b":1\r\n:2\r\n"])
@on_both_loops
async def test_an_answer_that_nobody_asked_for_is_not_given_to_the_next_caller(more: bytes) -> None:
    async with scripted_store(lambda command: echo(command) + more) as store, wired(store.url) as wire:
        assert await wire.call("ECHO", "asked") == "asked"
        store.answer = echo
        assert await wire.call("ECHO", "next") == "next"
        assert store.accepted == 2, "the connection could not be trusted any more"


@on_both_loops
async def test_an_answer_out_of_the_blue_ends_an_idle_connection() -> None:
    async with scripted_store() as store, wired(store.url) as wire:
        await wire.call("ECHO", "one")
        store.writers[0].write(b"$5\r\nwrong\r\n")
        while store.open:
            await asyncio.sleep(0)
        assert await wire.call("ECHO", "two") == "two"
        assert store.accepted == 2


@on_both_loops
async def test_answers_may_come_byte_by_byte() -> None:
    async with scripted_store(silent) as store, wired(store.url) as wire:
        calls = [asyncio.ensure_future(wire.call("ECHO", "ü" * number)) for number in range(3)]
        for _ in calls:
            await store.came.get()
        for byte in b"".join(echo(command) for command in store.commands):
            store.writers[0].write(bytes([byte]))
            await turns()
        assert await asyncio.gather(*calls) == ["", "ü", "üü"]


@on_both_loops
async def test_a_caller_that_gives_up_does_not_shift_the_others_answers() -> None:
    async with scripted_store(silent) as store, wired(store.url) as wire:
        calls = [asyncio.ensure_future(wire.call("ECHO", f"{number}")) for number in range(10)]
        for _ in calls:
            await store.came.get()
        for gone in calls[::3]:
            gone.cancel()
        await turns()
        store.writers[0].write(b"".join(echo(command) for command in store.commands))
        said = await outcomes(*calls)
        assert [one for number, one in enumerate(said) if number % 3] == [f"{n}" for n in range(10) if n % 3]
        assert [one for number, one in enumerate(said) if not number % 3] == ["CancelledError: "] * 4
        assert (store.accepted, len(store.commands)) == (1, 10)


@pytest.mark.parametrize("argument", [None, True, "\ud800", object()])
@on_both_loops
async def test_a_command_that_cannot_be_sent_does_not_shift_the_others_answers(argument: Any) -> None:
    async with scripted_store() as store, wired(store.url) as wire:
        said = await outcomes(wire.call("ECHO", "a"), wire.call("ECHO", argument), wire.call("ECHO", "b"))
        assert (said[0], said[2]) == ("a", "b")
        assert said[1].startswith(("TypeError", "UnicodeEncodeError"))
        assert (store.accepted, len(store.commands)) == (1, 2)


@on_both_loops
async def test_too_many_on_the_way_are_refused_and_the_others_answered() -> None:
    async with scripted_store(silent) as store, wired(store.url) as wire:
        first = asyncio.ensure_future(wire.call("ECHO", "first"))
        await store.came.get()
        calls = [asyncio.ensure_future(wire.call("ECHO", "more")) for _ in range(PENDING_MAX + 4)]
        while len(store.commands) < PENDING_MAX:
            await store.came.get()
        assert await outcomes(*calls[-5:]) == ["GateUnavailable: too many calls wait"] * 5
        store.writers[0].write(b"".join(echo(command) for command in store.commands))
        assert await first == "first"
        assert set(await asyncio.gather(*calls[:-5])) == {"more"}
        assert (store.accepted, len(store.commands)) == (1, PENDING_MAX)


@on_both_loops
async def test_closing_ends_calls_on_the_way() -> None:
    async with scripted_store(silent) as store, wired(store.url) as wire:
        calls = [asyncio.ensure_future(wire.call("ECHO", "x")) for _ in range(3)]
        for _ in calls:
            await store.came.get()
        await wire.close()
        assert await outcomes(*calls) == ["GateUnavailable: the client was closed"] * 3
        await wire.close()
        while store.open:
            await asyncio.sleep(0)


@pytest.mark.parametrize("turns_before", range(1, 19))
@on_both_loops
async def test_closing_while_it_connects_ends_the_calls_and_leaves_no_connection(turns_before: int) -> None:
    """At whatever moment between the first call and the end of the sign-in."""
    async with scripted_store(silent) as store, wired(store.url) as wire:
        calls = [asyncio.ensure_future(wire.call("ECHO", "x")) for _ in range(3)]
        await turns(turns_before)
        await wire.close()
        said = await outcomes(*calls)
        assert all(one.startswith("GateUnavailable: the c") for one in said), said
        while store.open:
            await asyncio.sleep(0)
        assert wire._connection is None


@on_both_loops
async def test_a_wire_that_was_closed_while_it_connected_can_be_used_again() -> None:
    async with scripted_store() as store, wired(store.url) as wire:
        given_up = asyncio.ensure_future(wire.call("ECHO", "x"))
        await turns(1)
        await wire.close()
        assert await wire.call("ECHO", "y") == "y"
        assert await outcomes(given_up) == ["GateUnavailable: the client was closed"]
        assert await asyncio.gather(*(wire.call("ECHO", f"{one}") for one in range(3))) == ["0", "1", "2"]
        while store.open > 1:
            await asyncio.sleep(0)


@on_both_loops
async def test_a_caller_that_gives_up_while_it_connects_leaves_the_attempt_to_the_others() -> None:
    async with scripted_store() as store, wired(store.url) as wire:
        first, second = (asyncio.ensure_future(wire.call("ECHO", one)) for one in ("a", "b"))
        await turns(1)
        first.cancel()
        assert await outcomes(first, second) == ["CancelledError: ", "b"]
        assert (store.accepted, store.commands) == (1, [[b"ECHO", b"b"]])


@on_both_loops
async def test_a_store_that_is_down_is_knocked_at_once_for_all_and_used_when_it_is_up() -> None:
    port = int(free_origin().rpartition(":")[2])
    async with wired(f"redis://127.0.0.1:{port}/0") as wire:
        said = await outcomes(*(wire.call("ECHO", "x") for _ in range(50)))
        assert len(said) == 50
        assert all(one.startswith("GateUnavailable: Connection") for one in said), said[0]
        async with scripted_store(port=port) as store:
            assert await wire.call("ECHO", "up") == "up"
            assert store.accepted == 1


@on_both_loops
async def test_callers_that_meet_share_one_attempt_to_connect_even_when_it_fails() -> None:
    def hang_up(_: Command) -> None:
        store.writers[-1].transport.abort()

    async with scripted_store() as store, wired(store.url) as wire:
        store.greet = hang_up
        said = await outcomes(*(wire.call("ECHO", "x") for _ in range(50)))
        assert all(one.startswith("GateUnavailable: the connection was lost") for one in said), said[0]
        assert (store.accepted, store.commands) == (1, [])
        store.greet = lambda _: OK
        assert await asyncio.gather(*(wire.call("ECHO", f"{one}") for one in range(50))) == [f"{n}" for n in range(50)]
        assert store.accepted == 2


@on_both_loops
async def test_a_sign_in_without_an_answer_ends_with_the_time_out() -> None:
    async with scripted_store() as store, wired(store.url, timeout_s=SHORT_S) as wire:
        store.greet = silent
        said = await outcomes(*(wire.call("ECHO", "x") for _ in range(5)))
        assert all(one.startswith("GateUnavailable") for one in said)
        while store.open:
            await asyncio.sleep(0)
        store.greet = lambda _: OK
        assert await wire.call("ECHO", "y") == "y"
        assert (store.accepted, len(store.commands)) == (2, 1)


@on_both_loops
async def test_a_forgotten_script_is_sent_once_and_a_lost_answer_never() -> None:
    """``NOSCRIPT`` is the only reason to send a second time: it is said before anything was carried out."""

    async def run(answers: list[bytes | None]) -> tuple[str, ScriptedStore]:
        async with scripted_store(lambda _: answers.pop(0)) as server:
            store = Store(server.url, timeout_s=SHORT_S, name="tests")
            (said,) = await outcomes(store.run("applied", ["a", "b"], (1, 0)))
            await store.close()
            return said, server

    said, server = await run([MISSING, b"+APPLIED\r\n"])
    assert (said, [command[0] for command in server.commands]) == ("APPLIED", [b"EVALSHA", b"EVAL"])
    said, server = await run([MISSING, None])
    assert said.startswith("GateUnavailable")
    assert [command[0] for command in server.commands] == [b"EVALSHA", b"EVAL"]
    said, server = await run([None])
    assert said.startswith("GateUnavailable")
    assert [command[0] for command in server.commands] == [b"EVALSHA"]
