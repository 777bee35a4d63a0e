"""The gate: each method is one script, one round trip, and safe to call again."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self
from uuid import UUID

from backend.core.breaker import CircuitState
from backend.core.store_address import StoreTopology
from backend.gate.fitness import faults_of
from backend.gate.journal import JournalEntry, read_entry
from backend.gate.keys import DIRECTORY, SLOT_PREFIX, LaneId, keys_of
from backend.gate.outcomes import GateAnswer
from backend.gate.replies import (
    config_fields,
    differences,
    entry_or_none,
    int_or_none,
    read_applied,
    read_decision,
    read_lane,
)
from backend.gate.store import Store, unavailable_on_error
from backend.gate.values import (
    Applied,
    Attempt,
    Batch,
    Durability,
    EntryId,
    LaneConfig,
    LaneEntry,
    LaneReading,
    Release,
    Retake,
)

BATCH_MAX = 256
"""Attempts in one call of ``admit``: about 1 ms of Redis, so that no other command waits for longer."""
RELEASES_MAX = 500


class Gate:
    """Everything that may be asked of the gate store. Raises ``GateUnavailable`` when it does not answer."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def connect(cls, url: str, *, timeout_s: float, name: str) -> Self:
        """A gate on the store at ``url``; connects lazily."""
        return cls(Store(url, timeout_s=timeout_s, name=name))

    async def close(self) -> None:
        await self.store.close()

    async def load(self, lane_id: LaneId, *, generation: int, nonce: str, units: int, config: LaneConfig) -> Applied:
        """Load stock: the genesis of a generation. Idempotent by generation and nonce."""
        keys = keys_of(lane_id)
        reply = await self.store.run(
            "load",
            (
                keys.config,
                keys.lane,
                keys.claims,
                keys.shoppers,
                keys.causes,
                keys.journal,
                keys.applied,
                keys.counts,
                keys.rebuild,
            ),
            (generation, nonce, units, *config_fields(config)),
        )
        return read_applied(reply)

    async def admit(
        self,
        lane_id: LaneId,
        attempts: Sequence[Attempt],
        *,
        generation: int,
        seen_seq: int,
        forged: int = 0,
    ) -> Batch:
        """Decide up to ``BATCH_MAX`` attempts at once; they see each other. None, to report ``forged`` alone.

        ``generation`` and ``seen_seq`` are what the caller was last answered; ``forged`` counts the links it
        refused by itself since its last call.
        """
        assert len(attempts) <= BATCH_MAX, len(attempts)
        keys = keys_of(lane_id)
        args: list[Any] = [generation, seen_seq, forged]
        for one in attempts:
            args += (
                one.reservation.hex(),
                one.shopper.hex(),
                one.quantity,
                one.link_epoch,
                int(one.replay_only),
            )
        reply = await self.store.run(
            "admit",
            (
                keys.config,
                keys.lane,
                keys.claims,
                keys.shoppers,
                keys.journal,
                keys.applied,
                keys.counts,
                keys.series,
            ),
            args,
        )
        now_ms, applied = int(reply[2]), entry_or_none(reply[3])
        return Batch(
            EntryId(int(reply[0]), int(reply[1])),
            now_ms,
            applied,
            [read_decision(reply[at], reply[at + 1], reply[at + 2], now_ms, applied) for at in range(5, len(reply), 3)],
            # A lane that does not say, or says something newer than this code, gets the stronger promise.
            acknowledge=reply[4] != Durability.EVERYSEC,
        )

    async def acknowledge(self, lane_id: LaneId, held: Sequence[tuple[bytes, EntryId]]) -> list[bool]:
        """Which of these reservations (16 bytes, and their journal entries) the store still has, now safe.

        At most ``BATCH_MAX``. Raises ``GateUnavailable`` when the store does not say so in time.
        """
        assert 0 < len(held) <= BATCH_MAX, len(held)
        keys = keys_of(lane_id)
        args: list[Any] = []
        for reservation, entry_id in held:
            args += (reservation.hex(), str(entry_id))
        answers = await self.store.acknowledge("acknowledge", (keys.lane, keys.claims), args)
        return [answer == GateAnswer.DONE for answer in answers]

    async def vouches(self, lane_id: LaneId, last: JournalEntry, *, safe: bool) -> bool:
        """Whether the store that takes writes now has this very entry, and so everything up to it.

        False when it has another there, or none: who read it asked a server that has been replaced. With ``safe``,
        only once the entry is safe too. Raises ``GateUnavailable`` when the store does not say so in time.
        """
        keys = keys_of(lane_id)
        asked = (keys.lane, keys.journal), (str(last.entry_id), last.digest)
        if not safe and not self.is_replicated:
            return True  # nobody can have been put in its place
        answer = await (self.store.acknowledge("vouch", *asked) if safe else self.store.run("vouch", *asked))
        return bool(answer == GateAnswer.DONE)

    async def release(self, lane_id: LaneId, releases: Sequence[Release], *, generation: int) -> list[Applied]:
        """Give units back, each at most once by its cause. At most ``RELEASES_MAX``."""
        assert 0 < len(releases) <= RELEASES_MAX, len(releases)
        keys = keys_of(lane_id)
        args: list[Any] = [generation]
        for one in releases:
            args += (one.cause.hex, one.reservation_id.hex, str(one.entry_id), int(one.forfeit))
        reply = await self.store.run(
            "release", (keys.lane, keys.claims, keys.shoppers, keys.causes, keys.journal), args
        )
        return [
            Applied(GateAnswer(reply[at]), entry_or_none(reply[at + 1]), int_or_none(reply[at + 2]))
            for at in range(0, len(reply), 3)
        ]

    async def retake(self, lane_id: LaneId, retake: Retake, *, generation: int) -> Applied:
        """Take units for a late payment: ``ENDED``, ``LIMIT_REACHED`` and ``NOT_ENOUGH`` are refusals, which change
        nothing; ``PAUSED``, ``NOT_LOADED`` and ``STALE_GENERATION`` leave it open."""
        keys = keys_of(lane_id)
        reply = await self.store.run(
            "retake",
            (keys.config, keys.lane, keys.claims, keys.shoppers, keys.causes, keys.journal),
            (
                generation,
                retake.reservation_id.hex,
                retake.shopper_id.hex,
                retake.quantity,
                retake.old_reservation_id.hex,
                str(retake.old_entry_id),
                retake.release_cause.hex if retake.release_cause else "",
            ),
        )
        return Applied(GateAnswer(reply[0]), entry_or_none(reply[1]), int_or_none(reply[2]))

    async def live_claim(self, lane_id: LaneId, reservation_id: UUID) -> tuple[EntryId, int] | None:
        """The journal entry and the units that a reservation's live claim holds, None when it has none."""
        async with unavailable_on_error():
            row = await self.store.client.hget(keys_of(lane_id).claims, reservation_id.hex)
        fields = row.split(" ") if row else []
        if len(fields) != 6 or fields[5] != "live":
            return None
        return EntryId(int(fields[0]), int(fields[1])), int(fields[2])

    async def adjust(self, lane_id: LaneId, *, cause: UUID, units: int, generation: int) -> Applied:
        """Raise the allotment by ``units``, or lower it when negative: ``NOT_ENOUGH`` below the available ones."""
        keys = keys_of(lane_id)
        reply = await self.store.run("adjust", (keys.lane, keys.causes, keys.journal), (generation, cause.hex, units))
        return read_applied(reply)

    async def configure(
        self, lane_id: LaneId, config: LaneConfig, *, generation: int, clear_fault: bool = False
    ) -> GateAnswer:
        """Apply the ledger's wishes. The fault latch stays unless ``clear_fault``."""
        keys = keys_of(lane_id)
        latch = "clear" if clear_fault else "keep"
        reply = await self.store.run(
            "configure",
            (keys.config, keys.lane),
            (generation, config.config_version, latch, *config_fields(config)),
        )
        return GateAnswer(reply)

    async def latch(self, lane_id: LaneId, fault: str, *, generation: int) -> GateAnswer:
        """Stop a lane for a fault; the first fault stays."""
        keys = keys_of(lane_id)
        return GateAnswer(await self.store.run("configure", (keys.config, keys.lane), (generation, 0, fault)))

    async def read(self, lane_id: LaneId, *, cursor: EntryId | None = None, sure: bool = False) -> LaneReading:
        """One lane at one instant; with ``cursor``, what the journal holds there.

        ``sure``: by the server that takes writes, or not at all. One that was replaced, and does not know it yet, shows
        a history that has ended; nobody must be judged, and no sale stopped, by that.
        """
        keys = keys_of(lane_id)
        reply = await self.store.run(
            "read",
            (keys.config, keys.lane, keys.journal, keys.applied, keys.counts),
            (str(cursor) if cursor else "", int(sure)),
        )
        return read_lane(lane_id, reply)

    async def secrets(self, lane_id: LaneId) -> dict[int, bytes]:
        """The link secrets the lane knows, by epoch."""
        async with unavailable_on_error():
            fields = await self.store.client.hgetall(keys_of(lane_id).config)
        return {
            int(name.removeprefix("secret:")): bytes.fromhex(value)
            for name, value in fields.items()
            if name.startswith("secret:")
        }

    async def claims_of(self, lane_id: LaneId, shopper_id: UUID) -> list[tuple[UUID, EntryId, int]]:
        """A shopper's live claims: reservation, journal entry, and ms from when on it may be told."""
        keys = keys_of(lane_id)
        async with unavailable_on_error():
            row = await self.store.client.hget(keys.shoppers, shopper_id.hex)
            reservations = [one for one in (row or "").rpartition(" ")[2].split(",") if one]
            if not reservations:
                return []
            rows = await self.store.client.hmget(keys.claims, reservations)
        found = []
        for reservation, claim in zip(reservations, rows, strict=True):
            if claim:
                generation, seq, _quantity, at_ms, *_ = claim.split(" ")
                found.append((UUID(reservation), EntryId(int(generation), int(seq)), int(at_ms)))
        return found

    async def entries(self, lane_id: LaneId, *, start: EntryId, count: int) -> list[JournalEntry]:
        """Journal entries from ``start``, inclusive."""
        async with unavailable_on_error():
            rows = await self.store.client.xrange(keys_of(lane_id).journal, min=str(start), count=count)
        return [read_entry(entry_id, fields) for entry_id, fields in rows]

    async def wait_for_entries(self, after: Mapping[LaneId, EntryId], *, block_ms: int) -> set[LaneId]:
        """Wait until some lane's journal goes beyond the given entry; which ones did, none when the time is up."""
        lanes = {keys_of(lane).journal: lane for lane in after}
        # Nothing applied yet: from before the genesis. "0-1" sorts below every entry of generation 1.
        streams = {
            key: str(after[lane]) if after[lane].seq >= 0 else f"{after[lane].generation - 1}-1"
            for key, lane in lanes.items()
        }
        return {lanes[key] for key, _ in await self.store.blocking_read(streams, block_ms=block_ms)}

    async def publish_applied(self, lane_id: LaneId, entry_id: EntryId) -> GateAnswer:
        """Tell shoppers' tickets how far the ledger has come; never backwards within a generation."""
        keys = keys_of(lane_id)
        return GateAnswer(
            await self.store.run("applied", (keys.applied, keys.lane), (entry_id.generation, entry_id.seq))
        )

    async def applied(self, lane_id: LaneId) -> EntryId | None:
        """The last entry committed to the ledger, as published."""
        async with unavailable_on_error():
            return entry_or_none(await self.store.client.get(keys_of(lane_id).applied) or "")

    async def series(self, lane_id: LaneId, *, since_s: int) -> list[tuple[int, dict[str, int]]]:
        """Outcomes in each second with traffic since ``since_s`` (seconds since the epoch), oldest first."""
        keys = keys_of(lane_id)
        since_ms = since_s * 1000
        async with unavailable_on_error(), self.store.client.pipeline(transaction=True) as pipe:
            pipe.xrange(keys.series, min=since_ms)
            # One flush from before: each second is a difference of two running sums.
            pipe.xrevrange(keys.series, max=f"({since_ms}", count=1)
            pipe.hgetall(keys.counts)
            flushes, before, current = await pipe.execute()
        return differences([fields for _, fields in (*before, *flushes)] + [current], since_s)

    async def directory(self) -> dict[UUID, LaneEntry]:
        """All items that have a lane."""
        async with unavailable_on_error():
            rows = await self.store.client.hgetall(DIRECTORY)
        found = {}
        for item, text in rows.items():
            fields = json.loads(text)
            item_id = UUID(item)
            found[item_id] = LaneEntry(item_id, UUID(fields["sale_id"]), fields["slug"], fields["sku"], fields["lanes"])
        return found

    async def enter(self, entry: LaneEntry) -> None:
        """Put an item into the directory, so that links and buys find its lane without PostgreSQL."""
        text = json.dumps({"sale_id": entry.sale_id.hex, "slug": entry.slug, "sku": entry.sku, "lanes": entry.lanes})
        async with unavailable_on_error():
            await self.store.client.hset(DIRECTORY, entry.item_id.hex, text)

    async def drop(self, entry: LaneEntry) -> None:
        """Forget an item: only after retention."""
        async with unavailable_on_error():
            await self.store.client.hdel(DIRECTORY, entry.item_id.hex)
            for lane in range(entry.lanes):
                keys = keys_of(LaneId(entry.item_id, lane))
                newest = int(await self.store.client.hget(keys.lane, "generation") or 1)
                aside = [keys.before(generation) for generation in range(2, newest + 1)]
                await self.store.client.unlink(*keys.all(), *aside)

    async def take_slots(self, names: Sequence[str], owner: str, *, ttl_ms: int) -> list[bool]:
        """Which of these ticks of the clock are the caller's: one ``SET NX`` each."""
        async with unavailable_on_error(), self.store.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.set(f"{SLOT_PREFIX}{name}", owner, nx=True, px=ttl_ms)
            return [bool(taken) for taken in await pipe.execute()]

    async def now_ms(self) -> int:
        """The gate's clock."""
        async with unavailable_on_error():
            seconds, micros = await self.store.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    @property
    def is_replicated(self) -> bool:
        """Whether another server may be put in the place of the one that answers."""
        return self.store.address.topology is not StoreTopology.STANDALONE

    @property
    def circuit(self) -> CircuitState:
        """Whether the store is asked at all."""
        return self.store.circuit

    async def look_again(self) -> None:
        """Find the server anew for plain commands: the one they reached has been replaced. Those under way fail."""
        await self.store.look_again()

    async def fitness(self) -> list[str]:
        """Why this store must not carry a sale; empty when it may."""
        return await faults_of(self.store)
