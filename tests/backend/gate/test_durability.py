"""``acknowledged``: a 202 outlives the server that took it; what cannot be made safe in time is told as unknown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from backend.gate import Admission, Batch, Decision, Durability, EntryId, Gate, GateUnavailable, LaneAdmission, Outcome
from backend.gate.disk import DiskHorizon, waits_for_the_disk
from backend.gate.scripts import SCRIPTS, Script
from stack.servers import SentinelGate
from stack.servers.sentinel import SentinelMember
from tests.support.lane import Lane

ACKNOWLEDGED = Durability.ACKNOWLEDGED
EVERYSEC = Durability.EVERYSEC
SHORT_S = 2.0


async def outcome_of(future: "asyncio.Future[Decision]") -> str:
    try:
        return (await future).outcome
    except GateUnavailable:
        return "unknown"


def lane_of(gate: Gate, lane: Lane) -> LaneAdmission:
    return Admission(gate).lane(lane.lane_id)


@pytest.mark.each_topology
async def test_an_acknowledged_lane_sells_as_any_other(lane: Lane) -> None:
    await lane.load(3, durability=ACKNOWLEDGED)
    admission = lane_of(lane.gate, lane)
    winner = lane.attempt()
    said = [(await admission.submit(one)).outcome for one in (winner, lane.attempt(), winner, lane.attempt())]
    assert said == ["RESERVED", "RESERVED", "REPLAYED", "RESERVED"]
    async with asyncio.timeout(30):
        assert (await admission.submit(lane.attempt())).outcome is Outcome.SOLD_OUT
    reading = await lane.gate.read(lane.lane_id)
    assert (reading.available, reading.held) == (0, 3)


@pytest.mark.each_topology
async def test_a_forgotten_script_is_sent_again(lane: Lane) -> None:
    await lane.load(10, durability=ACKNOWLEDGED)
    (bought,) = await lane.admit(attempt := lane.attempt())
    assert bought.entry_id
    for _ in range(2):
        assert await lane.gate.acknowledge(lane.lane_id, [(attempt.reservation, bought.entry_id)]) == [True]
        await lane.admin.script_flush()


async def test_what_the_store_does_not_have_any_more_is_not_acknowledged(lane: Lane) -> None:
    await lane.load(10)
    kept, lost, never = lane.attempt(), lane.attempt(), lane.attempt()
    (first,) = await lane.admit(kept)
    old = await lane.snapshot()
    (second,) = await lane.admit(lost)
    assert first.entry_id is not None
    assert second.entry_id is not None
    await lane.fail_over_to(old)
    claims = [(kept.reservation, first.entry_id), (lost.reservation, second.entry_id)]
    claims += [
        (never.reservation, EntryId(1, 3)),
        (kept.reservation, EntryId(1, 2)),
        (kept.reservation, EntryId(11, 1)),
    ]
    assert await lane.gate.acknowledge(lane.lane_id, claims) == [True, False, False, False, False]
    await lane.admin.delete(lane.keys.lane)
    assert await lane.gate.acknowledge(lane.lane_id, claims[:1]) == [False]
    assert not await lane.admin.exists(lane.keys.lane), "asking makes no lane"


async def test_a_failover_between_the_decision_and_its_acknowledgement_is_unknown_to_the_shopper(lane: Lane) -> None:
    """The new primary would vouch for its own write gladly."""
    await lane.load(10, durability=ACKNOWLEDGED)
    old = await lane.snapshot()

    class Failing(Gate):
        async def acknowledge(self, lane_id: Any, held: Any) -> list[bool]:
            await lane.fail_over_to(old)
            return await super().acknowledge(lane_id, held)

    admission = lane_of(Failing(lane.gate.store), lane)
    assert await outcome_of(admission.submit(lane.attempt())) == "unknown"


async def test_a_change_between_the_two_calls_of_a_batch_counts(lane: Lane) -> None:
    """The first call of a process learns the generation and asks again."""
    await lane.load(10)
    asked = []

    class Changing(Gate):
        async def admit(self, lane_id: Any, attempts: Any, **knowledge: Any) -> Batch:
            batch = await super().admit(lane_id, attempts, **knowledge)
            await lane.reconfigure(durability=ACKNOWLEDGED)
            return batch

        async def acknowledge(self, lane_id: Any, held: Any) -> list[bool]:
            asked.append(held)
            return await super().acknowledge(lane_id, held)

    assert await outcome_of(lane_of(Changing(lane.gate.store), lane).submit(lane.attempt())) == "RESERVED"
    assert len(asked) == 1


async def test_one_gone_reservation_does_not_take_the_others_of_its_batch_along(lane: Lane) -> None:
    await lane.load(10, durability=ACKNOWLEDGED)

    class Forgetting(Gate):
        async def acknowledge(self, lane_id: Any, held: Any) -> list[bool]:
            kept = await super().acknowledge(lane_id, held)
            assert len(kept) == 5
            return [one and number != 2 for number, one in enumerate(kept)]

    admission = lane_of(Forgetting(lane.gate.store), lane)
    admission.generation = 1
    futures = [admission.submit(lane.attempt()) for _ in range(5)]
    assert [await outcome_of(one) for one in futures] == ["RESERVED", "RESERVED", "unknown", "RESERVED", "RESERVED"]


async def test_an_acknowledgement_that_breaks_leaves_nobody_waiting(lane: Lane) -> None:
    await lane.load(10, durability=ACKNOWLEDGED)

    class Broken(Gate):
        async def acknowledge(self, lane_id: Any, held: Any) -> list[bool]:
            raise ZeroDivisionError("a fault of ours")

    admission = lane_of(Broken(lane.gate.store), lane)
    async with asyncio.timeout(10):
        assert await outcome_of(admission.submit(lane.attempt())) == "unknown"
        with pytest.raises(ZeroDivisionError):
            await asyncio.gather(*admission._safekeeping)
    assert admission._unsafe == 0


async def test_those_who_wait_to_be_safe_count_against_the_queue(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.gate import Overloaded
    from backend.gate import admission as admission_module

    monkeypatch.setattr(admission_module, "WAITING_MAX", 3)
    await lane.load(10, durability=ACKNOWLEDGED)
    opened = asyncio.Event()

    class Slow(Gate):
        async def acknowledge(self, lane_id: Any, held: Any) -> list[bool]:
            await opened.wait()
            return await super().acknowledge(lane_id, held)

    admission = lane_of(Slow(lane.gate.store), lane)
    futures = [admission.submit(lane.attempt()) for _ in range(3)]
    while admission._unsafe < 3:
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        admission.submit(lane.attempt())
    opened.set()
    assert {one.outcome for one in await asyncio.gather(*futures)} == {Outcome.RESERVED}
    assert admission._unsafe == 0


async def test_a_lane_that_does_not_say_gets_the_stronger_promise(lane: Lane) -> None:
    await lane.load(10)
    assert not (await lane.batch([lane.attempt()])).acknowledge
    await lane.admin.hdel(lane.keys.config, "durability")
    assert (await lane.batch([lane.attempt()])).acknowledge
    await lane.set_config(durability="twice a day")
    assert (await lane.batch([lane.attempt()])).acknowledge


# With a replica that hangs.


@pytest_asyncio.fixture(loop_scope="session")
async def replica(sentinel_gate: SentinelGate) -> AsyncIterator[SentinelMember]:
    primary = await sentinel_gate.primary()
    replica = next(one for one in sentinel_gate.members if one is not primary)
    yield replica
    replica.thaw()
    await sentinel_gate.wait_for_replicas()


@pytest_asyncio.fixture(loop_scope="session")
async def replicated(sentinel_gate: SentinelGate) -> AsyncIterator[Lane]:
    """A lane under Sentinel."""
    await sentinel_gate.flush()
    gate = Gate.connect(sentinel_gate.url, timeout_s=SHORT_S, name="tests")
    async with (await sentinel_gate.primary()).admin() as admin:
        yield Lane(gate, admin)
    await gate.close()


async def test_without_the_replica_nothing_is_told_and_the_same_key_finds_its_ticket_later(
    replicated: Lane, replica: SentinelMember
) -> None:
    lane = replicated
    await lane.load(2, durability=ACKNOWLEDGED)
    admission = lane_of(lane.gate, lane)
    first, second = lane.attempt(), lane.attempt()
    assert await outcome_of(admission.submit(first)) == "RESERVED"
    replica.freeze()
    assert await outcome_of(admission.submit(second)) == "unknown"
    assert await outcome_of(admission.submit(second)) == "unknown", "a replay promises as much as a reservation"
    assert await outcome_of(admission.submit(lane.attempt())) == "SOLD_OUT", "a refusal promises nothing"
    replica.thaw()
    decision = await admission.submit(second)
    assert (decision.outcome, decision.entry_id) == (Outcome.REPLAYED, EntryId(1, 2))


async def test_a_change_of_the_setting_holds_from_the_next_batch(replicated: Lane, replica: SentinelMember) -> None:
    lane = replicated
    await lane.load(10)
    admission = lane_of(lane.gate, lane)
    replica.freeze()
    assert await outcome_of(admission.submit(lane.attempt())) == "RESERVED"
    await lane.reconfigure(durability=ACKNOWLEDGED)
    assert await outcome_of(admission.submit(lane.attempt())) == "unknown"
    await lane.reconfigure(durability=EVERYSEC)
    assert await outcome_of(admission.submit(lane.attempt())) == "RESERVED"


def reading_only() -> Script:
    """The acknowledging script without its write."""
    script = SCRIPTS["acknowledge"]
    source = script.source.replace("redis.call('HSET', KEYS[1], 'acknowledged', time[1])", "")
    assert source != script.source
    return Script(script.name, script.keys, source, "0" * 40)


@pytest.mark.parametrize("writes", [True, False], ids=["writes", "control"])
async def test_a_connection_that_wrote_nothing_vouches_for_anything(
    replicated: Lane, replica: SentinelMember, monkeypatch: pytest.MonkeyPatch, *, writes: bool
) -> None:
    """Why the acknowledging script writes. The control does not, and is told that all is well."""
    lane = replicated
    await lane.load(10)
    replica.freeze()
    attempt = lane.attempt()
    (bought,) = await lane.admit(attempt)
    assert bought.entry_id
    if not writes:
        monkeypatch.setitem(SCRIPTS, "acknowledge", reading_only())
    claims = [(attempt.reservation, bought.entry_id)]
    if writes:
        with pytest.raises(GateUnavailable, match="not acknowledged in time"):
            await lane.gate.acknowledge(lane.lane_id, claims)
    else:
        assert await lane.gate.acknowledge(lane.lane_id, claims) == [True]


async def test_many_lanes_share_a_wait_and_none_answers_for_another(replicated: Lane) -> None:
    lanes = [replicated] + [Lane(replicated.gate, replicated.admin) for _ in range(9)]
    for lane in lanes[:-1]:
        await lane.load(10, durability=ACKNOWLEDGED)
    admissions = [lane_of(lane.gate, lane) for lane in lanes]
    before = (await replicated.admin.info("commandstats")).get("cmdstat_wait", {}).get("calls", 0)
    said = await asyncio.gather(
        *(outcome_of(admission.submit(lane.attempt())) for lane, admission in zip(lanes, admissions, strict=True))
    )
    assert said == ["RESERVED"] * 9 + ["NOT_LOADED"]
    waits = (await replicated.admin.info("commandstats"))["cmdstat_wait"]["calls"] - before
    assert 1 <= waits < 9


@pytest.mark.parametrize("durability", [ACKNOWLEDGED, EVERYSEC])
async def test_acknowledged_reservations_survive_a_failover(tmp_path: Path, durability: Durability) -> None:
    """The primary dies while its replica hangs; the replica comes back as it was, and is elected.

    ``everysec`` is the control: what was told meanwhile is gone.
    """
    async with SentinelGate(tmp_path) as servers:
        gate = Gate.connect(servers.url, timeout_s=SHORT_S, name="tests")
        old = await servers.primary()
        replica = next(one for one in servers.members if one is not old)
        async with old.admin() as admin:
            await _has_its_file(replica)
            lane = Lane(gate, admin)
            await lane.load(1_000_000, durability=durability)
            told = await _sold_until_both_died(lane, gate, old, replica)
        await replica.start()
        new = await servers.wait_for_failover(old)
        async with new.admin() as admin:
            kept = {name.decode() for name in await admin.hkeys(lane.keys.claims)}
        await gate.close()
    lost = [reservation for reservation in told if reservation not in kept]
    assert len(told) >= 100
    assert (len(lost) > 0) == (durability is EVERYSEC), len(lost)


async def _has_its_file(replica: SentinelMember) -> None:
    """After a full synchronisation a replica writes its file anew: until that is done it has none to come back with."""
    async with replica.admin() as admin, asyncio.timeout(60):
        while True:
            info = await admin.info("persistence")
            if info["aof_enabled"] and not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]:
                return
            await asyncio.sleep(0.05)


async def _sold_until_both_died(lane: Lane, gate: Gate, old: SentinelMember, replica: SentinelMember) -> set[str]:
    """Reservations that shoppers were told of."""
    admission = lane_of(gate, lane)
    told: set[str] = set()
    stop = asyncio.Event()

    async def buyer() -> None:
        while not stop.is_set():
            attempt = lane.attempt()
            if await outcome_of(admission.submit(attempt)) == "RESERVED":
                told.add(attempt.reservation.hex())

    buyers = [asyncio.create_task(buyer()) for _ in range(8)]
    while len(told) < 100:
        await asyncio.sleep(0.01)
    replica.freeze()
    await asyncio.sleep(0.3)
    replica.kill()  # with what was on its way to it
    old.kill()
    stop.set()
    await asyncio.gather(*buyers)
    return told


# On the disk of a standalone server.


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ("redis_version:7.0.15", False),
        ("redis_version:7.2.4", True),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.8", False),
        ("redis_version:7.4.2", False),
        ("redis_version:8.0.1", True),
        ("redis_version:10.1.0", True),
        ("", False),
    ],
)
def test_whose_word_about_the_disk_is_believed(said: str, *, believed: bool) -> None:
    assert waits_for_the_disk(f"# Server\r\n{said}\r\nos:Linux\r\n") is believed


class Disk:
    """A server's clock and what is on its way to the disk, as a test sets them."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.facts = "aof_last_write_status:ok\r\naof_buffer_length:0\r\naof_pending_bio_fsync:0\r\n"
        self.asked = 0
        self.policy = "everysec"

    async def call(self, *command: Any) -> Any:
        await asyncio.sleep(0)
        if command == ("INFO", "server"):
            return "redis_version:7.2.4\r\nvalkey_version:8.1.8\r\n"
        if command == ("CONFIG", "GET", "appendfsync"):
            if not self.policy:
                raise GateUnavailable("NOPERM User stampede has no permissions to run the 'config|get' command")
            return ["appendfsync", self.policy]
        if command == ("TIME",):
            return [str(self.now_ms // 1000), str(self.now_ms % 1000 * 1000)]
        self.asked += 1
        return self.facts

    async def looks(self, count: int) -> None:
        """So often, as long as somebody waits."""
        seen = self.asked
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while self.asked < seen + count:
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("policy", ["everysec", "no", ""])
async def test_the_disk_has_a_write_a_second_later_and_not_while_something_is_on_its_way(policy: str) -> None:
    disk = Disk()
    disk.policy = policy
    horizon = DiskHorizon(disk.call, timeout_s=30)
    waiting = asyncio.create_task(horizon.passes_now())
    await disk.looks(3)
    disk.now_ms += 1_019
    await disk.looks(3)
    assert not waiting.done(), "the second is not over"
    disk.facts = disk.facts.replace("fsync:0", "fsync:1")
    disk.now_ms += 1
    await disk.looks(3)
    assert not waiting.done(), "it is being written"
    disk.facts = disk.facts.replace("fsync:1", "fsync:0").replace("length:0", "length:9")
    await disk.looks(3)
    assert not waiting.done(), "something waits to be written"
    disk.facts = disk.facts.replace("length:9", "length:0")
    async with asyncio.timeout(10):
        await waiting
    await horizon.close()


async def test_a_server_that_synchronises_each_write_needs_no_second() -> None:
    disk = Disk()
    disk.policy = "always"
    await DiskHorizon(disk.call, timeout_s=30).passes_now()
    assert disk.asked == 0


async def test_a_disk_that_cannot_be_written_is_unavailable() -> None:
    disk = Disk()
    disk.facts = disk.facts.replace("status:ok", "status:err")
    horizon = DiskHorizon(disk.call, timeout_s=30)
    with pytest.raises(GateUnavailable, match="cannot be written"):
        await horizon.passes_now()
    await horizon.close()


async def test_a_disk_that_is_never_done_is_unavailable() -> None:
    disk = Disk()
    horizon = DiskHorizon(disk.call, timeout_s=-0.9)
    with pytest.raises(GateUnavailable, match="not on the disk in time"):
        await horizon.passes_now()
    await horizon.close()


async def test_the_real_servers_acknowledgement_is_not_before_its_second_is_over(lane: Lane, admin: Redis) -> None:
    """Valkey 8.1.8 answers WAITAOF at once, before anything is synchronised."""
    if waits_for_the_disk("\r\n".join(f"{name}:{value}" for name, value in (await admin.info("server")).items())):
        pytest.skip("this server's WAITAOF waits for the disk")
    await lane.load(20, durability=ACKNOWLEDGED)
    admission = lane_of(lane.gate, lane)
    before_ms = await lane.gate.now_ms()
    futures = [admission.submit(lane.attempt(uuid4())) for _ in range(20)]
    assert {one.outcome for one in await asyncio.gather(*futures)} == {Outcome.RESERVED}
    assert await lane.gate.now_ms() - before_ms >= 1_000


async def test_the_acknowledger_may_be_closed_with_somebody_waiting(replicated: Lane, replica: SentinelMember) -> None:
    lane = replicated
    await lane.load(10, durability=ACKNOWLEDGED)
    attempt = lane.attempt()
    (bought,) = await lane.admit(attempt)
    assert bought.entry_id
    replica.freeze()
    waiting = asyncio.create_task(lane.gate.acknowledge(lane.lane_id, [(attempt.reservation, bought.entry_id)]))
    await asyncio.sleep(0.1)
    await lane.gate.close()
    with pytest.raises(GateUnavailable):
        await waiting
