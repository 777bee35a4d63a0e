"""Taking a balance, and running every rule."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused
from backend.core.log import get_logger
from backend.gate import Gate
from backend.models import Database, ReconciliationRun, Sale, Verdict
from backend.reconciliation import repository
from backend.reconciliation.balance import Balance, LedgerSnapshot, compare, lanes_of
from backend.reconciliation.findings import Findings
from backend.reconciliation.rules import BALANCE_RULES, DUPLICATES_RULE, LEDGER_RULES

log = get_logger()

TRIGGER_CLOCK = "clock"
TRIGGER_OPERATOR = "operator"
TRIGGER_COMMAND_LINE = "command line"

TORN_TRIES = 3
TORN_PAUSE_S = 0.1
"""A rebuild between the two readings: the next try finds both sides of it, or a real fork."""
LIST_MAX = 100


@dataclass(slots=True)
class Examination:
    """One look at a sale: the balance, and what the rules found in the very same snapshot."""

    balance: Balance
    findings: list[Findings] = field(default_factory=list)
    over_allotment: int = 0
    terminal: bool = False
    """By the ledger's rows; meaningful only when the rules were asked."""

    @property
    def duplicates(self) -> int:
        return sum(found.total for found in self.findings if found.found and found.found[0].rule == DUPLICATES_RULE)

    @property
    def clean(self) -> bool:
        return not any(found.total for found in self.findings) and not self.over_allotment


async def balance(database: Database, gate: Gate, sale_id: UUID, *, sure: bool = False) -> Balance:
    """The equation of a sale, now. Cheap: two indexed reads and one script a lane. ``sure`` as in ``Gate.read``.

    Raises ``Refused`` NOT_FOUND, and ``GateUnavailable`` when the gate does not answer: an unknown figure is not
    a drift.
    """
    return (await _examine(database, gate, sale_id, rules=False, sure=sure)).balance


async def run(
    database: Database, gate: Gate, sale_id: UUID, *, trigger: str, operator_id: UUID | None = None
) -> ReconciliationRun:
    """Take the balance, ask every rule, and keep the result. Raises like ``balance``."""
    stored, _ = await examine_and_store(database, gate, sale_id, trigger=trigger, operator_id=operator_id)
    return stored


async def examine_and_store(
    database: Database, gate: Gate, sale_id: UUID, *, trigger: str, operator_id: UUID | None = None
) -> tuple[ReconciliationRun, Examination]:
    """A run with what it looked at."""
    seen = await _examine(database, gate, sale_id, rules=True, sure=True)
    stored = ReconciliationRun(
        sale_id=sale_id,
        trigger=trigger,
        operator_id=operator_id,
        verdict=Verdict.CLEAN if seen.clean else Verdict.FINDINGS,
        oversold=max(seen.balance.oversold, seen.over_allotment),
        stranded=seen.balance.stranded,
        drift=seen.balance.drift,
        duplicates=seen.duplicates,
        findings=[one for found in seen.findings for one in found.as_json()],
        balance=seen.balance.as_json(),
        started_at=seen.balance.snapshot.read_at,
    )
    async with database.transaction() as session:
        await repository.insert_run(session, stored)
    level = log.info if seen.clean else log.error
    level(
        "reconciliation.run",
        sale_id=str(sale_id),
        run_id=str(stored.id),
        trigger=trigger,
        verdict=stored.verdict.value,
        oversold=stored.oversold,
        stranded=stored.stranded,
        drift=stored.drift,
        duplicates=stored.duplicates,
        findings=sum(found.total for found in seen.findings),
    )
    return stored, seen


async def _examine(database: Database, gate: Gate, sale_id: UUID, *, rules: bool, sure: bool) -> Examination:
    """Ledger first, then gate; see ``backend.reconciliation.balance`` for why in this order."""
    for tries_left in reversed(range(TORN_TRIES)):
        async with database.transaction() as session:
            await repository.as_snapshot(session)
            ledger = await repository.snapshot(session, sale_id)
            if ledger is None:
                raise Refused(Code.NOT_FOUND)
            found, over, terminal = await _ask(session, sale_id) if rules else ([], 0, False)
        seen = Examination(await _read_gate(gate, ledger, sure=sure), found, over, terminal)
        if not seen.balance.torn or not tries_left:
            break
        await asyncio.sleep(TORN_PAUSE_S)
    if rules:
        seen.findings += [rule.check(seen.balance) for rule in BALANCE_RULES]
    return seen


async def _ask(session: AsyncSession, sale_id: UUID) -> tuple[list[Findings], int, bool]:
    found = [await rule.check(session, sale_id) for rule in LEDGER_RULES]
    over = await repository.units_over_allotment(session, sale_id)
    return found, over, await repository.terminal(session, sale_id)


async def _read_gate(gate: Gate, ledger: LedgerSnapshot, *, sure: bool) -> Balance:
    cursors = lanes_of(ledger.items)
    readings = await asyncio.gather(
        *(gate.read(cursor.lane_id, cursor=cursor.entry_id, sure=sure) for cursor in cursors)
    )
    return compare(ledger, {reading.lane_id: reading for reading in readings})


async def sale_of_merchant(session: AsyncSession, sale_id: UUID, merchant_id: UUID) -> Sale:
    """A merchant's own sale. Raises ``Refused`` NOT_FOUND, also for another's."""
    sale = await repository.sale_of_merchant(session, sale_id, merchant_id)
    if sale is None:
        raise Refused(Code.NOT_FOUND)
    return sale


async def sale_by_name(session: AsyncSession, name: str) -> Sale | None:
    """A sale by its slug, for the command line."""
    return await repository.sale_by_name(session, name)


async def run_of_merchant(session: AsyncSession, run_id: UUID, merchant_id: UUID) -> tuple[ReconciliationRun, Sale]:
    """A run of a merchant's own sale. Raises ``Refused`` NOT_FOUND."""
    found = await repository.run_of_merchant(session, run_id, merchant_id)
    if found is None:
        raise Refused(Code.NOT_FOUND)
    return found


async def recent_runs(session: AsyncSession, sale_id: UUID, *, before: datetime | None = None) -> Sequence[Any]:
    """The newest ``LIST_MAX`` runs of a sale that began before ``before``."""
    return await repository.recent_runs(session, sale_id, limit=LIST_MAX, before=before)
