"""The gate: who gets a unit, decided in Redis by one script a batch, with its journal.

It knows Redis and nothing of HTTP, SQL or jobs.
"""

from backend.gate.admission import Admission, LaneAdmission, Overloaded
from backend.gate.gate import BATCH_MAX, RELEASES_MAX, Gate
from backend.gate.heartbeats import Heartbeat, Heartbeats
from backend.gate.identity import reservation_bytes, reservation_id
from backend.gate.journal import JournalBroken, JournalEntry, verify_chain
from backend.gate.keys import FIRST_LANE, LaneId, LaneKeys
from backend.gate.links import Link, is_genuine, issue_link, issue_link_bytes, parse_link
from backend.gate.outcomes import GateAnswer, JournalKind, Outcome
from backend.gate.rebuilding import (
    REBUILT,
    REFILL,
    REFILL_MAX,
    Claim,
    Rebuild,
    Surviving,
    rebuild_under_way,
    surviving_entries,
)
from backend.gate.tickets import TICKET_KEY_LABEL, Ticket, Tickets
from backend.gate.values import (
    Applied,
    Attempt,
    Batch,
    Decision,
    Durability,
    EntryId,
    LaneConfig,
    LaneEntry,
    LaneReading,
    Release,
    Retake,
    Throttle,
)
from backend.gate.views import LaneView, LaneViews
from backend.gate.wire import GateUnavailable

__all__ = [
    "BATCH_MAX",
    "FIRST_LANE",
    "REBUILT",
    "REFILL",
    "REFILL_MAX",
    "RELEASES_MAX",
    "TICKET_KEY_LABEL",
    "Admission",
    "Applied",
    "Attempt",
    "Batch",
    "Claim",
    "Decision",
    "Durability",
    "EntryId",
    "Gate",
    "GateAnswer",
    "GateUnavailable",
    "Heartbeat",
    "Heartbeats",
    "JournalBroken",
    "JournalEntry",
    "JournalKind",
    "LaneAdmission",
    "LaneConfig",
    "LaneEntry",
    "LaneId",
    "LaneKeys",
    "LaneReading",
    "LaneView",
    "LaneViews",
    "Link",
    "Outcome",
    "Overloaded",
    "Rebuild",
    "Release",
    "Retake",
    "Surviving",
    "Throttle",
    "Ticket",
    "Tickets",
    "is_genuine",
    "issue_link",
    "issue_link_bytes",
    "parse_link",
    "rebuild_under_way",
    "reservation_bytes",
    "reservation_id",
    "surviving_entries",
    "verify_chain",
]
