"""What the three HTTP surfaces share: the process's state, and who is calling."""

from backend.api.access import (
    AnyOperator,
    Auditor,
    Editor,
    Owner,
    Session,
    SignedInShopper,
    State,
    bearer_token,
    shopper_of,
    shopper_scheme,
)
from backend.api.calls import AuditCalls, Calls, OwnerCalls, answered
from backend.api.passing import is_passing
from backend.api.state import AppState, open_state

__all__ = [
    "AnyOperator",
    "AppState",
    "AuditCalls",
    "Auditor",
    "Calls",
    "Editor",
    "Owner",
    "OwnerCalls",
    "Session",
    "SignedInShopper",
    "State",
    "answered",
    "bearer_token",
    "is_passing",
    "open_state",
    "shopper_of",
    "shopper_scheme",
]
