"""Journal entries that cannot be applied: found by halves, put aside, their units given back.

    batch fails ──► halves ──► … ──► the one entry ──► dead letter, its units ──► outbox ──► gate
                      └──► neighbours are applied, in the journal's order

All of it is one transaction, as any batch is, so the equation ``ledger available − pending = left(cursor)`` holds at
its commit too: an entry that took units from the gate and gave them to nobody is balanced by an outbox row that
brings them back. An entry put aside costs two savepoints for each halving of the batch, 22 for one of 2,000.

What cannot be balanced stops the sale instead, after everything before it was applied: an entry that *gave* the gate
units which the ledger never had (putting it aside would sell them), one beyond the ledger's range, one of a kind that
this version does not know (a newer one wrote it, and means something by it), and one too many in a short time: then
it is no single bad entry, but a version that is broken.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.log import get_logger
from backend.gate import Gate, JournalEntry, JournalKind, LaneId
from backend.models import Fault, ReservationStatus, SaleEvent
from backend.orders import repository_drain
from backend.orders.identifiers import read_id
from backend.orders.plan import TAKES, GiveBack, ItemFacts, Placed, Rejection, Unappliable
from backend.orders.repository_settlement import refund_late

log = get_logger()

ASIDE_MAX = 10
ASIDE_WITHIN_S = 600
"""More than ``ASIDE_MAX`` entries of a sale in that time, and it stops."""
TEXT_MAX = 1_000
"""Characters kept of each field of an entry, and of an error."""
_UNITS_MAX = 2**31 - 1
"""What an ``integer`` column holds."""

Write = Callable[[Sequence[JournalEntry]], Awaitable[Fault | None]]
"""Applies entries in the current transaction; the fault they reveal, if any."""


@dataclass(slots=True)
class Sifted:
    """What became of a batch that could not be applied as a whole."""

    done: int = 0
    """Entries from its start that are dealt with: applied or put aside."""
    fault: Fault | None = None
    error: str = ""
    """Why it stopped at the entry after those, empty when it did not."""


def is_poison(error: DBAPIError | Unappliable) -> bool:
    """Whether it is the entry's fault, and not the server's: the same entry will fail the same way again.

    asyncpg refuses a value out of range by a ``ValueError`` of its own before it is sent; SQLAlchemy has no class
    for that, nor for PostgreSQL's class 22 (its own ``DataError`` is never raised with asyncpg).
    """
    if isinstance(error, (Unappliable, IntegrityError)):
        return True
    state = getattr(error.orig, "sqlstate", None) or ""
    return state.startswith(("22", "23")) or isinstance(getattr(error.orig, "__cause__", None), ValueError)


def reason_of(error: Exception) -> str:
    """What a person is told of an error."""
    return _kept(str(getattr(error, "orig", error)))


def reference_of(lane_id: LaneId, entry_id: object) -> str:
    """How a dead letter names its journal entry: ``item:lane:generation-seq``."""
    return f"{lane_id}:{entry_id}"


class Sieve:
    """Applies what can be applied of one lane's batch; the caller's transaction holds cursor and item."""

    def __init__(self, session: AsyncSession, gate: Gate, lane_id: LaneId, facts: ItemFacts) -> None:
        self._session = session
        self._gate = gate
        self._lane_id = lane_id
        self._facts = facts

    async def sift(self, entries: Sequence[JournalEntry], write: Write) -> Sifted:
        """Apply ``entries`` by ever smaller parts. Raises ``Unappliable`` when too many of them are poison, and what
        the servers raise."""
        sifted = Sifted()
        parts = [entries]
        while parts:
            part = parts.pop()
            try:
                async with self._session.begin_nested():
                    fault = await write(part)
            except (DBAPIError, Unappliable) as error:
                if not is_poison(error):
                    raise
                middle = len(part) // 2
                if middle:
                    parts += [part[middle:], part[:middle]]
                    continue
                if not _can_be_balanced(part[0]):
                    sifted.error = reason_of(error)
                    return sifted
                await self._put_aside(part[0], reason_of(error))
            else:
                sifted.fault = sifted.fault or fault
            sifted.done += len(part)
        return sifted

    async def _put_aside(self, entry: JournalEntry, reason: str) -> None:
        """A dead letter, its units on their way back, and an answer for whoever holds its ticket."""
        session, sale_id, reference = self._session, self._facts.sale_id, reference_of(self._lane_id, entry.entry_id)
        units = -entry.available_delta
        await repository_drain.insert_dead_letter(session, sale_id, reference, reason, _payload(entry))
        if await repository_drain.lately_put_aside(session, sale_id, within_s=ASIDE_WITHIN_S) > ASIDE_MAX:
            raise Unappliable(
                f"more than {ASIDE_MAX} entries could not be applied, the last one {entry.entry_id}: {reason}"
            )
        way = await self._give_back(entry, units)
        await self._reject(entry)
        detail = {"entry": str(entry.entry_id), "kind": str(entry.kind), "units": units, "back_by": way}
        session.add(
            SaleEvent(
                sale_id=sale_id,
                item_id=self._lane_id.item_id,
                kind="entry.put_aside",
                alarm=True,
                detail={**detail, "reference": reference, "error": reason},
            )
        )
        log.error("entry.put_aside", item_id=str(self._lane_id.item_id), error=reason, **detail)

    async def _give_back(self, entry: JournalEntry, units: int) -> str:
        """The outbox row that balances the entry. The gate is asked what holds its units: a release for a claim that
        is not there would be refused, and the units stranded. Returns the row's kind, empty for none."""
        reservation_id = _id_or_none(entry.cause) if entry.kind in TAKES else None
        if reservation_id is not None:
            claim = await self._gate.live_claim(self._lane_id, reservation_id)
            if claim == (entry.entry_id, units):
                back = GiveBack(entry, reservation_id, forfeit=units == 0)
                await repository_drain.insert_given_back(self._session, [back], self._facts, self._lane_id)
                return "forfeit" if back.forfeit else "release"
        if units == 0:
            return ""
        await repository_drain.insert_adjustment(self._session, entry, units, self._facts, self._lane_id)
        return "adjust"

    async def _reject(self, entry: JournalEntry) -> None:
        """As far as ids can be read: a late payment is owed its money, a reservation is rejected and told so. What
        cannot be written down answers by its dead letter."""
        reservation_id, shopper_id = _id_or_none(entry.cause), _id_or_none(entry.shopper)
        if entry.kind not in TAKES or reservation_id is None:
            return
        if entry.kind is JournalKind.RETAKE:
            await refund_late(self._session, [reservation_id])
            return
        if shopper_id is None or entry.quantity < 1:
            return
        placed = Placed(reservation_id, shopper_id, entry, ReservationStatus.REJECTED, Rejection.UNPROCESSABLE)
        try:
            async with self._session.begin_nested():
                await self._insert(placed)
        except DBAPIError as error:
            if not is_poison(error):
                raise

    async def _insert(self, placed: Placed) -> None:
        # Its own stamp may be what is wrong with it.
        now_ms = await repository_drain.now_ms(self._session)
        await repository_drain.insert_placed(
            self._session,
            [placed],
            placed.status,
            placed.reason,
            self._facts,
            self._lane_id,
            at_ms=now_ms,
        )


def _can_be_balanced(entry: JournalEntry) -> bool:
    """Whether an outbox row can undo what the entry did to the gate's units: it took some, or none."""
    return entry.is_known and 0 <= -entry.available_delta <= _UNITS_MAX and abs(entry.left) <= _UNITS_MAX


def _id_or_none(hexadecimal: str) -> UUID | None:
    try:
        return read_id(hexadecimal)
    except ValueError:
        return None


def _payload(entry: JournalEntry) -> dict[str, str]:
    """Every field as text: JSON has no integer of 30 digits, and PostgreSQL's none of 20."""
    fields = {
        "entry": entry.entry_id,
        "kind": entry.kind,
        "cause": entry.cause,
        "shopper": entry.shopper,
        "quantity": entry.quantity,
        "at": entry.at_ms,
        "left": entry.left,
        "digest": entry.digest,
    }
    return {name: _kept(str(value)) for name, value in fields.items()}


def _kept(text: str) -> str:
    """Bounded, and without the one character that PostgreSQL's text does not take."""
    return text[:TEXT_MAX].replace("\0", "\\0")
