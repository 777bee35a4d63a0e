"""Stopping a sale that the platform itself no longer trusts.

A fault is recorded with the sale, and latched in each of its lanes: the latch is the gate's own, so no config tick
undoes it. The first fault stays, as the later ones follow from it.
"""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.log import get_logger
from backend.gate import Gate, GateUnavailable, LaneId
from backend.models import Fault, SaleEvent
from backend.orders import repository

log = get_logger()


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
