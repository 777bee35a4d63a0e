"""Is every unit explained? Gate and ledger compared without stopping either, and invariants as running code."""

from backend.reconciliation.audit import AuditTick, audit_tick
from backend.reconciliation.balance import Balance, ItemBalance, LaneBalance, LaneState
from backend.reconciliation.findings import FINDINGS_MAX, Finding, Findings
from backend.reconciliation.ledger import entries as ledger_entries
from backend.reconciliation.rules import BALANCE_RULES, LEDGER_RULES
from backend.reconciliation.service import (
    TRIGGER_CLOCK,
    TRIGGER_COMMAND_LINE,
    TRIGGER_OPERATOR,
    balance,
    recent_runs,
    run,
    run_of_merchant,
    sale_by_name,
    sale_of_merchant,
)

__all__ = [
    "BALANCE_RULES",
    "FINDINGS_MAX",
    "LEDGER_RULES",
    "TRIGGER_CLOCK",
    "TRIGGER_COMMAND_LINE",
    "TRIGGER_OPERATOR",
    "AuditTick",
    "Balance",
    "Finding",
    "Findings",
    "ItemBalance",
    "LaneBalance",
    "LaneState",
    "audit_tick",
    "balance",
    "ledger_entries",
    "recent_runs",
    "run",
    "run_of_merchant",
    "sale_by_name",
    "sale_of_merchant",
]
