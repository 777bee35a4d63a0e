"""The audit that the clock runs: every live sale, all the time, without ever crying wolf.

Every tick takes each sale's balance. Drift is confirmed by a second reading before a sale is stopped: the equation
needs no second look, but stopping a sale at its peak is worth a tenth of a second of doubt. Every few seconds all
rules are asked as well, and when a sale is over and nothing is open any more, a clean run closes its book.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from backend.core.log import get_logger
from backend.gate import Gate, GateUnavailable
from backend.models import Database, Fault, ReconciliationRun, Verdict
from backend.orders.faults import latch, record_fault
from backend.reconciliation import repository
from backend.reconciliation.balance import BROKEN, Balance, ItemBalance
from backend.reconciliation.service import TRIGGER_CLOCK, Examination, balance, examine_and_store

log = get_logger()

RUN_EVERY = timedelta(seconds=5)
RUN_SHARE = 20
"""The rules may take a twentieth of the time: of a sale whose run takes 2 s there is one every 40 s."""
CONFIRM_AFTER_S = 0.1
CLEAN_KEPT, FINDINGS_KEPT = 100, 1_000
"""Runs by the clock that are kept of a sale; those by people are kept for good."""


@dataclass(slots=True)
class AuditTick:
    """What one tick did."""

    sales: int = 0
    runs: int = 0
    faults: int = 0
    reconciled: int = 0


async def audit_tick(database: Database, gate: Gate) -> AuditTick:
    """Audit every sale that has stock in the gate or is over. Two ticks at once are harmless.

    A gate that does not answer ends the tick: what cannot be read is no drift, and the next sale's lanes are in the
    same store.
    """
    tick = AuditTick()
    async with database.transaction() as session:
        sales = await repository.sales_to_audit(session)
    for sale_id in sales:
        try:
            await _audit(database, gate, sale_id, tick)
        except GateUnavailable as error:
            log.warning("audit.gate_unavailable", sale_id=str(sale_id), error=str(error))
            break
        tick.sales += 1
    return tick


async def _audit(database: Database, gate: Gate, sale_id: UUID, tick: AuditTick) -> None:
    first = await balance(database, gate, sale_id)
    if suspects := _suspects(first):
        await asyncio.sleep(CONFIRM_AFTER_S)
        second = await balance(database, gate, sale_id, sure=True)
        confirmed = [item for item in _suspects(second) if item.ledger.item_id in _ids(suspects)]
        if confirmed:
            tick.faults += await _stop(database, gate, second, confirmed)
    async with database.transaction() as session:
        last = await repository.last_run(session, sale_id, TRIGGER_CLOCK)
        if last is not None and not await repository.is_due(session, last, _pause(last)):
            return
    stored, seen = await examine_and_store(database, gate, sale_id, trigger=TRIGGER_CLOCK)
    tick.runs += 1
    tick.reconciled += await _conclude(database, stored, seen, last)


def _suspects(seen: Balance) -> list[ItemBalance]:
    """Items whose equation does not hold or whose journal is not the one that was applied."""
    return [item for item in seen.items if item.drift or any(lane.state in BROKEN for lane in item.lanes)]


def _ids(items: list[ItemBalance]) -> set[UUID]:
    return {item.ledger.item_id for item in items}


def _fault_of(item: ItemBalance) -> Fault:
    """Lost history explains any drift, so it is the fault to name."""
    broken = [BROKEN[lane.state] for lane in item.lanes if lane.state in BROKEN]
    return broken[0] if broken else Fault.DRIFT


async def _stop(database: Database, gate: Gate, seen: Balance, items: list[ItemBalance]) -> int:
    """Record the fault with an alarm, and latch every lane of the sale, the sound ones too: one sale, one verdict."""
    worst = items[0]
    fault = _fault_of(worst)
    async with database.transaction() as session:
        new = await record_fault(
            session,
            sale_id=seen.snapshot.sale_id,
            item_id=worst.ledger.item_id,
            fault=fault,
            detail={
                "found_by": "audit",
                "sku": worst.ledger.sku,
                "drift": worst.drift,
                "expected": worst.expected,
                "gate_available": worst.gate_available,
                "ledger_available": worst.ledger.available,
                "pending_units": worst.ledger.pending_units,
            },
        )
    for lane in seen.lanes:
        if lane.reading.loaded and not lane.reading.fault:
            await latch(gate, lane.cursor.lane_id, fault, generation=lane.reading.generation)
    return int(new)


def _pause(last: ReconciliationRun) -> timedelta:
    return max(RUN_EVERY, (last.finished_at - last.started_at) * RUN_SHARE)


async def _conclude(
    database: Database, stored: ReconciliationRun, seen: Examination, last: ReconciliationRun | None
) -> int:
    """Alarm at the first run with findings, close the book after the last clean one, keep the table small."""
    sale_id = stored.sale_id
    ledger = seen.balance.snapshot
    closed = False
    async with database.transaction() as session:
        if not seen.clean and (last is None or last.verdict is Verdict.CLEAN):
            rules = sorted({str(one["rule"]) for one in stored.findings})
            detail = {"run_id": str(stored.id), "rules": rules}
            repository.add_event(session, sale_id, "reconciliation.findings", alarm=True, detail=detail)
        if seen.clean and ledger.over and seen.terminal and seen.balance.drained:
            closed = await repository.mark_reconciled(session, sale_id)
            if closed:
                detail = {"run_id": str(stored.id)}
                repository.add_event(session, sale_id, "sale.reconciled", alarm=False, detail=detail)
        await repository.prune_runs(session, sale_id, TRIGGER_CLOCK, clean=CLEAN_KEPT, others=FINDINGS_KEPT)
    if closed:
        log.info("sale.reconciled", sale_id=str(sale_id), run_id=str(stored.id))
    return int(closed)
