"""Stopping a sale that the platform itself no longer trusts, and judging whether it has to be.

A fault is recorded with the sale, and latched in each of its lanes: the latch is the gate's own, so no config tick
undoes it. The first fault stays, as the later ones follow from it.
"""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.log import get_logger
from backend.gate import EntryId, Gate, GateUnavailable, LaneId, LaneReading
from backend.models import Fault, JournalCursor, SaleEvent
from backend.orders import repository

log = get_logger()

REBUILDABLE = frozenset({Fault.REGRESSED, Fault.FORKED, Fault.REBUILD})
"""What a rebuild of the gate from the ledger mends. The others are no fault of the gate's history: a person has to
look, and may ask for a rebuild."""


async def record_fault(
    session: AsyncSession, *, sale_id: UUID, item_id: UUID | None, fault: Fault, detail: dict[str, Any]
) -> bool:
    """Stop the sale in the ledger and raise an alarm; False when it had been stopped before."""
    if not await repository.set_fault(session, sale_id, fault):
        return False
    session.add(SaleEvent(sale_id=sale_id, item_id=item_id, kind=f"fault.{fault.value}", alarm=True, detail=detail))
    log.error("sale.fault", sale_id=str(sale_id), item_id=str(item_id), fault=fault.value, **detail)
    return True


async def latch(gate: Gate, lane_id: LaneId, fault: Fault, *, generation: int) -> None:
    """Stop the lane at once; the config tick does it again if the gate cannot be reached now."""
    try:
        await gate.latch(lane_id, fault.value, generation=generation)
    except GateUnavailable:
        log.warning("gate.not_latched", item_id=str(lane_id.item_id), fault=fault.value)


def applied_entry(cursor: JournalCursor) -> EntryId | None:
    """The entry that a lane must still have, with the cursor's digest; None before its load was adopted."""
    return None if cursor.seq is None else EntryId(cursor.generation, cursor.seq)


def history_fault(cursor: JournalCursor, reading: LaneReading) -> Fault | None:
    """What a lane's history lacks, held against the cursor: the one that was read *before* the lane, at
    ``applied_entry``. A journal only grows, so no load makes this raise a false alarm; a rebuild between the two
    readings does, which the caller rules out."""
    if not reading.loaded:
        # The first load may still be under way, and is repeated by the preload; no other lane is ever loaded again.
        return Fault.REGRESSED if cursor.seq is not None or cursor.generation > 1 else None
    if reading.generation < cursor.generation:
        return Fault.REGRESSED
    if (reading.generation, reading.nonce) != (cursor.generation, cursor.nonce):
        return Fault.FORKED
    applied = applied_entry(cursor)
    if applied is None or reading.cursor_digest == cursor.digest:
        return None
    return Fault.FORKED if applied <= reading.last else Fault.REGRESSED


def latched_fault(reading: LaneReading) -> Fault | None:
    """What the lane is stopped for; ``regressed`` also by itself, when a caller knew more of its history than it."""
    return Fault(reading.fault) if reading.fault in set(Fault) else None
