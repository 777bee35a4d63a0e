"""Sentinel: the primary is found while sentinels are dead or behind, and a primary of yesterday sells nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backend.core.store_address import HostPort, StoreAddress
from backend.gate import Decision, Gate, GateUnavailable, Outcome
from backend.gate import wire as wire_module
from backend.gate.sentinel import PrimaryFinder
from backend.gate.wire import Connection, Endpoint, PrimaryWire, Wire
from stack.servers import SentinelGate
from stack.servers.sentinel import SentinelMember
from tests.support.lane import Lane
from tests.support.scripted_store import Command, scripted_store

TIMEOUT_S = 4.0


def bulk(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)


def with_sentinels(servers: SentinelGate, *ports: int) -> str:
    """The store's address with other sentinels in front of its own."""
    before, at, rest = servers.url.partition("@")
    return before + at + "".join(f"127.0.0.1:{port}," for port in ports) + rest


@asynccontextmanager
async def connected(url: str, finder: type[PrimaryFinder] = PrimaryFinder) -> AsyncIterator[Wire]:
    wire = Wire(finder(StoreAddress.parse(url), timeout_s=TIMEOUT_S, name="tests").dial, timeout_s=TIMEOUT_S)
    try:
        yield wire
    finally:
        await wire.close()


async def port_of(wire: Wire) -> int:
    info = await wire.call("INFO", "server")
    return int(info.partition("tcp_port:")[2].partition("\r")[0])


async def replica_of(servers: SentinelGate) -> SentinelMember:
    primary = await servers.primary()
    return next(one for one in servers.members if one is not primary)


async def test_dead_silent_and_ignorant_sentinels_are_passed_over(sentinel_gate: SentinelGate) -> None:
    def silent(_: Command) -> None:
        return None

    async with scripted_store(silent) as mute, scripted_store(lambda _: b"*-1\r\n") as ignorant:
        url = with_sentinels(sentinel_gate, 1, mute.port, ignorant.port)
        async with connected(url) as wire:
            assert await port_of(wire) == (await sentinel_gate.primary()).port
        assert mute.commands == ignorant.commands == [[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"stampede"]]


async def test_the_sentinel_that_was_right_is_asked_first_the_next_time(sentinel_gate: SentinelGate) -> None:
    async with scripted_store(lambda _: b"*-1\r\n") as ignorant:
        url = with_sentinels(sentinel_gate, ignorant.port)
        async with connected(url) as wire:
            for _ in range(3):
                await port_of(wire)
                assert wire._connection is not None
                wire._connection.drop("lost")
        assert len(ignorant.commands) == 1


async def test_no_sentinel_at_all_is_unavailable_and_says_what_was_tried(sentinel_gate: SentinelGate) -> None:
    async with scripted_store(lambda _: b"*-1\r\n") as ignorant:
        hosts = f"127.0.0.1:1,127.0.0.1:{ignorant.port}"
        async with connected(f"redis+sentinel://u:secret@{hosts}/shop") as wire:
            with pytest.raises(GateUnavailable, match=r"127\.0\.0\.1:1: .* does not know shop") as caught:
                await wire.call("PING")
    assert "secret" not in str(caught.value)


class BelievingFinder(PrimaryFinder):
    """A finder that takes the first sentinel's word: the negative control."""

    async def _connect(self, server: HostPort) -> Connection:
        return await Endpoint.of(self._address, server, name="tests", database=0).dial(1.0)


@pytest.mark.parametrize("finder", [PrimaryFinder, BelievingFinder])
async def test_a_sentinel_of_yesterday_names_a_replica(
    sentinel_gate: SentinelGate, finder: type[PrimaryFinder]
) -> None:
    replica = await replica_of(sentinel_gate)
    async with scripted_store(lambda _: bulk("127.0.0.1", str(replica.port))) as behind:
        async with connected(with_sentinels(sentinel_gate, behind.port), finder) as wire:
            if finder is BelievingFinder:
                with pytest.raises(GateUnavailable, match="READONLY"):
                    await wire.call("SET", "key", "1")
            else:
                assert await wire.call("SET", "key", "1") == "OK"
        assert len(behind.commands) == 1


async def test_wrong_credentials_are_unavailable(sentinel_gate: SentinelGate) -> None:
    url = sentinel_gate.url.replace("sentinel_password=", "sentinel_password=x")
    async with connected(url) as wire:
        with pytest.raises(GateUnavailable, match="WRONGPASS"):
            await wire.call("PING")


async def test_a_connection_that_was_quiet_is_asked_for_a_sign_of_life_before_a_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A primary that wakes carries out what comes first; that must not be an attempt."""

    def slow_ping(command: Command) -> bytes | None:
        return None if command == [b"PING"] else b"+OK\r\n"

    async with scripted_store(slow_ping) as store:
        wire = PrimaryWire(store.url, timeout_s=TIMEOUT_S)
        assert [await wire.call("SET", "a", 1), await wire.call("SET", "b", 2)] == ["OK", "OK"]
        assert [command[0] for command in store.commands] == [b"SET", b"SET"], "not while it talks"
        monkeypatch.setattr(wire_module, "QUIET_MAX_S", 0)
        await asyncio.sleep(0.001)
        waiting = asyncio.create_task(wire.call("SET", "c", 3))
        await asyncio.sleep(0.1)
        assert [command[0] for command in store.commands] == [b"SET", b"SET", b"PING"]
        store.writers[0].write(b"+PONG\r\n")
        assert await waiting == "OK"
        assert [command[0] for command in store.commands] == [b"SET", b"SET", b"PING", b"SET"]
        await wire.close()


async def bought(lane: Lane, gate: Gate, count: int) -> list[Decision]:
    """That many attempts of as many shoppers, one after another; unavailable ones are left out."""
    decisions = []
    for _ in range(count):
        try:
            reply = await gate.admit(lane.lane_id, [lane.attempt()], generation=lane.generation, seen_seq=-1)
        except GateUnavailable:
            continue
        decisions += reply.decisions
    return decisions


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "control"])
async def test_a_frozen_primary_that_wakes_sells_nothing(tmp_path: Path, *, guarded: bool) -> None:
    """Its clients kept their connections, and it does not know that another was elected.

    The control leaves `min-replicas-to-write` off: then it sells, and what it sold is gone when it is told.
    """
    async with SentinelGate(tmp_path, min_replicas_max_lag_s=5 if guarded else 0) as servers:
        gate = Gate.connect(servers.url, timeout_s=2.0, name="tests")
        old = await servers.primary()
        async with old.admin() as admin:
            lane = Lane(gate, admin)
            await lane.load(1_000)
            assert [one.outcome for one in await bought(lane, gate, 3)] == [Outcome.RESERVED] * 3
            await servers.wait_for_replicas()
            old.freeze()
            new = await servers.wait_for_failover(old)
            old.thaw()
            sold = await bought(lane, gate, 20)
        async with new.admin() as admin:
            kept = await admin.hlen(lane.keys.claims)
        await gate.close()
    assert kept == 3
    assert len(sold) == (0 if guarded else 20)
    assert {one.outcome for one in sold} <= {Outcome.RESERVED}


async def test_after_a_failover_the_new_primary_is_found_and_knows_the_scripts(tmp_path: Path) -> None:
    """Two replicas: the elected one has one of its own and goes on at once."""
    async with SentinelGate(tmp_path, replicas=2) as servers:
        gate = Gate.connect(servers.url, timeout_s=2.0, name="tests")
        old = await servers.primary()
        async with old.admin() as admin:
            lane = Lane(gate, admin)
            await lane.load(1_000)
            assert len(await bought(lane, gate, 3)) == 3
            await servers.wait_for_replicas()
        old.kill()
        async with asyncio.timeout(60):
            while not await bought(lane, gate, 1):
                await asyncio.sleep(0.05)
        reading = await gate.read(lane.lane_id)
        assert (reading.held, reading.available + reading.held, reading.seq) == (4, 1_000, 4)
        await servers.restart(old)
        await servers.wait_for_replicas()
        assert await gate.fitness() == []
        await gate.close()
