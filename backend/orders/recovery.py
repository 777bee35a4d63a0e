"""Recovery: a gate that has lost its history, or has another one, is rebuilt from the ledger.

    found ─► latched ─► one transaction: survivors in, old promises void, generation + 1 ─► gate cleared, refilled,
    reloaded ─► every lane whole ─► the sale goes on, by its policy or by a person

PostgreSQL is the authority: the gate gets what the ledger says, and nothing is taken from a cache. Before a lane is
cleared the ledger takes in what only the lane still knew: attempts that were accepted and not drained. Any number of
recoveries may run at once and die anywhere. A lane's cursor is locked while its generation changes; everything after
that names the new generation, is repeated without effect, and is refused when a later one has taken its place.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.log import get_logger
from backend.gate import (
    REBUILT,
    REFILL,
    Claim,
    EntryId,
    Gate,
    GateAnswer,
    GateUnavailable,
    LaneEntry,
    LaneId,
    LaneReading,
    Rebuild,
    rebuild_under_way,
    surviving_entries,
)
from backend.models import Database, Fault, JournalCursor, RecoveryPolicy, SaleItem
from backend.orders import repository, repository_drain, repository_recovery
from backend.orders.faults import REBUILDABLE, applied_entry, history_fault, latch, latched_fault, record_fault
from backend.orders.plan import ItemFacts
from backend.orders.poison import reference_of
from backend.orders.repository_settlement import lock_late_payments
from backend.orders.survivors import Candidates, Standing, candidates, plan_survivors
from backend.sales import SaleLanes, configure_lanes, lane_config, lanes_of_sale, open_lanes
from backend.settings import Settings

log = get_logger()

PAGE = 2_000
"""Journal entries read, and brought in, at a time; as many as a drain's batch."""
TRIES = 3
"""A lane that goes on while its journal is read (a release on its way) is read again at once, this often."""

Say = Callable[..., None]
"""Told each step: a static name and figures. The log, or a person's screen."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """A generation that the ledger is committed to and the gate has to be filled for."""

    generation: int
    nonce: str
    units: int
    held: int
    newest: EntryId | None
    """The lane's last entry when its journal had been read; None for a lane without a state."""


@dataclass(slots=True)
class _Tally:
    """What was found in a journal that is about to be closed."""

    survivors: int = 0
    reductions: int = 0
    unusable: int = 0


class ClaimsApart(Exception):
    """The reservations of an item do not hold the units that its counters say: its lane stays closed."""

    def __init__(self, item_id: UUID, generation: int) -> None:
        super().__init__(f"item {item_id}, generation {generation}")


class Recovery:
    """Finds sales whose gate has lost history, and recovers them."""

    def __init__(self, database: Database, gate: Gate, settings: Settings, *, say: Say = log.info) -> None:
        self._database = database
        self._gate = gate
        self._settings = settings
        self._say = say

    async def tick(self) -> None:
        """Look at every lane that has stock; stop what has lost history, and recover what is stopped for that.

        One sale's failure does not keep the others waiting; the next tick tries it again.
        """
        async with self._database.transaction() as session:
            every = await open_lanes(session)
        for lanes in every:
            sale = lanes.sale
            try:
                stopped = sale.fault in REBUILDABLE if sale.fault else await self._look(lanes)
                if stopped:
                    await self.recover(sale.id)
            except GateUnavailable as error:
                log.warning("recovery.gate_unavailable", sale_id=str(sale.id), error=str(error))
                if not await self._gate_answers():
                    return  # each of the other sales would wait for the same time-out
            except ClaimsApart as error:
                log.error("recovery.claims_apart", sale_id=str(sale.id), error=str(error))
            except Exception:
                log.exception("recovery.failed", sale_id=str(sale.id))

    async def _gate_answers(self) -> bool:
        try:
            await self._gate.now_ms()
        except GateUnavailable:
            return False
        return True

    async def _look(self, lanes: SaleLanes) -> bool:
        """Whether the sale had to be stopped for something that a rebuild mends. Raises ``GateUnavailable``."""
        for item, cursor, lane_id in _loaded(lanes):
            reading = await self._gate.read(lane_id, cursor=applied_entry(cursor), sure=True)
            fault = history_fault(cursor, reading)
            if fault is None and reading.fault == REBUILT:
                await self._let_go(lanes.sale.id)
            elif fault is None and reading.config_version == lanes.sale.config_version:
                # Of another version: a resume has just committed, and is about to take the latch off.
                fault = latched_fault(reading)
            if fault is None:
                continue
            async with self._database.transaction() as session:
                if await repository_recovery.cursor_of(session, lane_id) != (cursor.generation, cursor.nonce):
                    continue  # rebuilt between the two readings
                detail = {"found_by": "tick", "sku": item.sku, "cursor": str(applied_entry(cursor))}
                await record_fault(
                    session,
                    sale_id=lanes.sale.id,
                    item_id=item.id,
                    fault=fault,
                    detail={**detail, "newest": str(reading.last) if reading.loaded else "none"},
                )
            if reading.loaded:
                await latch(self._gate, lane_id, fault, generation=reading.generation)
            return fault in REBUILDABLE
        return False

    async def _let_go(self, sale_id: UUID) -> None:
        """A recovery was finished, and its runner died before it had told the gate."""
        async with self._database.transaction() as session:
            lanes = await lanes_of_sale(session, sale_id)
        if lanes.sale.fault is None:
            await configure_lanes(self._database, self._gate, self._settings, sale_id, clear_fault=True)

    async def recover(self, sale_id: UUID) -> bool:
        """Rebuild every lane that needs it; True when all are whole. Raises ``GateUnavailable``; nothing is lost by
        that, and whoever comes next goes on from there."""
        async with self._database.transaction() as session:
            lanes = await lanes_of_sale(session, sale_id)
        fault = lanes.sale.fault
        if fault not in REBUILDABLE:
            return True
        for item, _, lane_id in _loaded(lanes):
            for _ in range(TRIES):
                if await self._rebuild(lanes, item, lane_id, fault):
                    break
            else:
                return False
        return await self._complete(sale_id)

    async def _rebuild(self, lanes: SaleLanes, item: SaleItem, lane_id: LaneId, fault: Fault) -> bool:
        """Rebuild one lane, unless it is whole already; False to try again."""
        begun = await self._close(lane_id, fault)
        if begun is None:
            return True
        rebuild = Rebuild(self._gate, lane_id, generation=begun.generation, nonce=begun.nonce)
        answer = await rebuild.begin(begun.newest)
        if answer not in (GateAnswer.DONE, GateAnswer.ALREADY):
            return False  # the lane went on, or another recovery was faster
        self._say("recovery.gate_cleared", sku=item.sku, generation=begun.generation)
        # An emptied store has lost its directory too.
        await self._gate.enter(LaneEntry(item.id, lanes.sale.id, lanes.sale.slug, item.sku))
        claims = await self._refill(rebuild, lane_id)
        if claims is None:
            return False
        self._say("recovery.gate_refilled", sku=item.sku, generation=begun.generation, claims=claims)
        answer = await rebuild.finish(
            units=begun.units, held=begun.held, config=lane_config(lanes.sale, item, lanes.secrets, self._settings)
        )
        if answer is GateAnswer.CONFLICT:
            raise ClaimsApart(item.id, begun.generation)
        if answer not in (GateAnswer.DONE, GateAnswer.ALREADY):
            return False
        self._say("recovery.lane_rebuilt", sku=item.sku, generation=begun.generation, available=begun.units)
        return True

    async def _close(self, lane_id: LaneId, fault: Fault) -> _Begun | None:
        """End the lane's generation in the ledger and begin the next; None when the lane needs no rebuild."""
        async with self._database.transaction() as session:
            row, before = await self._read(session, lane_id)
            if not await self._needs_rebuild(session, row, before, lane_id):
                return None
        if before.loaded:
            # Nothing new is accepted while the journal is read.
            await self._gate.latch(lane_id, fault.value, generation=before.generation)
        async with self._database.transaction() as session:
            cursor = await repository.lock_cursor(session, lane_id, wait=True)
            locked = await repository.lock_item(session, lane_id.item_id)
            assert cursor is not None, lane_id
            assert locked is not None, lane_id
            under_way = await rebuild_under_way(self._gate, lane_id)
            done = await repository_recovery.rebuilt_since_stopped(session, lane_id, cursor.sale_id)
            if done and under_way == (cursor.generation, cursor.nonce):
                return await self._joined(session, lane_id)
            row, reading = await self._read(session, lane_id)
            if not await self._needs_rebuild(session, row, reading, lane_id):
                return None
            known = applied_entry(row)
            intact = known is not None and history_fault(row, reading) is None
            tally = _Tally()
            # A ledger that was restored to an earlier moment may lack what earlier rebuilds had taken in.
            for aside in range(cursor.generation + 1, reading.generation + 1):
                await self._bring_in(session, lane_id, tally, after=None, before=aside)
            last = await self._bring_in(session, lane_id, tally, after=known if intact else None)
            if self._gate.is_replicated and reading.loaded and last != reading.last:
                # Read from a primary that has been replaced: what it has not got would be cleared, and end as lost.
                await self._gate.look_again()
                raise GateUnavailable(f"the journal was read up to {last}, and the lane is at {reading.last}")
            superseded = await repository_recovery.supersede_outbox(session, lane_id)
            await repository_recovery.close_generation(
                session, cursor, fault=fault, survivors=tally.survivors, superseded=superseded
            )
            generation = max(cursor.generation, reading.generation, under_way[0] if under_way else 0) + 1
            await repository_recovery.begin_generation(
                session, lane_id, generation=generation, nonce=secrets.token_hex(16)
            )
            begun = await self._joined(session, lane_id, newest=reading.last if reading.loaded else None)
        self._say(
            "recovery.generation_begun",
            item_id=str(lane_id.item_id),
            generation=generation,
            survivors=tally.survivors,
            reductions=tally.reductions,
            unusable=tally.unusable,
            superseded=superseded,
        )
        return begun

    async def _read(self, session: AsyncSession, lane_id: LaneId) -> tuple[JournalCursor, LaneReading]:
        row = await repository_recovery.cursor_row(session, lane_id)
        return row, await self._gate.read(lane_id, cursor=applied_entry(row), sure=True)

    async def _joined(self, session: AsyncSession, lane_id: LaneId, newest: EntryId | None = None) -> _Begun:
        row = await repository_recovery.cursor_row(session, lane_id)
        return _Begun(row.generation, row.nonce, row.loaded_units, row.loaded_held, newest)

    async def _needs_rebuild(
        self, session: AsyncSession, cursor: JournalCursor, reading: LaneReading, lane_id: LaneId
    ) -> bool:
        """Its history is not the one applied, the gate itself has found something lost, or the sale was stopped for
        this lane and it has not been rebuilt since."""
        if not reading.loaded or history_fault(cursor, reading) or latched_fault(reading) is Fault.REGRESSED:
            return True
        return not await repository_recovery.rebuilt_since_stopped(session, lane_id, cursor.sale_id)

    async def _bring_in(
        self, session: AsyncSession, lane_id: LaneId, tally: _Tally, *, after: EntryId | None, before: int | None = None
    ) -> EntryId | None:
        """Take what only the gate knows into the ledger: everything above ``after``, which the ledger has applied.

        Returns the journal's last entry.
        """
        while True:
            page = await surviving_entries(self._gate, lane_id, after=after, count=PAGE, before=before)
            if page.last is None:
                return after
            after = page.last
            found = candidates(page.entries)
            tally.unusable += page.unreadable + found.unusable
            locked = await repository.lock_item(session, lane_id.item_id)
            assert locked is not None, lane_id
            facts = locked[0]
            plan = plan_survivors(found, facts, await self._standing(session, lane_id, facts, found))
            await repository_drain.write_plan(session, plan, facts, lane_id, recovered=True)
            tally.survivors += len(plan.placed) + len(plan.retaken)
            tally.reductions += len(plan.reductions)

    async def _standing(self, session: AsyncSession, lane_id: LaneId, facts: ItemFacts, found: Candidates) -> Standing:
        ids = [one.reservation_id for one in found.attempts]
        commands = [one.command_id for one in found.reductions]
        by_reference = {reference_of(lane_id, one.entry.entry_id): one.reservation_id for one in found.attempts}
        by_reference |= {reference_of(lane_id, one.entry.entry_id): one.command_id for one in found.reductions}
        aside = await repository_drain.put_aside(session, list(by_reference))
        known = set(await repository_drain.known_reservations(session, ids))
        known |= await repository_recovery.booked_commands(session, lane_id.item_id, commands)
        known |= {by_reference[one] for one in aside}
        new = [one for one in found.attempts if one.reservation_id not in known]
        limit, live = await repository_recovery.claim_units(session, lane_id.item_id, [one.shopper_id for one in new])
        payments = await lock_late_payments(session, [one.reservation_id for one in new if one.is_late_payment])
        return Standing(facts.available, limit, frozenset(known), live, payments)

    async def _refill(self, rebuild: Rebuild, lane_id: LaneId) -> int | None:
        """Write all claims and causes; how many claims, None when another rebuild took this one's place."""
        sent = 0
        chunk: list[Claim] = []
        async with self._database.transaction() as session:
            causes = list((await repository_recovery.reductions(session, lane_id)).items())
            for at in range(0, len(causes), REFILL):
                if await rebuild.refill([], dict(causes[at : at + REFILL])) is GateAnswer.STALE_GENERATION:
                    return None
            async for page in repository_recovery.claims(session, lane_id):
                for claim in page:
                    if len(chunk) >= REFILL and not _belong_together(chunk[-1], claim):
                        if await rebuild.refill(chunk) is GateAnswer.STALE_GENERATION:
                            return None
                        sent += len(chunk)
                        chunk = []
                    chunk.append(claim)
        if chunk and await rebuild.refill(chunk) is GateAnswer.STALE_GENERATION:
            return None
        return sent + len(chunk)

    async def _complete(self, sale_id: UUID) -> bool:
        """When every lane is whole: say so once, and let the sale go on if that is its policy."""
        async with self._database.transaction() as session:
            lanes = await lanes_of_sale(session, sale_id)
        for _, cursor, lane_id in _loaded(lanes):
            reading = await self._gate.read(lane_id, cursor=applied_entry(cursor), sure=True)
            if not reading.loaded or history_fault(cursor, reading) or latched_fault(reading) is Fault.REGRESSED:
                return False
        automatic = lanes.sale.recovery is RecoveryPolicy.AUTOMATIC
        async with self._database.transaction() as session:
            fault = await repository_recovery.standing_fault(session, sale_id)
            if fault not in REBUILDABLE:
                return True
            for _, cursor, lane_id in _loaded(lanes):
                if await repository_recovery.cursor_of(session, lane_id) != (cursor.generation, cursor.nonce):
                    return False  # another recovery has begun again
            figures = await repository_recovery.unreported(session, sale_id)
            if figures is not None:
                detail: dict[str, Any] = {**figures.as_dict(), "fault": fault.value, "resumed": automatic}
                await repository_recovery.record_recovered(session, sale_id, detail)
            if automatic:
                await repository_recovery.clear_fault(session, sale_id)
        if figures is not None:
            self._say("sale.recovered", sale_id=str(sale_id), **detail)
        if automatic:
            await configure_lanes(self._database, self._gate, self._settings, sale_id, clear_fault=True)
        return True


def _loaded(lanes: SaleLanes) -> list[tuple[SaleItem, JournalCursor, LaneId]]:
    """The items that have a lane, in the order in which items are locked."""
    found = [(item, lanes.cursors[item.id]) for item in lanes.items if item.id in lanes.cursors]
    return [(item, cursor, LaneId(item.id, cursor.lane)) for item, cursor in sorted(found, key=lambda one: one[0].id)]


def _belong_together(one: Claim, following: Claim) -> bool:
    """Live claims of one shopper, of which her row in the gate is made."""
    return following.live and one.live and one.shopper_id == following.shopper_id
