"""Cluster: each command reaches its slot's node, also while slots move, and none is carried out twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis.asyncio import RedisCluster
from redis.crc import key_slot

from backend.core.store_address import StoreAddress
from backend.gate import EntryId, Gate, GateUnavailable, LaneId, LaneKeys, Outcome, verify_chain
from backend.gate.cluster import ClusterWire, SlotMap, slot_of
from stack.servers import ClusterGate
from tests.support.lane import Lane
from tests.support.scripted_store import OK, Answer, Command, ScriptedStore, scripted_store
from tests.support.topologies import cluster_admin

T = TypeVar("T")
TIMEOUT_S = 4.0
KEY = "{tag}:one"


@given(st.text())
@example("{user1000}.following")
@example("foo{}{bar}")
@example("foo{{bar}}zap")
@example("foo{bar}{zap}")
@example("{")
@example("}{")
@settings(max_examples=200, deadline=None)
def test_slots_are_redis_pys(key: str) -> None:
    encodable = key.encode(errors="replace").decode()
    assert slot_of(encodable) == key_slot(encodable.encode())


def test_all_keys_of_a_lane_share_a_slot() -> None:
    assert len({slot_of(key) for key in LaneKeys(LaneId(uuid4())).all()}) == 1


def slots_row(*nodes: tuple[int, int, int]) -> bytes:
    """``CLUSTER SLOTS`` with (low, high, port) for each node."""
    rows = [
        b"*3\r\n:%d\r\n:%d\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$2\r\nid\r\n" % (low, high, port)
        for low, high, port in nodes
    ]
    return b"*%d\r\n" % len(rows) + b"".join(rows)


def commands_of(store: ScriptedStore) -> list[bytes]:
    """What it was sent, but for questions about the map."""
    return [command[0] for command in store.commands if command[0] != b"CLUSTER"]


@asynccontextmanager
async def two_nodes(first: Answer, second: Answer) -> AsyncIterator[tuple[ClusterWire, ScriptedStore, ScriptedStore]]:
    """A wire to two scripted nodes, of which the first serves everything; asked again, they say nothing of that."""
    told = 0

    def mapped(answer: Answer) -> Answer:
        def respond(command: Command) -> bytes | None:
            nonlocal told
            if command[0] != b"CLUSTER":
                return answer(command)
            told += 1
            return slots_row((0, 16_383, one.port)) if told == 1 else None

        return respond

    async with scripted_store(mapped(first)) as one, scripted_store(mapped(second)) as two:
        address = StoreAddress.parse(f"redis+cluster://127.0.0.1:{one.port}")
        slots = SlotMap(address, timeout_s=TIMEOUT_S, name="tests")
        wire = ClusterWire(slots, address, timeout_s=TIMEOUT_S, name="tests")
        try:
            yield wire, one, two
        finally:
            await wire.close()
            await slots.close()


async def test_moved_is_followed_and_remembered() -> None:
    moved = b"-MOVED %d 127.0.0.1:%d\r\n"
    async with two_nodes(lambda _: moved % (slot_of(KEY), two.port), lambda _: OK) as (wire, one, two):
        assert await wire.call("SET", KEY, "1") == "OK"
        assert (commands_of(one), commands_of(two)) == ([b"SET"], [b"SET"])
        assert await wire.call("EVALSHA", "0" * 40, 1, "{tag}:other", KEY) == "OK"
        assert (commands_of(one), commands_of(two)) == ([b"SET"], [b"SET", b"EVALSHA"])


async def test_ask_is_followed_once_with_asking_and_not_remembered() -> None:
    ask = b"-ASK %d :%d\r\n"  # without a host: the one that was asked
    async with two_nodes(lambda _: ask % (slot_of(KEY), two.port), lambda _: OK) as (wire, one, two):
        for _ in range(2):
            assert await wire.call("SET", KEY, "1") == "OK"
        assert commands_of(one) == [b"SET", b"SET"]
        assert commands_of(two) == [b"ASKING", b"SET", b"ASKING", b"SET"]


@pytest.mark.parametrize("word", ["MOVED", "ASK"])
async def test_nodes_that_contradict_each_other_are_not_followed_for_ever(word: str) -> None:
    def to(port: int) -> bytes:
        return f"-{word} {slot_of(KEY)} 127.0.0.1:{port}\r\n".encode()

    def second(command: Command) -> bytes:
        return OK if command[0] == b"ASKING" else to(one.port)

    async with two_nodes(lambda command: OK if command[0] == b"ASKING" else to(two.port), second) as (wire, one, two):
        with pytest.raises(GateUnavailable, match="too often"):
            await wire.call("SET", KEY, "1")
        sent = commands_of(one).count(b"SET") + commands_of(two).count(b"SET")
        assert sent == 5


@pytest.mark.parametrize("said", ["TRYAGAIN Multiple keys request during rehashing of slot", "CLUSTERDOWN Hash slot"])
async def test_what_is_no_redirection_is_unavailable_and_sent_once(said: str) -> None:
    async with two_nodes(lambda _: f"-{said}\r\n".encode(), lambda _: OK) as (wire, one, two):
        with pytest.raises(GateUnavailable, match=said.split(maxsplit=1)[0]):
            await wire.call("SET", KEY, "1")
        assert (commands_of(one), commands_of(two)) == ([b"SET"], [])


async def test_a_lost_answer_is_not_sent_again_anywhere() -> None:
    """It may have been carried out: whoever asked tries again with the same id, if he likes."""

    def hang_up(_: Command) -> None:
        one.writers[-1].transport.abort()

    async with two_nodes(hang_up, lambda _: OK) as (wire, one, two):
        with pytest.raises(GateUnavailable, match="connection was lost"):
            await wire.call("SET", KEY, "1")
        await asyncio.sleep(0.05)
        assert (commands_of(one), commands_of(two)) == ([b"SET"], [])


async def test_a_transaction_on_a_slot_that_moved_is_unavailable_and_the_next_one_arrives() -> None:
    def first(command: Command) -> bytes:
        if command[0] == b"MULTI":
            return OK
        if command[0] == b"EXEC":
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        return f"-MOVED {slot_of(KEY)} 127.0.0.1:{two.port}\r\n".encode()

    def second(command: Command) -> bytes:
        return b"*1\r\n+done\r\n" if command[0] == b"EXEC" else b"+QUEUED\r\n"

    async with two_nodes(first, second) as (wire, _, two):
        replies = await wire.together([("MULTI",), ("SET", KEY, "1"), ("EXEC",)])
        assert isinstance(replies[-1], GateUnavailable)
        replies = await wire.together([("MULTI",), ("SET", KEY, "1"), ("EXEC",)])
        assert replies[-1] == ["done"]


# On a real cluster.


@pytest_asyncio.fixture(loop_scope="session")
async def gate(cluster_gate: ClusterGate) -> AsyncIterator[Gate]:
    await cluster_gate.flush()
    gate = Gate.connect(cluster_gate.url, timeout_s=10.0, name="tests")
    yield gate
    await gate.close()


@pytest_asyncio.fixture(loop_scope="session")
async def admin(cluster_gate: ClusterGate) -> AsyncIterator[RedisCluster]:
    client = cluster_admin(cluster_gate)
    yield client
    await client.aclose()


def lane_on(gate: Gate, admin: RedisCluster, low: int, high: int) -> Lane:
    """A lane whose slot is between these: on a node of the test's choice."""
    while True:
        lane = Lane(gate, admin)
        if low <= slot_of(lane.keys.lane) <= high:
            return lane


async def test_reads_that_block_wait_on_all_nodes_at_once(gate: Gate, admin: RedisCluster) -> None:
    lanes = [lane_on(gate, admin, low, low + 5_000) for low in (0, 5_500, 11_000)]
    for lane in lanes:
        await lane.load(10)
    after = {lane.lane_id: EntryId(1, 0) for lane in lanes}
    assert await gate.wait_for_entries(after, block_ms=50) == set()
    for lane in lanes:
        waiting = asyncio.create_task(gate.wait_for_entries(after, block_ms=5_000))
        await asyncio.sleep(0.05)
        bought = await lane.buy()
        assert await waiting == {lane.lane_id}
        after[lane.lane_id] = bought.entry_id


async def test_the_clocks_ticks_and_the_directory_work_across_slots(gate: Gate) -> None:
    names = [f"tick:{number}" for number in range(50)]
    assert len({slot_of(f"stampede:clock:{name}") // 5_462 for name in names}) == 3
    first, second = await asyncio.gather(
        gate.take_slots(names, "one", ttl_ms=60_000), gate.take_slots(names, "two", ttl_ms=60_000)
    )
    assert [one != two for one, two in zip(first, second, strict=True)] == [True] * 50


async def shop_until(lane: Lane, gate: Gate, stop: asyncio.Event, told: dict[bytes, EntryId]) -> int:
    """Buyers one after another, each trying with the same key until it hears a verdict; how often it heard none."""
    silences = 0
    while not stop.is_set():
        attempt = lane.attempt()
        while True:
            try:
                (decision,) = (await gate.admit(lane.lane_id, [attempt], generation=1, seen_seq=-1)).decisions
            except GateUnavailable:
                silences += 1
                await asyncio.sleep(0.01)
                continue
            assert decision.outcome in (Outcome.RESERVED, Outcome.REPLAYED), decision
            assert decision.entry_id is not None
            told[attempt.reservation] = decision.entry_id
            break
    return silences


async def test_moving_a_sales_slot_under_load_loses_and_doubles_nothing(
    cluster_gate: ClusterGate, gate: Gate, admin: RedisCluster
) -> None:
    lane = lane_on(gate, admin, 0, 5_000)
    await lane.load(1_000_000)
    slot = slot_of(lane.keys.lane)
    source = await cluster_gate.primary_of(slot)
    target = await cluster_gate.primary_of(16_000)
    gates = [Gate.connect(cluster_gate.url, timeout_s=4.0, name=f"api-{number}") for number in range(2)]
    told: dict[bytes, EntryId] = {}
    stop = asyncio.Event()
    buyers = [asyncio.create_task(shop_until(lane, gates[number % 2], stop, told)) for number in range(8)]
    for there, back in ((target, source), (source, target)):
        seen = len(told)
        while len(told) < seen + 50:
            await asyncio.sleep(0.01)
        await cluster_gate.begin_move(slot, back, there)
        await asyncio.sleep(0.1)  # half of the keys there, half not yet
        while await cluster_gate.move_keys(slot, back, there, count=2):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)  # everything there, and the owner not told
        await cluster_gate.end_move(slot, back, there)
    seen = len(told)
    while len(told) < seen + 50:
        await asyncio.sleep(0.01)
    stop.set()
    assert sum(await asyncio.gather(*buyers)) > 0, "the moves were not noticed"
    await cluster_gate.wait_until_whole()
    for one in gates:
        await one.close()

    entries = await lane.journal()
    verify_chain(entries[0], entries[1:])
    reading = await gate.read(lane.lane_id)
    assert (reading.held, reading.available + reading.held) == (len(told), 1_000_000)
    assert {entry.entry_id for entry in entries[1:]} == set(told.values())
    assert len(entries) == len(told) + 1


async def until_available(call: Callable[[], Awaitable[T]]) -> T:
    """Its answer as soon as there is one."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except GateUnavailable:
                await asyncio.sleep(0.05)


async def test_a_dead_primary_stops_its_own_lanes_alone_until_its_replica_is_elected(tmp_path: Path) -> None:
    async with ClusterGate(tmp_path) as servers:
        gate = Gate.connect(servers.url, timeout_s=2.0, name="tests")
        admin = cluster_admin(servers)
        here, there = lane_on(gate, admin, 0, 5_000), lane_on(gate, admin, 11_000, 16_000)
        for lane in (here, there):
            await lane.load(100)
            await lane.buy()
        slot = slot_of(here.keys.lane)
        old = await servers.primary_of(slot)
        old.kill()
        assert (await there.buy()).outcome is Outcome.RESERVED
        with pytest.raises(GateUnavailable):
            await here.buy()
        after = {here.lane_id: EntryId(1, 1), there.lane_id: EntryId(1, 1)}
        assert await gate.wait_for_entries(after, block_ms=500) == {there.lane_id}, "the living are heard"
        after[there.lane_id] = EntryId(1, 2)
        assert await gate.wait_for_entries(after, block_ms=200) == set(), "and believed when they have no news"
        await servers.wait_for_failover(old, slot)
        # The dead say no MOVED: the map was asked for again.
        assert (await until_available(lambda: gate.read(here.lane_id))).held == 1
        await old.start()
        await servers.wait_until_whole()
        assert (await until_available(here.buy)).outcome is Outcome.RESERVED
        assert (await gate.read(here.lane_id)).held == 2
        await admin.aclose()
        await gate.close()
