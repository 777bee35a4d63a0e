"""Whether the clocks agree. Redis TIME opens and closes sales, the database's clock ends holds, this host's dates logs.

A sale that is open or about to open is stopped when the first two disagree: one of them is wrong, nobody here can know
which, and what the wrong one does (an early opening, holds that end before their time) cannot be taken back. This
host decides nothing, so a host that is off is only reported.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from backend.core.log import get_logger
from backend.gate import Gate, LaneId
from backend.models import Database, Fault
from backend.sales import repository
from backend.sales.lanes import SaleLanes, read_lanes
from backend.sales.preflight import CLOCKS_WITHIN, clock_skew
from backend.sales.status import SaleStatus, status

log = get_logger()

READ_AGAIN_S = 0.1
HOST_COMPLAINT_EVERY_S = 60.0

_STOPPED = frozenset({SaleStatus.SCHEDULED, SaleStatus.LIVE, SaleStatus.PAUSED})


async def read_skew(database: Database, gate: Gate) -> tuple[timedelta, datetime]:
    """By how much the gate's clock is ahead of the database's, and the latter. Raises ``GateUnavailable``.

    One reading can be late by a pause of this process, or by a queue before a server: of two, the smaller counts.
    """
    skews = []
    for _ in range(2):
        async with database.transaction() as session:
            now = await repository.database_now(session)
        skews.append(clock_skew(await gate.now_ms(), now))
        if abs(skews[-1]) <= CLOCKS_WITHIN:
            break
        await asyncio.sleep(READ_AGAIN_S)
    return min(skews, key=abs), now


async def clocks_agree(database: Database, gate: Gate) -> bool:
    """Whether what the database's clock says is due may be done. Raises ``GateUnavailable``."""
    skew, _ = await read_skew(database, gate)
    return abs(skew) <= CLOCKS_WITHIN


class ClockWatch:
    """The check of every second. One a process: it remembers when it last complained of its own host."""

    def __init__(self) -> None:
        self._complained_s = float("-inf")

    async def check(self, database: Database, gate: Gate) -> None:
        """Stop what must not go on by clocks that disagree. Raises ``GateUnavailable``."""
        async with database.transaction() as session:
            every = await read_lanes(session, await repository.unreconciled(session))
        if not every:
            return
        skew, now = await read_skew(database, gate)
        if abs(skew) <= CLOCKS_WITHIN:
            self._look_at_the_host(now)
            return
        for lanes in every:
            # By either clock: who trusts the one that is wrong may take a sale at its peak for ended.
            if {status(lanes.sale, now), status(lanes.sale, now + skew)} & _STOPPED:
                await _stop(database, gate, lanes, skew)

    def _look_at_the_host(self, now: datetime) -> None:
        ahead = datetime.now(UTC) - now
        if abs(ahead) <= CLOCKS_WITHIN or time.monotonic() - self._complained_s < HOST_COMPLAINT_EVERY_S:
            return
        self._complained_s = time.monotonic()
        log.error("clock.host_skewed", ahead_s=round(ahead.total_seconds(), 3))


async def _stop(database: Database, gate: Gate, lanes: SaleLanes, skew: timedelta) -> None:
    sale = lanes.sale
    async with database.transaction() as session:
        if not await repository.set_fault(session, sale.id, Fault.CLOCK):
            return
        detail = {"gate_ahead_s": round(skew.total_seconds(), 3)}
        await repository.insert_event(session, sale.id, f"fault.{Fault.CLOCK.value}", detail=detail, alarm=True)
    log.error("sale.fault", sale_id=str(sale.id), fault=Fault.CLOCK.value, **detail)
    for cursor in lanes.cursors.values():
        lane_id = LaneId(cursor.item_id, cursor.lane)
        await gate.latch(lane_id, Fault.CLOCK.value, generation=cursor.generation)
