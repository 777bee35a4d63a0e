"""What the clock asks for: due transitions, and the ledger's wishes told to every lane again.

Both may run twice at once and be cut off anywhere: what they do is either guarded by a row's lock or idempotent in
the gate.
"""

from dataclasses import dataclass
from uuid import UUID

from backend.core.log import get_logger
from backend.gate import REBUILT, Gate, GateAnswer, LaneId, LaneReading
from backend.models import Database, Fault, JournalCursor, Sale, SaleItem
from backend.sales import repository
from backend.sales.lanes import SaleLanes, lane_config, load_lanes, preload, read_lanes
from backend.settings import Settings

log = get_logger()


@dataclass(frozen=True, slots=True)
class Transitions:
    """What came due in one tick."""

    preloaded: tuple[UUID, ...] = ()
    opened: tuple[UUID, ...] = ()


async def run_due_transitions(database: Database, gate: Gate, settings: Settings) -> Transitions:
    """Preload what is due (with its first link secret), repeat loads that failed, note openings.

    One sale's failure does not keep the others waiting; the next tick tries it again.
    """
    async with database.transaction() as session:
        due = await repository.due_for_preload(session)
        waiting = await repository.waiting_for_load(session)
    preloaded = []
    for sale_id in dict.fromkeys((*due, *waiting)):
        try:
            load = preload if sale_id in due else load_lanes
            troubles = await load(database, gate, settings, sale_id)
        except Exception:
            log.exception("sale.preload_failed", sale_id=sale_id)
            continue
        for trouble in troubles:
            log.warning("lane.unarmed", sale_id=sale_id, sku=trouble.sku, detail=trouble.detail)
        if sale_id in due and not troubles:
            preloaded.append(sale_id)
    async with database.transaction() as session:
        opened = await repository.due_for_opening(session)
        for sale_id in opened:
            await repository.insert_event(session, sale_id, "sale.opened")
    return Transitions(tuple(preloaded), tuple(opened))


async def apply_configs(database: Database, gate: Gate, settings: Settings) -> None:
    """Tell every lane of an unreconciled sale what the ledger wants, so that a change lost with a failover
    returns. Raises ``GateUnavailable``."""
    async with database.transaction() as session:
        every = await read_lanes(session, await repository.unreconciled(session))
    if not every:
        return
    for lanes in every:
        for item in lanes.items:
            cursor = lanes.cursors.get(item.id)
            if cursor is not None:
                await _apply(database, gate, settings, lanes, item, cursor)


async def _apply(
    database: Database,
    gate: Gate,
    settings: Settings,
    lanes: SaleLanes,
    item: SaleItem,
    cursor: JournalCursor,
) -> None:
    sale, lane_id = lanes.sale, LaneId(item.id, cursor.lane)
    before = await gate.read(lane_id)
    config = lane_config(sale, item, lanes.secrets, settings)
    answer = await gate.configure(lane_id, config, generation=cursor.generation)
    if answer not in (GateAnswer.DONE, GateAnswer.ALREADY):
        # NOT_LOADED and STALE_GENERATION are the drain's and the relay's to judge: they know the journal.
        log.warning("lane.not_configured", sale_id=sale.id, item_id=item.id, answer=answer)
        return
    if sale.fault is not None:
        await gate.latch(lane_id, sale.fault.value, generation=cursor.generation)
    elif before.fault not in ("", REBUILT) and before.config_version == sale.config_version:
        # Only when the lane already had this configuration: otherwise a resume has just committed and is
        # about to clear the latch.
        await _adopt_fault(database, sale, before)


async def _adopt_fault(database: Database, sale: Sale, reading: LaneReading) -> None:
    """The gate stopped a lane by itself: the ledger and the operators must know."""
    fault = Fault(reading.fault) if reading.fault in set(Fault) else Fault.REGRESSED
    await _stop(database, sale, fault, {"found_by": "gate", "seq": reading.seq}, item_id=reading.lane_id.item_id)


async def _stop(
    database: Database, sale: Sale, fault: Fault, detail: dict[str, object], *, item_id: UUID | None = None
) -> None:
    async with database.transaction() as session:
        if await repository.set_fault(session, sale.id, fault):
            await repository.insert_event(
                session, sale.id, f"fault.{fault.value}", detail=detail, item_id=item_id, alarm=True
            )
            log.error("sale.fault", sale_id=sale.id, fault=fault.value, **detail)
