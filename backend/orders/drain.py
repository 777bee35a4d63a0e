"""The drain: journals into the ledger, a batch a transaction.

    gate ── XREAD BLOCK ──► journal entries ──► plan ──► one transaction ──► cursor ──► applied (tickets)

A batch locks the lane's cursor (another drain of that lane passes on), then the item. It reads the journal from
the cursor *inclusive* and requires that the entry there is the one that was applied, also when nothing is new: a
gate that lost its tail and wrote new entries over it is found by the digest. At every commit the equation
``ledger available − pending outbox quantity = left(cursor)`` is checked; any other value is drift and stops the sale.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.log import get_logger
from backend.core.metrics import DRAIN_BATCH_SECONDS, DRAIN_ENTRIES
from backend.gate import (
    EntryId,
    Gate,
    GateUnavailable,
    JournalBroken,
    JournalEntry,
    JournalKind,
    LaneId,
    LaneReading,
    verify_chain,
)
from backend.models import Database, Fault
from backend.orders import repository, repository_drain
from backend.orders.faults import latch, record_fault
from backend.orders.plan import ItemFacts, Unappliable, payment_ids, plan_batch, reservation_ids
from backend.orders.poison import Sieve, Sifted, is_poison, reason_of
from backend.orders.repository import Cursor
from backend.orders.repository_settlement import lock_late_payments

log = get_logger()

BATCH_MAX = 2_000
"""Entries a transaction: 17,600 orders/s were measured with 500, 22,400 with 2,000; more holds the row for longer."""
BLOCK_MS = 1_000
GATHER_S = 0.02
"""What follows the entry that ended the wait is waited for, so that a rush
comes in large batches. An order is later by this much, and nobody sees it (ticket pages ask again after 300 ms)."""
CHECK_EVERY_S = 1.0
"""How often an idle lane's cursor is held against the journal, and new lanes are looked for."""
BLOCKING_FAULTS = frozenset({Fault.REGRESSED, Fault.FORKED, Fault.POISON})
"""With these the journal cannot be trusted, or not be applied: nothing is until a person has dealt with it."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What one batch did."""

    cursor: EntryId | None = None
    applied: int = 0
    more: bool = False
    fault: Fault | None = None


class Drain:
    """Applies the journals of all lanes. Any number may run at once, in any number of processes."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate

    async def run(self, stopping: asyncio.Event, *, for_s: float = 30.0) -> int:
        """Drain until ``for_s`` seconds are over or ``stopping`` is set, between batches. Returns entries applied."""
        until = time.monotonic() + for_s
        total = 0
        while time.monotonic() < until and not stopping.is_set():
            async with self._database.transaction() as session:
                cursors = await repository_drain.open_lanes(session)
            total += await self.drain_lanes(list(cursors), cursors, stopping)
            if not cursors:
                await _pause(stopping, CHECK_EVERY_S)
                continue
            check_at = min(time.monotonic() + CHECK_EVERY_S, until)
            while (left_s := check_at - time.monotonic()) > 0 and not stopping.is_set():
                if not cursors:
                    await _pause(stopping, left_s)
                    break
                try:
                    news = await self._gate.wait_for_entries(cursors, block_ms=BLOCK_MS)
                except GateUnavailable:
                    await _pause(stopping, CHECK_EVERY_S)
                    break
                if news:
                    await _pause(stopping, GATHER_S)
                total += await self.drain_lanes(news, cursors, stopping)
        return total

    async def drain_lanes(
        self, lanes: Iterable[LaneId], cursors: dict[LaneId, EntryId], stopping: asyncio.Event
    ) -> int:
        """Apply everything these lanes have; one that fails does not hold up the others.

        ``cursors`` is brought up to date, so that the next wait starts behind what was applied. A lane whose gate did
        not answer is taken out: it has entries, so a wait for it would end at once, and its turn is the next look.
        """
        total = 0
        for lane_id in lanes:
            more = True
            while more and not stopping.is_set():
                try:
                    drained = await self._drain_or_pass(lane_id)
                    # Another drain has this lane, or a fault stops it: do not spin on its unread entries.
                    cursors[lane_id] = drained.cursor or await self._newest(lane_id, cursors[lane_id])
                except GateUnavailable as error:
                    log.warning("drain.gate_unavailable", item_id=str(lane_id.item_id), error=str(error))
                    cursors.pop(lane_id, None)
                    break
                total += drained.applied
                more = drained.more
        return total

    async def _drain_or_pass(self, lane_id: LaneId) -> Drained:
        try:
            return await self.drain_lane(lane_id)
        except DBAPIError as error:
            # Say, the item's row is held for longer than the lock time-out: this lane's turn comes again. A
            # database that is down altogether ends the run at its next turn.
            log.warning("drain.lane_failed", item_id=str(lane_id.item_id), error=str(error.orig)[:200])
            return Drained()

    async def _newest(self, lane_id: LaneId, cursor: EntryId) -> EntryId:
        reading = await self._gate.read(lane_id)
        return reading.last if reading.loaded and cursor < reading.last else cursor

    async def drain_lane(self, lane_id: LaneId) -> Drained:
        """One batch of one lane: read, decide, write, commit, publish. Raises ``GateUnavailable``."""
        began_at_s = time.monotonic()
        try:
            async with self._database.transaction() as session:
                drained, generation = await self._apply(session, lane_id)
        except (DBAPIError, Unappliable) as error:
            if not is_poison(error):
                raise
            drained, generation = await self._apply_around(lane_id)
        if drained.applied:
            DRAIN_BATCH_SECONDS.observe(time.monotonic() - began_at_s)
            DRAIN_ENTRIES.inc(drained.applied)
        if drained.fault is not None:
            await latch(self._gate, lane_id, drained.fault, generation=generation)
        if drained.cursor is not None and drained.cursor.seq >= 0:
            await self._gate.publish_applied(lane_id, drained.cursor)
        return drained

    async def _apply_around(self, lane_id: LaneId) -> tuple[Drained, int]:
        """The batch once more, by parts: what cannot be applied is put aside, or stops the sale."""
        try:
            async with self._database.transaction() as session:
                return await self._apply(session, lane_id, by_parts=True)
        except (DBAPIError, Unappliable) as error:
            if not is_poison(error):
                raise
            return await self._poisoned(lane_id, error)

    async def _poisoned(self, lane_id: LaneId, error: Exception) -> tuple[Drained, int]:
        """Nothing of the batch was committed: stop the sale and say what could not be applied."""
        async with self._database.transaction() as session:
            cursor = await repository.lock_cursor(session, lane_id, wait=True)
            assert cursor is not None, lane_id
            await record_fault(
                session,
                sale_id=cursor.sale_id,
                item_id=lane_id.item_id,
                fault=Fault.POISON,
                detail={"after": str(cursor.start), "error": reason_of(error)},
            )
        return Drained(fault=Fault.POISON), cursor.generation

    async def _apply(self, session: AsyncSession, lane_id: LaneId, *, by_parts: bool = False) -> tuple[Drained, int]:
        cursor = await repository.lock_cursor(session, lane_id)
        if cursor is None:
            return Drained(), 0
        locked = await repository.lock_item(session, lane_id.item_id)
        assert locked is not None, lane_id  # the cursor's foreign key
        facts, standing = locked
        if standing in BLOCKING_FAULTS:
            return Drained(), cursor.generation
        rows: list[JournalEntry] = []
        try:
            rows = await self._gate.entries(lane_id, start=cursor.start, count=BATCH_MAX + 1)
            entries = _continue(cursor, rows)
        except JournalBroken as error:
            broken = await self._what_is_broken(lane_id, cursor, rows)
            await record_fault(
                session,
                sale_id=cursor.sale_id,
                item_id=lane_id.item_id,
                fault=broken,
                detail={"error": str(error)},
            )
            return Drained(fault=broken), cursor.generation
        position = None if cursor.seq is None else cursor.start
        if not entries:
            return Drained(cursor=position), cursor.generation
        if not await self._gate.vouches(lane_id, entries[-1], safe=facts.acknowledged):
            # Read from a primary that has been replaced and does not know it (frozen, cut off), or lost since. What
            # would be applied from there, the elected one sells to others, and promises them.
            await self._gate.look_again()
            raise GateUnavailable("the journal that was read is not the one that is safe")

        if by_parts:
            sieve = Sieve(session, self._gate, lane_id, facts)
            sifted = await sieve.sift(entries, lambda part: self._write(session, lane_id, part))
        else:
            sifted = Sifted(len(entries), await _write_batch(session, lane_id, entries, facts))
        stopped_at = entries[sifted.done].entry_id if sifted.error else None
        entries = entries[: sifted.done]
        fault = sifted.fault
        if entries:
            position = entries[-1].entry_id
            await repository_drain.move_cursor(session, lane_id, entries[-1])
            fault = fault or await self._check_equation(session, lane_id, entries[-1])
        detail = {"entry": str(position), "left": entries[-1].left if entries else None}
        if stopped_at is not None and fault is None:
            fault, detail = Fault.POISON, {"entry": str(stopped_at), "error": sifted.error}
        if fault is not None:
            await record_fault(session, sale_id=cursor.sale_id, item_id=lane_id.item_id, fault=fault, detail=detail)
        more = len(rows) > BATCH_MAX and stopped_at is None
        return Drained(position, len(entries), more, fault), cursor.generation

    async def _what_is_broken(self, lane_id: LaneId, cursor: Cursor, rows: list[JournalEntry]) -> Fault:
        """Lost history, or another one. Raises ``GateUnavailable`` when neither is: the journal was read elsewhere."""
        at_cursor = None if cursor.seq is None else cursor.start
        reading = await self._gate.read(lane_id, cursor=at_cursor, sure=True)
        was_there = bool(rows) and (rows[0].entry_id, rows[0].digest) == (cursor.start, cursor.digest)
        if at_cursor is not None and not was_there and reading.cursor_digest == cursor.digest:
            await self._gate.look_again()
            raise GateUnavailable("the journal was read from a server that has been replaced")
        return Fault.FORKED if _reaches(reading, cursor) else Fault.REGRESSED

    async def _write(self, session: AsyncSession, lane_id: LaneId, entries: Sequence[JournalEntry]) -> Fault | None:
        """A part of a batch: the parts before it have moved the item's counters."""
        locked = await repository.lock_item(session, lane_id.item_id)
        assert locked is not None, lane_id
        return await _write_batch(session, lane_id, entries, locked[0])

    async def _check_equation(self, session: AsyncSession, lane_id: LaneId, last: JournalEntry) -> Fault | None:
        expected = await repository_drain.gate_should_have(session, lane_id)
        if expected == last.left:
            return None
        log.error("drain.drift", item_id=str(lane_id.item_id), expected=expected, left=last.left)
        return Fault.DRIFT


async def _write_batch(
    session: AsyncSession, lane_id: LaneId, entries: Sequence[JournalEntry], facts: ItemFacts
) -> Fault | None:
    """Decide and write entries; the fault that they reveal, if any. Locks go on in their order: late payments last."""
    known = await repository_drain.known_reservations(session, reservation_ids(entries))
    payments = await lock_late_payments(session, payment_ids(entries))
    plan = plan_batch(entries, facts, known, payments)
    await repository_drain.write_plan(session, plan, facts, lane_id)
    return plan.fault


def _reaches(reading: LaneReading, cursor: Cursor) -> bool:
    """Whether the gate's history is at least as long as what was applied: then it was replaced, not cut."""
    return reading.loaded and cursor.start <= reading.last


def _continue(cursor: Cursor, rows: list[JournalEntry]) -> list[JournalEntry]:
    """The entries after the cursor, at most ``BATCH_MAX``, verified against what was applied.

    Raises ``JournalBroken``. An unadopted cursor takes only the genesis that its own preload wrote.
    """
    if cursor.seq is None:
        if not rows:
            return []
        genesis = rows[0]
        if (
            genesis.entry_id != cursor.start
            or genesis.kind is not JournalKind.LOAD
            or genesis.cause != cursor.nonce
            or genesis.left != cursor.loaded_units
            or genesis.digest != genesis.expected_digest("")
        ):
            raise JournalBroken(f"the journal does not start with the load of generation {cursor.generation}")
        entries = rows[:BATCH_MAX]
    else:
        if not rows or rows[0].entry_id != cursor.start:
            raise JournalBroken(f"entry {cursor.start}, applied before, is not there")
        if rows[0].digest != cursor.digest:
            raise JournalBroken(f"entry {cursor.start} is not the one that was applied")
        entries = rows[1 : BATCH_MAX + 1]
    verify_chain(rows[0], entries[1:] if cursor.seq is None else entries)
    return entries


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass
