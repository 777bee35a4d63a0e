"""The equation between ledger and gate, as arithmetic on two readings taken one after the other.

The ledger is read first, in one snapshot: counters, the units still to be given back, and each lane's cursor. Then
one script reads the lane: what it has now, what its newest journal entry left, and what the entry at the cursor
left. ``left`` telescopes, so the last two give the sum of everything above the cursor without reading it:

    expected = ledger available − pending outbox units + (left now − left at the cursor)
    drift    = gate available − expected

No load can make this raise a false alarm. Every change between the two readings is a journal entry, and lies above
the cursor of the snapshot: a batch drained meanwhile moves a cursor that was already read; a release that the relay
has applied is pending in the snapshot and an entry in the journal, or in neither; a top-up likewise; a reduction is
an entry first and reaches the ledger by the drain. The gate's own ``available`` is a field beside the journal, so
a counter that somebody changed shows, although the journal looks whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from backend.core.clock import from_ms, rfc3339
from backend.gate import EntryId, LaneId, LaneReading
from backend.models import Fault, SaleStage


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the ledger has applied a lane's journal."""

    lane_id: LaneId
    generation: int
    seq: int | None
    """None until the first drain has adopted the load."""
    digest: str | None
    left_units: int | None

    @property
    def entry_id(self) -> EntryId:
        return EntryId(self.generation, self.seq or 0)


@dataclass(frozen=True, slots=True)
class LedgerItem:
    """One item of the snapshot."""

    item_id: UUID
    sku: str
    allotment: int
    available: int
    reserved: int
    sold: int
    pending_units: int
    """In outbox rows that are pending or refused: the ledger has given them, the gate has not (provably) got them."""
    cursors: tuple[Cursor, ...]
    """Empty until the stock is preloaded."""


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """One sale at one instant, from one REPEATABLE READ transaction."""

    sale_id: UUID
    stage: SaleStage
    over: bool
    """Closed, ended or cancelled, by the database's clock."""
    fault: Fault | None
    read_at: datetime
    items: tuple[LedgerItem, ...]


class LaneState(StrEnum):
    """How far a lane's reading can be held against its cursor."""

    COMPARED = "compared"
    NOT_LOADED = "not_loaded"
    """The preload has not finished: there is nothing to compare yet."""
    RETIRED = "retired"
    """The sale is reconciled and its keys have been dropped after retention."""
    LOST = "lost"
    """The gate has nothing, although entries of it were applied."""
    REGRESSED = "regressed"
    """The journal ends before the cursor."""
    FORKED = "forked"
    """The journal holds another entry at the cursor than the one applied."""
    REBUILT = "rebuilt"
    """Gate and ledger name different generations: a rebuild came between the readings, or never finished."""


BROKEN: Mapping[LaneState, Fault] = {
    LaneState.LOST: Fault.REGRESSED,
    LaneState.REGRESSED: Fault.REGRESSED,
    LaneState.FORKED: Fault.FORKED,
    LaneState.REBUILT: Fault.FORKED,
}


@dataclass(frozen=True, slots=True)
class LaneBalance:
    """One lane: its cursor, its reading, and what lies between the two."""

    cursor: Cursor
    reading: LaneReading
    state: LaneState

    @property
    def net_units(self) -> int:
        """Units that entries above the cursor have added to the gate's available (negative: taken)."""
        if self.state in (LaneState.NOT_LOADED, LaneState.RETIRED, LaneState.LOST):
            return 0
        # A journal that has lost the entry is measured from what the ledger noted when it applied it.
        at_cursor = self.reading.cursor_left
        if at_cursor is None:
            at_cursor = self.cursor.left_units
        if at_cursor is None or self.reading.journal_left is None:
            return 0
        return self.reading.journal_left - at_cursor

    def drained(self, stage: SaleStage) -> bool:
        """Nothing is above the cursor, and nothing can come: the lane admits nobody any more, by the gate itself."""
        if self.state in (LaneState.NOT_LOADED, LaneState.RETIRED):
            return True
        closed = self.reading.closes_at_ms <= self.reading.read_at_ms or (
            stage is SaleStage.CANCELLED and self.reading.paused
        )
        adopted = self.state is LaneState.COMPARED and self.cursor.seq is not None
        return closed and adopted and self.reading.last == self.cursor.entry_id


@dataclass(frozen=True, slots=True)
class ItemBalance:
    """One item: what the ledger says, what the gate says, and the difference that must be 0."""

    ledger: LedgerItem
    lanes: tuple[LaneBalance, ...]

    @property
    def compared(self) -> bool:
        """There is a gate to compare with."""
        return any(lane.state not in (LaneState.NOT_LOADED, LaneState.RETIRED) for lane in self.lanes)

    @property
    def gate_available(self) -> int:
        return sum(lane.reading.available for lane in self.lanes)

    @property
    def gate_held(self) -> int:
        return sum(lane.reading.held for lane in self.lanes)

    @property
    def expected(self) -> int:
        """What the gate's available must be."""
        return self.ledger.available - self.ledger.pending_units + sum(lane.net_units for lane in self.lanes)

    @property
    def in_flight(self) -> int:
        """Net units that the gate has given out and the ledger has not placed yet (negative: got back)."""
        return -sum(lane.net_units for lane in self.lanes)

    @property
    def drift(self) -> int:
        return self.gate_available - self.expected if self.compared else 0

    @property
    def stranded(self) -> int:
        """Units that nobody can get."""
        return max(0, -self.drift)

    @property
    def oversold(self) -> int:
        return max(0, self.ledger.reserved + self.ledger.sold - self.ledger.allotment)


@dataclass(frozen=True, slots=True)
class Balance:
    """One sale."""

    snapshot: LedgerSnapshot
    items: tuple[ItemBalance, ...]

    @property
    def lanes(self) -> tuple[LaneBalance, ...]:
        return tuple(lane for item in self.items for lane in item.lanes)

    @property
    def drift(self) -> int:
        """The items' sum; where it cancels out, the largest of them: 0 only if every item's is 0."""
        drifts = [item.drift for item in self.items]
        return sum(drifts) or max(drifts, key=abs, default=0)

    @property
    def stranded(self) -> int:
        return sum(item.stranded for item in self.items)

    @property
    def oversold(self) -> int:
        return sum(item.oversold for item in self.items)

    @property
    def torn(self) -> bool:
        """A rebuild came between the two readings: take them again."""
        return any(lane.state is LaneState.REBUILT for lane in self.lanes)

    @property
    def drained(self) -> bool:
        return all(lane.drained(self.snapshot.stage) for lane in self.lanes)

    def as_json(self) -> dict[str, Any]:
        """The body of ``GET audit/sales/{id}/balance``."""
        return {
            "items": [_item_json(item, self.snapshot.read_at) for item in self.items],
            "oversold": self.oversold,
            "stranded": self.stranded,
            "drift": self.drift,
        }


def compare(snapshot: LedgerSnapshot, readings: Mapping[LaneId, LaneReading]) -> Balance:
    """Put a snapshot and the readings taken after it side by side. ``readings`` has every cursor's lane."""
    retired = snapshot.stage is SaleStage.RECONCILED
    items = []
    for item in snapshot.items:
        lanes = []
        for cursor in item.cursors:
            reading = readings[cursor.lane_id]
            lanes.append(LaneBalance(cursor, reading, _state(cursor, reading, retired=retired)))
        items.append(ItemBalance(item, tuple(lanes)))
    return Balance(snapshot, tuple(items))


def _state(cursor: Cursor, reading: LaneReading, *, retired: bool) -> LaneState:
    if not reading.loaded:
        if retired:
            return LaneState.RETIRED
        return LaneState.NOT_LOADED if cursor.seq is None else LaneState.LOST
    if reading.generation != cursor.generation:
        return LaneState.REBUILT
    if reading.cursor_left is None:
        return LaneState.REGRESSED
    if cursor.digest is not None and reading.cursor_digest != cursor.digest:
        return LaneState.FORKED
    return LaneState.COMPARED


def _item_json(item: ItemBalance, read_at: datetime) -> dict[str, Any]:
    ledger = item.ledger
    gate_read_at = [lane.reading.read_at_ms for lane in item.lanes]
    gate: dict[str, Any] = {"available": item.gate_available, "held": item.gate_held}
    if gate_read_at:
        gate["read_at"] = rfc3339(from_ms(min(gate_read_at)))
    return {
        "sku": ledger.sku,
        "allotment": ledger.allotment,
        "gate": gate,
        "ledger": {
            "available": ledger.available,
            "reserved": ledger.reserved,
            "sold": ledger.sold,
            "read_at": rfc3339(read_at),
        },
        "pending_units": ledger.pending_units,
        "in_flight": item.in_flight,
        "expected": item.expected if item.compared else 0,
        "drift": item.drift,
        "lanes": [_lane_json(lane) for lane in item.lanes],
    }


def _lane_json(lane: LaneBalance) -> dict[str, Any]:
    body: dict[str, Any] = {"lane": lane.cursor.lane_id.lane, "state": lane.state.value}
    if lane.reading.loaded:
        body |= {
            "cursor": str(lane.cursor.entry_id),
            "last": str(lane.reading.last),
            "available": lane.reading.available,
            "held": lane.reading.held,
        }
        if lane.reading.cursor_left is not None:
            body["left_at_cursor"] = lane.reading.cursor_left
        if lane.reading.journal_left is not None:
            body["left"] = lane.reading.journal_left
        if lane.reading.fault:
            body["fault"] = lane.reading.fault
    return body


def lanes_of(items: Sequence[LedgerItem]) -> list[Cursor]:
    """The cursors whose lanes have to be read."""
    return [cursor for item in items for cursor in item.cursors]
