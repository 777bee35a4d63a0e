"""Both stores as they are, read past the proxies and past the API: what the judge goes by."""

import asyncio
import contextlib
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from backend.gate import Gate, GateUnavailable, LaneId, LaneReading
from tests.faults.platform import Platform

TIMEOUT_S = 2.0
_UNREADABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    GateUnavailable,
)
_LEDGER = """
    SELECT i.allotment, i.available, i.reserved, i.sold, s.fault, c.generation, coalesce(c.seq, -1) AS seq,
           (SELECT coalesce(sum(quantity), 0) FROM gate_outbox
            WHERE item_id = i.id AND status IN ('pending', 'refused')) AS pending,
           (SELECT count(*) FROM payments p JOIN orders o ON o.id = p.order_id
            WHERE o.item_id = i.id AND p.status = 'captured' AND p.settled_at IS NULL) AS unsettled
    FROM sale_items i JOIN sales s ON s.id = i.sale_id JOIN journal_cursors c ON c.item_id = i.id
    WHERE i.id = $1
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """One item's row, its cursor and what it still owes the gate."""

    allotment: int
    available: int
    reserved: int
    sold: int
    fault: str | None
    generation: int
    seq: int
    pending: int
    unsettled: int


@dataclass(frozen=True, slots=True)
class Page:
    """Both stores within some milliseconds, the ledger first."""

    ledger: Ledger
    gate: LaneReading

    @property
    def in_flight(self) -> int:
        """Journal entries that the ledger has not applied."""
        if not self.gate.loaded or self.gate.generation != self.ledger.generation:
            return -1
        return self.gate.seq - self.ledger.seq

    @property
    def balanced(self) -> bool:
        """Nothing stops the sale, all is applied, and both have the same units on offer."""
        return self.why_unbalanced() == ""

    def why_unbalanced(self) -> str:
        """What is in the way; empty when nothing is."""
        ledger, gate = self.ledger, self.gate
        if not gate.loaded:
            return "the gate has no stock loaded"
        if ledger.fault or gate.fault:
            return f"the sale is stopped by a fault: ledger {ledger.fault}, gate {gate.fault or None}"
        if gate.generation != ledger.generation:
            return f"the gate is at generation {gate.generation}, the ledger at {ledger.generation}"
        if self.in_flight:
            return f"{self.in_flight} entries are not applied"
        if ledger.available - ledger.pending != gate.available:
            return f"drift {gate.available - ledger.available + ledger.pending}"
        return ""

    def why_restless(self) -> str:
        """What is still under way; empty at rest."""
        if why := self.why_unbalanced():
            return why
        if self.ledger.pending:
            return f"{self.ledger.pending} units are on their way to the gate"
        if self.ledger.unsettled:
            return f"{self.ledger.unsettled} captured payments are not settled"
        return f"{self.ledger.reserved} units are held" if self.ledger.reserved else ""


class Books:
    """Reads; opens its connections again whenever a fault has taken them."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.gate = Gate.connect(platform.direct_env["STAMPEDE_GATE_URL"], timeout_s=TIMEOUT_S, name="judge")
        self._ledger: asyncpg.Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def close(self) -> None:
        """Close both."""
        await self.gate.close()
        if self._ledger is not None:
            self._ledger.terminate()

    async def rows(self, query: str, *values: object) -> list[asyncpg.Record]:
        """A query of the ledger as the superuser. Raises what asyncpg raises."""
        async with asyncio.timeout(10 * TIMEOUT_S), self._one_at_a_time:
            if self._ledger is None or self._ledger.is_closed():
                self._ledger = await self._platform.postgres.connect()
            try:
                return list(await self._ledger.fetch(query, *values))
            except BaseException:
                # Cancelled in the middle of an answer, or cut: whoever comes next begins anew.
                self._ledger.terminate()
                self._ledger = None
                raise

    async def page(self, item_id: UUID) -> Page | None:
        """Both readings; None when a store does not answer within ``TIMEOUT_S``."""
        with contextlib.suppress(*_UNREADABLE):
            async with asyncio.timeout(TIMEOUT_S):
                (row,) = await self.rows(_LEDGER, item_id)
                return Page(Ledger(**dict(row)), await self.gate.read(LaneId(item_id)))
        return None
