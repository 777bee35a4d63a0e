"""One look at everything that is open, in the ledger and in the gate. Either may be away: the other is still told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from backend.gate import EntryId, Gate, GateUnavailable, LaneId, LaneReading
from backend.models import Database
from backend.monitoring import repository
from backend.sales import database_now
from backend.sales.preflight import clock_skew

LEDGER_TIMEOUT_S = 3.0
GATE_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """A lane as the gate has it."""

    slug: str
    sku: str
    reading: LaneReading
    undecided: int
    """Journal entries that the ledger has not applied."""
    lag_s: float
    """Age of the oldest of them, by the gate's clock; 0 without any."""


@dataclass(slots=True)
class Snapshot:
    """What was found. Without the ledger there are no sales, without the gate no lanes."""

    ledger_up: bool = False
    gate_up: bool = False
    unfit: int = 0
    """Reasons why the gate's store must not carry a sale."""
    clock_skew_s: float | None = None
    """By how much the gate's clock is ahead of the database's."""
    sales: Sequence[Row[Any]] = ()
    items: Sequence[Row[Any]] = ()
    outbox: Sequence[Row[Any]] = ()
    notifications: Sequence[Row[Any]] = ()
    dead_letters: Sequence[Row[Any]] = ()
    lanes: list[LaneFigures] = field(default_factory=list)


async def take_snapshot(database: Database, gate: Gate) -> Snapshot:
    """Look at both, for at most ``LEDGER_TIMEOUT_S`` and then ``GATE_TIMEOUT_S``. Never raises for a store that is
    away: that is what it reports."""
    snapshot = Snapshot()
    try:
        async with asyncio.timeout(LEDGER_TIMEOUT_S), database.transaction() as session:
            await _read_ledger(session, gate, snapshot)
        snapshot.ledger_up = True
    except (SQLAlchemyError, OSError, TimeoutError):
        pass
    try:
        async with asyncio.timeout(GATE_TIMEOUT_S):
            snapshot.unfit = len(await gate.fitness())
            for row in snapshot.items:
                if row.generation is not None:
                    snapshot.lanes.append(await _read_lane(gate, row))
        snapshot.gate_up = True
    except (GateUnavailable, TimeoutError):
        pass
    return snapshot


async def _read_ledger(session: AsyncSession, gate: Gate, snapshot: Snapshot) -> None:
    snapshot.sales = await repository.sales_now(session)
    snapshot.items = await repository.lanes_now(session)
    snapshot.outbox = await repository.outbox_now(session)
    snapshot.notifications = await repository.notifications_now(session)
    snapshot.dead_letters = await repository.dead_letters_now(session)
    try:
        gate_ms = await gate.now_ms()
    except GateUnavailable:
        return
    snapshot.clock_skew_s = clock_skew(gate_ms, await database_now(session)).total_seconds()


async def _read_lane(gate: Gate, row: Row[Any]) -> LaneFigures:
    lane_id = LaneId(row.item_id, row.lane)
    reading = await gate.read(lane_id)
    applied = -1 if row.seq is None else row.seq
    undecided = max(0, reading.seq - applied) if reading.generation == row.generation else 0
    lag_s = 0.0
    if undecided:
        for entry in await gate.entries(lane_id, start=EntryId(row.generation, applied + 1), count=1):
            lag_s = max(0, reading.read_at_ms - entry.at_ms) / 1000
    return LaneFigures(row.slug, row.sku, reading, undecided, lag_s)
