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

TAKES = frozenset({JournalKind.RESERVE, JournalKind.RETAKE})
"""Kinds that take units for a shopper; their cause is a reservation's id."""


class Unappliable(Exception):
    """An entry that this code does not understand, or that the ledger has not the units for."""


class Rejection(StrEnum):
    """Why an accepted attempt came to nothing."""

    SALE_CANCELLED = "sale_cancelled"
    NO_STOCK = "no_stock"
    LOST_IN_FAILOVER = "lost_in_failover"
    """A gate lost its history, and when it was rebuilt the unit was somebody else's already."""
    UNPROCESSABLE = "unprocessable"
    """Its journal entry could not be applied and was put aside (``backend.orders.poison``)."""
    PAYMENT_SETTLED = "payment_settled"
    """Units for a late payment whose money goes back already. Its first order tells the shopper so."""


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
    acknowledged: bool = False
    """What the sale's shoppers are told must be safe: so must be what the ledger is told."""


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


@dataclass(frozen=True, slots=True)
class LatePayment:
    """The payment that a ``retake`` names, its row locked."""

    item_id: UUID
    shopper_id: UUID
    quantity: int
    is_due: bool
    """Captured, and not settled by anybody yet."""


@dataclass(slots=True)
class Plan:
    """Everything a batch changes."""

    placed: list[Placed] = field(default_factory=list)
    retaken: list[Placed] = field(default_factory=list)
    """New reservations of late payments, confirmed and paid; their ids are the payments'."""
    refunds: list[UUID] = field(default_factory=list)
    """Payments whose units the ledger does not have after all."""
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
        return self._units(ReservationStatus.CONFIRMED) + sum(one.entry.quantity for one in self.retaken)

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
    return [_cause(entry) for entry in entries if entry.kind in TAKES]


def payment_ids(entries: Sequence[JournalEntry]) -> list[UUID]:
    """The late payments that a batch takes units for. Raises ``Unappliable``."""
    return [_cause(entry) for entry in entries if entry.kind is JournalKind.RETAKE]


def plan_batch(
    entries: Sequence[JournalEntry],
    facts: ItemFacts,
    known: Mapping[UUID, EntryId],
    payments: Mapping[UUID, LatePayment] | None = None,
) -> Plan:
    """Decide each entry in order. Raises ``Unappliable`` for one that cannot be understood.

    ``known`` holds the journal entry of every reservation id of the batch that the ledger already has: the same
    entry is a replay and changes nothing, another entry took units twice and is given back. ``payments`` are those
    of ``payment_ids(entries)`` that exist, locked.
    """
    assert payments is not None or not payment_ids(entries)
    plan = Plan()
    seen = dict(known)
    available = facts.available
    for entry in entries:
        if entry.kind is JournalKind.RESERVE:
            available -= _reserve(plan, seen, entry, facts, available)
        elif entry.kind is JournalKind.RETAKE:
            available -= _retake(plan, seen, entry, facts, available, payments or {})
        elif entry.kind is JournalKind.RELEASE or (entry.kind is JournalKind.ADJUST and entry.quantity > 0):
            plan.returned.append(_cause(entry))
        elif entry.kind is JournalKind.ADJUST:
            plan.reductions.append(Reduction(entry, _cause(entry)))
            available += entry.quantity
        elif not entry.is_known:
            raise Unappliable(f"entry {entry.entry_id} is of a kind that this version does not know")
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


def _retake(
    plan: Plan,
    seen: dict[UUID, EntryId],
    entry: JournalEntry,
    facts: ItemFacts,
    available: int,
    payments: Mapping[UUID, LatePayment],
) -> int:
    """Decide units that the gate gave to a late payment. Returns the units that it takes.

    A payment that somebody has settled meanwhile, as a refund that is due, buys nothing: a command that was on its
    way for long may have reached the gate after another was refused.
    """
    payment_id = _cause(entry)
    if payment_id in seen:
        if seen[payment_id] != entry.entry_id:
            plan.given_back.append(GiveBack(entry, payment_id))
        return 0
    seen[payment_id] = entry.entry_id
    shopper_id = _shopper(entry)
    payment = payments.get(payment_id)
    asked = (facts.item_id, shopper_id, entry.quantity)
    is_due = payment is not None and payment.is_due
    is_its_own = payment is not None and (payment.item_id, payment.shopper_id, payment.quantity) == asked
    phantom = is_due and is_its_own and not facts.cancelled and entry.quantity > available
    if is_due and is_its_own and not facts.cancelled and not phantom:
        plan.retaken.append(Placed(payment_id, shopper_id, entry, ReservationStatus.CONFIRMED))
        return entry.quantity
    if is_due and is_its_own:
        plan.refunds.append(payment_id)
    if phantom:
        plan.fault = Fault.NO_STOCK
    plan.given_back.append(GiveBack(entry, payment_id, forfeit=phantom))
    plan.placed.append(Placed(payment_id, shopper_id, entry, ReservationStatus.REJECTED, Rejection.PAYMENT_SETTLED))
    return 0
