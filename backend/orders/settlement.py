"""What a captured payment does to its order: exactly one of a sale or a refund that is due (I12).

A payment whose hold has expired takes no units here, because every take passes the gate: ``settle_late`` asks it, and
the drain settles what it gave (``backend.orders.plan``). Refusals are settled where they are answered.

A payment is captured in a transaction of its own, which takes no lock that others wait for. Then it is settled, with
all other payments of the item that wait at that moment, in one transaction that holds the item's row for one
statement. (One transaction a payment held a hot item's row over eight round trips: with a busy event loop that was
six payments a second, and holds ran out while their owners were paying.) A process that dies in between loses
nothing: the clock's sweep settles what is captured, and expiry leaves captured orders alone.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.log import get_logger
from backend.gate import Gate, GateAnswer, GateUnavailable
from backend.models import Database
from backend.orders import repository_settlement as repository

log = get_logger()

BATCH_MAX = 500
LATE_PAGE = 100
LATE_FOR_S = 15.0
"""Half of the job's time limit: what is left waits for the next sweep."""

_REFUSALS = frozenset({GateAnswer.ENDED, GateAnswer.LIMIT_REACHED, GateAnswer.NOT_ENOUGH})
_DECIDED = _REFUSALS | {GateAnswer.DONE}


class Settlement(StrEnum):
    """What became of a captured payment."""

    CONFIRMED = "confirmed"
    """The units are sold to this shopper."""
    REFUND_DUE = "refund_due"
    """The hold had ended before: the money goes back."""
    LATE = "late"
    """The hold had expired: the gate is asked for units, and one of the two above follows within seconds."""
    ALREADY = "already"
    """The order was settled before; nothing changed."""


async def settle_orders(session: AsyncSession, item_id: UUID, order_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
    """Settle captured orders of one item; may be called any number of times.

    A hold past its time that no sweep has ended yet still counts, because its units are still here. One that has
    expired is ``LATE``: nothing is changed here, the sweep asks the gate.
    """
    await repository.lock_item(session, item_id)
    settled = await repository.settle(session, item_id, order_ids)
    if settled:
        log.info("orders.settled", item_id=str(item_id), **Counter(settled.values()))
    return {one: Settlement(settled.get(one, Settlement.ALREADY)) for one in order_ids}


async def confirm_paid(session: AsyncSession, order_id: UUID) -> Settlement:
    """Settle one order. Raises LookupError for an order that does not exist."""
    items = await repository.items_of(session, [order_id])
    if order_id not in items:
        raise LookupError(f"no order {order_id}")
    return (await settle_orders(session, items[order_id], [order_id]))[order_id]


async def settle_each(database: Database, order_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
    """Settle orders of any items, one transaction an item."""
    async with database.transaction() as session:
        items = await repository.items_of(session, order_ids)
    by_item: dict[UUID, list[UUID]] = defaultdict(list)
    for order_id, item_id in items.items():
        by_item[item_id].append(order_id)
    settled: dict[UUID, Settlement] = {}
    for item_id in sorted(by_item):
        async with database.contended() as session:
            settled |= await settle_orders(session, item_id, by_item[item_id])
    return settled


async def settle_captured(database: Database, gate: Gate) -> int:
    """The sweep: settle what was captured by a process that did not live to settle it, and what came too late.
    Returns how many were settled, or have taken units."""
    async with database.transaction() as session:
        order_ids = await repository.captured_and_unsettled(session, limit=BATCH_MAX)
    settled = await settle_each(database, order_ids) if order_ids else {}
    return len(settled) + await settle_late(database, gate)


async def settle_late(database: Database, gate: Gate, *, for_s: float = LATE_FOR_S) -> int:
    """Ask the gate for the units of every late payment. Returns how many got or were refused theirs.

    A payment whose units are journalled and not drained yet is asked about again and answered ``ALREADY``. When the
    gate does not answer, nobody knows what it did: the payment stays captured, and the next sweep repeats.
    """
    until = time.monotonic() + for_s
    decided, after = 0, None
    while time.monotonic() < until:
        async with database.transaction() as session:
            page = await repository.late_payments(session, after=after, limit=LATE_PAGE)
        for _, payment_id in page:
            if time.monotonic() >= until:
                return decided
            try:
                decided += await settle_late_payment(database, gate, payment_id) in _DECIDED
            except GateUnavailable as error:
                log.warning("retake.gate_unavailable", payment_id=str(payment_id), error=str(error))
                return decided
        if len(page) < LATE_PAGE:
            break
        after = page[-1]
    return decided


async def settle_late_payment(database: Database, gate: Gate, payment_id: UUID) -> GateAnswer | None:
    """Ask the gate for the units of one late payment, and settle a refusal at once: its row is held from before the
    question until after that, so that no second process asks meanwhile. Any number may be called at once.

    Returns the gate's answer, None when there was nothing to ask. Raises ``GateUnavailable``: not decided.
    """
    async with database.contended() as session:
        late = await repository.lock_late_order(session, payment_id)
        if late is None:
            return None
        applied = await gate.retake(late.lane_id, late.retake, generation=late.generation)
        if applied.answer in _REFUSALS:
            await repository.refund_late(session, [payment_id])
    if applied.answer in _DECIDED:
        log.info("payment.late", payment_id=str(payment_id), answer=applied.answer.value)
    return applied.answer


class Settlements:
    """Settles what callbacks bring, together with whatever arrives while a transaction is under way."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[UUID, asyncio.Future[Settlement]] = {}
        self._sender: asyncio.Task[None] | None = None

    async def settle(self, order_id: UUID) -> Settlement:
        """What became of a captured order. Raises what the database raises; the sweep then does it later."""
        future = self._waiting.get(order_id)
        if future is None:
            future = self._waiting[order_id] = asyncio.get_running_loop().create_future()
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())
        return await asyncio.shield(future)

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch = {one: self._waiting.pop(one) for one in list(self._waiting)[:BATCH_MAX]}
                try:
                    settled = await settle_each(self._database, list(batch))
                except Exception as error:  # noqa: BLE001 each caller gets it, none waits for ever
                    for future in batch.values():
                        future.set_exception(error)
                    continue
                for order_id, future in batch.items():
                    future.set_result(settled.get(order_id, Settlement.ALREADY))
        finally:
            self._sender = None
