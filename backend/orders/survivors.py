"""What a rebuild brings into the ledger from a gate that is about to be cleared: accepted attempts that no drain has
read, and reductions taken. Decided without a database, as the drain's plan is.

The journal may be any: cut, forked, its chain broken. So nothing follows from an entry's place or from what it says
is left; only from what it asks for, and whether the ledger has it. Nothing is given back to the gate for an entry that
comes to nothing: its next generation begins with what the ledger has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from backend.gate import JournalEntry, JournalKind
from backend.models import ReservationStatus
from backend.orders.identifiers import read_id
from backend.orders.plan import ItemFacts, LatePayment, Placed, Plan, Reduction, Rejection

UNITS_MAX = 2**31 - 1
AT_MAX_MS = 253_402_300_799_000
"""The end of the year 9999: PostgreSQL would take more, Python's dates would not."""

_ATTEMPTS = frozenset({JournalKind.RESERVE, JournalKind.RETAKE})


@dataclass(frozen=True, slots=True)
class Attempt:
    """An entry that takes units for a shopper, its ids read."""

    entry: JournalEntry
    reservation_id: UUID
    shopper_id: UUID

    @property
    def is_late_payment(self) -> bool:
        """A ``retake``: the reservation's id is a payment's."""
        return self.entry.kind is JournalKind.RETAKE


@dataclass(frozen=True, slots=True)
class Candidates:
    """The entries of a page that may have to be brought in."""

    attempts: list[Attempt] = field(default_factory=list)
    reductions: list[Reduction] = field(default_factory=list)
    unusable: int = 0
    """Entries that nobody can make sense of."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger says, under the item's lock, of what a page of candidates names."""

    available: int
    per_shopper_limit: int
    known: frozenset[UUID]
    """Reservations, and commands whose reductions are booked."""
    live: Mapping[UUID, int]
    """Units that each shopper of the page holds."""
    payments: Mapping[UUID, LatePayment]


def candidates(entries: Sequence[JournalEntry]) -> Candidates:
    """Read the ids of everything that takes units; releases and top-ups came from the ledger in the first place."""
    found = Candidates()
    unusable = 0
    for entry in entries:
        try:
            if entry.kind in _ATTEMPTS:
                _check(entry, entry.quantity)
                found.attempts.append(Attempt(entry, read_id(entry.cause), read_id(entry.shopper)))
            elif entry.kind is JournalKind.ADJUST and entry.quantity < 0:
                _check(entry, -entry.quantity)
                found.reductions.append(Reduction(entry, read_id(entry.cause)))
        except ValueError:
            unusable += 1
    return Candidates(found.attempts, found.reductions, unusable)


def _check(entry: JournalEntry, units: int) -> None:
    if not 0 < units <= UNITS_MAX or not 0 < entry.at_ms <= AT_MAX_MS or not 0 <= entry.entry_id.seq < 2**63:
        raise ValueError(f"entry {entry.entry_id} is out of range")


def plan_survivors(found: Candidates, facts: ItemFacts, standing: Standing) -> Plan:
    """Decide a page in the journal's order, attempts first: what a shopper was promised goes before an operator's wish.

    Two histories of one lane may each have given the same unit away, or each have let one shopper through: what the
    ledger has not got the units for, or would pass the limit, ends as ``lost_in_failover``.
    """
    plan = Plan()
    seen = set(standing.known)
    live = dict(standing.live)
    available = standing.available
    for one in found.attempts:
        if one.reservation_id in seen:
            continue
        seen.add(one.reservation_id)
        units = one.entry.quantity
        fits = units <= available and live.get(one.shopper_id, 0) + units <= standing.per_shopper_limit
        if one.is_late_payment:
            # One that does not fit, or that was refunded meanwhile, is left to the sweep of payments.
            taken = fits and not facts.cancelled and _is_due(one, facts, standing.payments)
            if taken:
                plan.retaken.append(_placed(one, ReservationStatus.CONFIRMED))
        else:
            taken = fits and not facts.cancelled
            plan.placed.append(_decided(one, facts, taken=taken))
        if taken:
            available -= units
            live[one.shopper_id] = live.get(one.shopper_id, 0) + units
    for reduction in found.reductions:
        units = -reduction.entry.quantity
        if reduction.command_id not in seen and units <= available:
            seen.add(reduction.command_id)
            plan.reductions.append(reduction)
            available -= units
    return plan


def _placed(one: Attempt, status: ReservationStatus, reason: Rejection | None = None) -> Placed:
    return Placed(one.reservation_id, one.shopper_id, one.entry, status, reason)


def _decided(one: Attempt, facts: ItemFacts, *, taken: bool) -> Placed:
    if taken:
        return _placed(one, ReservationStatus.RESERVED if facts.payment_required else ReservationStatus.CONFIRMED)
    reason = Rejection.SALE_CANCELLED if facts.cancelled else Rejection.LOST_IN_FAILOVER
    return _placed(one, ReservationStatus.REJECTED, reason)


def _is_due(one: Attempt, facts: ItemFacts, payments: Mapping[UUID, LatePayment]) -> bool:
    payment = payments.get(one.reservation_id)
    asked = (facts.item_id, one.shopper_id, one.entry.quantity)
    return payment is not None and payment.is_due and (payment.item_id, payment.shopper_id, payment.quantity) == asked
