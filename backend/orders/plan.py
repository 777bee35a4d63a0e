"""What a batch of journal entries means for the ledger, decided without a database.

The caller holds the item's row, so what it read stands still while this decides. The result is written by
``repository.write_plan`` in the same transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from backend.gate import EntryId, JournalEntry, JournalKind
from backend.models import Fault, OrderStatus, ReservationStatus
from backend.orders.identifiers import read_id


class Unappliable(Exception):
    """An entry that this code does not understand, or that the ledger has not the units for."""


class Rejection(StrEnum):
    """Why an accepted attempt came to nothing."""

    SALE_CANCELLED = "sale_cancelled"
    NO_STOCK = "no_stock"


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """The item and its sale as they stand under the item's lock."""

    sale_id: UUID
    item_id: UUID
    sku: str
    available: int
    price_minor: int
    currency: str
    payment_required: bool
    hold_s: int
    cancelled: bool


@dataclass(slots=True)
class Placed:
    """One reservation with its order. Not frozen: one is made for each, in 0.2 µs instead of 0.7."""

    reservation_id: UUID
    shopper_id: UUID
    entry: JournalEntry
    status: ReservationStatus
    reason: Rejection | None = None

    @property
    def order_status(self) -> OrderStatus:
        return OrderStatus(self.status.value)


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Units of an entry that the ledger does not take: an outbox row to be."""

    entry: JournalEntry
    reservation_id: UUID
    forfeit: bool = False


@dataclass(frozen=True, slots=True)
class Reduction:
    """An operator's reduction, taken in the gate by its command."""

    entry: JournalEntry
    command_id: UUID


@dataclass(slots=True)
class Plan:
    """Everything a batch changes."""

    placed: list[Placed] = field(default_factory=list)
    given_back: list[GiveBack] = field(default_factory=list)
    returned: list[UUID] = field(default_factory=list)
    """Outbox rows whose journal entry has now been read."""
    reductions: list[Reduction] = field(default_factory=list)
    fault: Fault | None = None

    @property
    def reserved_units(self) -> int:
        return self._units(ReservationStatus.RESERVED)

    @property
    def sold_units(self) -> int:
        return self._units(ReservationStatus.CONFIRMED)

    @property
    def reduced_units(self) -> int:
        return sum(-one.entry.quantity for one in self.reductions)

    def _units(self, status: ReservationStatus) -> int:
        return sum(one.entry.quantity for one in self.placed if one.status is status)


def _cause(entry: JournalEntry) -> UUID:
    try:
        return read_id(entry.cause)
    except ValueError as error:
        raise Unappliable(f"entry {entry.entry_id} has no cause") from error


def _shopper(entry: JournalEntry) -> UUID:
    try:
        return read_id(entry.shopper)
    except ValueError as error:
        raise Unappliable(f"entry {entry.entry_id} has no shopper") from error


def reservation_ids(entries: Sequence[JournalEntry]) -> list[UUID]:
    """The reservations that a batch takes units for. Raises ``Unappliable``."""
    return [_cause(entry) for entry in entries if entry.kind is JournalKind.RESERVE]


def plan_batch(entries: Sequence[JournalEntry], facts: ItemFacts, known: Mapping[UUID, EntryId]) -> Plan:
    """Decide each entry in order.

    ``known`` holds the journal entry of every reservation id of the batch that the ledger already has: the same
    entry is a replay and changes nothing, another entry took units twice and is given back.
    """
    plan = Plan()
    seen = dict(known)
    available = facts.available
    for entry in entries:
        if entry.kind is JournalKind.RESERVE:
            available -= _reserve(plan, seen, entry, facts, available)
        elif entry.kind is JournalKind.RELEASE or (entry.kind is JournalKind.ADJUST and entry.quantity > 0):
            plan.returned.append(_cause(entry))
        elif entry.kind is JournalKind.ADJUST:
            plan.reductions.append(Reduction(entry, _cause(entry)))
            available += entry.quantity
    return plan


def _reserve(plan: Plan, seen: dict[UUID, EntryId], entry: JournalEntry, facts: ItemFacts, available: int) -> int:
    """Decide one attempt that the gate let through. Returns the units that it takes."""
    cause = _cause(entry)
    if cause in seen:
        if seen[cause] != entry.entry_id:
            plan.given_back.append(GiveBack(entry, cause))
        return 0
    seen[cause] = entry.entry_id
    reason = None
    if facts.cancelled:
        reason = Rejection.SALE_CANCELLED
        plan.given_back.append(GiveBack(entry, cause))
    elif entry.quantity > available:
        # The gate had a unit the ledger never gave it: returning it would make the next phantom.
        reason = Rejection.NO_STOCK
        plan.given_back.append(GiveBack(entry, cause, forfeit=True))
        plan.fault = Fault.NO_STOCK
    if reason is not None:
        plan.placed.append(Placed(cause, _shopper(entry), entry, ReservationStatus.REJECTED, reason))
        return 0
    status = ReservationStatus.RESERVED if facts.payment_required else ReservationStatus.CONFIRMED
    plan.placed.append(Placed(cause, _shopper(entry), entry, status))
    return entry.quantity
