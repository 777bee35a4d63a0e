"""The invariants as classes that run in production: one a rule, its code as in the documentation.

Ledger rules are questions to the database, all asked in one snapshot; balance rules look at ledger and gate side
by side. Several of the ledger's rules are constraints of the schema as well: the rule is there for the day on which
somebody drops the constraint, restores a table, or writes past it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from backend.reconciliation import queries, repository
from backend.reconciliation.balance import BROKEN, Balance, LaneState
from backend.reconciliation.findings import Finding, Findings


class LedgerRule(ABC):
    """A rule over the ledger alone. ``query`` yields one row for each place where it does not hold."""

    code: ClassVar[str]
    promise: ClassVar[str]
    query: ClassVar[str]
    ids: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[tuple[str, ...]] = ()

    async def check(self, session: AsyncSession, sale_id: UUID) -> Findings:
        """Ask, and put the rows into words."""
        rows, total = await repository.broken(session, self.query, sale_id)
        return Findings([self._finding(row) for row in rows], total)

    def _finding(self, row: Row[Any]) -> Finding:
        values = row._mapping  # noqa: SLF001 SQLAlchemy's public name for it
        return Finding(
            self.code,
            self.message(row),
            {name: str(values[name]) for name in self.ids if values[name] is not None},
            {name: int(values[name]) for name in self.numbers if values[name] is not None},
        )

    @abstractmethod
    def message(self, row: Row[Any]) -> str:
        """A sentence about one row."""


class CountersAddUp(LedgerRule):
    code = "I1"
    promise = "available + reserved + sold = allotment, none of them negative"
    query = queries.BROKEN_COUNTERS
    ids = ("item_id", "sku")
    numbers = ("allotment", "available", "reserved", "sold")

    def message(self, row: Row[Any]) -> str:
        return (
            f"{row.sku}: {row.available} available + {row.reserved} reserved + {row.sold} sold "
            f"is not the allotment of {row.allotment}."
        )


class OneDecision(LedgerRule):
    code = "I4"
    promise = "one decision for each reservation, one reservation for each journal entry"
    query = queries.DUPLICATE_DECISIONS
    ids = ("what", "reference")
    numbers = ("times",)

    def message(self, row: Row[Any]) -> str:
        return f"{row.what} {row.reference} was decided {row.times} times."


class LimitsHold(LedgerRule):
    code = "I8"
    promise = "no shopper holds more live units of an item than its limit"
    query = queries.LIMITS_PASSED
    ids = ("item_id", "sku", "shopper_id")
    numbers = ("units", "per_shopper_limit")

    def message(self, row: Row[Any]) -> str:
        return f"{row.sku}: one shopper holds {row.units} units, the limit is {row.per_shopper_limit}."


class GivenBackOnce(LedgerRule):
    code = "I10"
    promise = "units go back only when their reservation has ended, and each only once"
    query = queries.GIVEN_BACK_WRONGLY
    ids = ("reservation_id", "outbox_id", "status")
    numbers = ("quantity", "given_back")

    def message(self, row: Row[Any]) -> str:
        return f"A reservation of {row.quantity}, now {row.status}, has given {row.given_back} back to the gate."


class StatesAgree(LedgerRule):
    code = "I11"
    promise = "an order says what its reservation says, and ended reservations stay ended"
    query = queries.STATES_APART
    ids = ("reservation_id", "order_id", "reservation_status", "order_status")

    def message(self, row: Row[Any]) -> str:
        order = f"its order is {row.order_status}" if row.order_id else "it has no order"
        return f"A reservation is {row.reservation_status}, but {order}."


class PaymentsSettled(LedgerRule):
    code = "I12"
    promise = "each captured payment is one paid order or one refund due, and none is paid without"
    query = queries.PAYMENTS_UNSETTLED
    ids = ("order_id", "payment_id", "order_status")

    def message(self, row: Row[Any]) -> str:
        if row.payment_id is None:
            return f"An order is {row.order_status}, but no payment of it was captured."
        if " and " in row.order_status:
            return f"A payment stands for two orders, which are {row.order_status}."
        return f"A payment was captured, but its order is {row.order_status}."


class NothingEarly(LedgerRule):
    code = "I13"
    promise = "nothing is reserved before the opening, by the gate's clock"
    query = queries.EARLY_RESERVATIONS
    ids = ("reservation_id", "sku")
    numbers = ("early_ms",)

    def message(self, row: Row[Any]) -> str:
        return f"{row.sku}: a reservation was taken {row.early_ms} ms before the opening."


class LedgerAddsUp(LedgerRule):
    code = "I17"
    promise = "the ledger's entries and the live reservations add up to the item's counters"
    query = queries.SUMS_APART
    ids = ("item_id", "sku", "counter")
    numbers = ("counted", "entries", "reservations")

    def message(self, row: Row[Any]) -> str:
        words = f"{row.sku}: {row.counter} is {row.counted}, the ledger's entries make {row.entries}"
        return words + ("." if row.reservations is None else f", its reservations {row.reservations}.")


class EntriesTellTheStory(LedgerRule):
    code = "I17"
    promise = "each reservation has exactly the entries that its state implies"
    query = queries.ENTRIES_APART
    ids = ("reservation_id", "status", "kinds")
    numbers = ("quantity",)

    def message(self, row: Row[Any]) -> str:
        return f"A reservation of {row.quantity} is {row.status}, its entries are: {row.kinds or 'none'}."


class UnitsReturn(LedgerRule):
    code = "I20"
    promise = "what the ledger gives back can be bought again soon"
    query = queries.NOT_GIVEN_BACK
    ids = ("outbox_id", "sku", "status")
    numbers = ("quantity", "age_s")

    def message(self, row: Row[Any]) -> str:
        if row.status == "refused":
            return f"{row.sku}: the gate refused to take {row.quantity} units back."
        return f"{row.sku}: {row.quantity} units have waited {row.age_s} s to go back to the gate."


class BalanceRule(ABC):
    """A rule over ledger and gate together."""

    code: ClassVar[str]
    promise: ClassVar[str]

    def check(self, balance: Balance) -> Findings:
        found = list(self.findings(balance))
        return Findings(found, len(found))

    @abstractmethod
    def findings(self, balance: Balance) -> Iterator[Finding]:
        """One for each place where the rule does not hold."""


class GateAddsUp(BalanceRule):
    code = "I2"
    promise = "in the gate, available + held = allotment, and available is never negative"

    def findings(self, balance: Balance) -> Iterator[Finding]:
        for item in balance.items:
            for lane in item.lanes:
                reading = lane.reading
                if reading.available >= 0 and reading.available + reading.held == reading.allotment:
                    continue
                yield Finding(
                    self.code,
                    f"{item.ledger.sku}: the gate has {reading.available} available + {reading.held} held, "
                    f"not its allotment of {reading.allotment}.",
                    {"item_id": str(item.ledger.item_id), "sku": item.ledger.sku},
                    {
                        "available": reading.available,
                        "held": reading.held,
                        "allotment": reading.allotment,
                    },
                )


class EquationHolds(BalanceRule):
    code = "I3"
    promise = "ledger available − units to be given back + what the journal holds above the cursor = gate available"

    def findings(self, balance: Balance) -> Iterator[Finding]:
        for item in balance.items:
            if item.drift == 0:
                continue
            side = "more than" if item.drift > 0 else "fewer than"
            yield Finding(
                self.code,
                f"{item.ledger.sku}: the gate has {abs(item.drift)} {side} the {item.expected} units "
                "that the ledger leaves it.",
                {"item_id": str(item.ledger.item_id), "sku": item.ledger.sku},
                {
                    "drift": item.drift,
                    "expected": item.expected,
                    "gate_available": item.gate_available,
                    "ledger_available": item.ledger.available,
                    "pending_units": item.ledger.pending_units,
                },
            )


class CursorAgrees(BalanceRule):
    code = "I3"
    promise = "ledger available − units to be given back = what the entry at the cursor left"

    def findings(self, balance: Balance) -> Iterator[Finding]:
        for item in balance.items:
            lefts = [cursor.left_units for cursor in item.ledger.cursors]
            if not lefts or None in lefts:
                continue
            left = sum(units or 0 for units in lefts)
            expected = item.ledger.available - item.ledger.pending_units
            if left == expected:
                continue
            yield Finding(
                self.code,
                f"{item.ledger.sku}: the journal's entry at the cursor left {left} units, "
                f"the ledger makes it {expected}.",
                {"item_id": str(item.ledger.item_id), "sku": item.ledger.sku},
                {"left": left, "expected": expected},
            )


class HistoryIntact(BalanceRule):
    code = "I9"
    promise = "the gate's journal holds, at the cursor, the very entry that was applied"
    words: ClassVar[dict[LaneState, str]] = {
        LaneState.LOST: "the gate has lost everything it had",
        LaneState.REGRESSED: "the gate's journal ends before what was applied from it",
        LaneState.FORKED: "the gate's journal holds another entry than the one that was applied",
        LaneState.REBUILT: "the gate's generation is not the ledger's",
    }

    def findings(self, balance: Balance) -> Iterator[Finding]:
        for item in balance.items:
            for lane in item.lanes:
                if lane.state not in BROKEN:
                    continue
                yield Finding(
                    self.code,
                    f"{item.ledger.sku}: {self.words[lane.state]} "
                    f"(cursor {lane.cursor.entry_id}, newest {lane.reading.last}).",
                    {
                        "item_id": str(item.ledger.item_id),
                        "sku": item.ledger.sku,
                        "cursor": str(lane.cursor.entry_id),
                        "last": str(lane.reading.last),
                        "state": lane.state.value,
                    },
                )


class NothingInvented(BalanceRule):
    code = "I10"
    promise = "the gate never offers units that are reserved or sold"

    def findings(self, balance: Balance) -> Iterator[Finding]:
        for item in balance.items:
            # At the cursor's place in time: without what the entries above it did.
            offered = item.gate_available + item.in_flight
            live = item.ledger.reserved + item.ledger.sold
            free = item.ledger.allotment - live
            if not item.compared or offered <= free:
                continue
            yield Finding(
                self.code,
                f"{item.ledger.sku}: the gate offers {offered} units, but {live} of {item.ledger.allotment} "
                f"are reserved or sold: {offered - free} too many.",
                {"item_id": str(item.ledger.item_id), "sku": item.ledger.sku},
                {"offered": offered, "allotment": item.ledger.allotment, "live": live},
            )


LEDGER_RULES: tuple[LedgerRule, ...] = (
    CountersAddUp(),
    OneDecision(),
    LimitsHold(),
    GivenBackOnce(),
    StatesAgree(),
    PaymentsSettled(),
    NothingEarly(),
    LedgerAddsUp(),
    EntriesTellTheStory(),
    UnitsReturn(),
)
BALANCE_RULES: tuple[BalanceRule, ...] = (
    GateAddsUp(),
    EquationHolds(),
    CursorAgrees(),
    HistoryIntact(),
    NothingInvented(),
)
DUPLICATES_RULE = OneDecision.code
