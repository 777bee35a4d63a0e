"""What the gate's scripts can answer. The spelling is the one on the wire and in the scripts."""

from enum import StrEnum


class Outcome(StrEnum):
    """The answer to one attempt, in the order in which the script checks."""

    REPLAYED = "REPLAYED"
    KEY_REUSED = "KEY_REUSED"
    NOT_LOADED = "NOT_LOADED"
    REGRESSED = "REGRESSED"
    STALE_GENERATION = "STALE_GENERATION"
    LINK_INVALID = "LINK_INVALID"
    """An expired or retired own link that holds no ticket. (A forged one never reaches the script.) After the
    three above: a gate that has lost its claims cannot know that there is no ticket, and must not say so."""
    PAUSED = "PAUSED"
    LINK_REVOKED = "LINK_REVOKED"
    NOT_OPEN = "NOT_OPEN"
    ENDED = "ENDED"
    LIMIT_REACHED = "LIMIT_REACHED"
    REPEATED = "REPEATED"
    SOLD_OUT = "SOLD_OUT"
    NOT_ENOUGH = "NOT_ENOUGH"
    BACKLOG = "BACKLOG"
    THROTTLED = "THROTTLED"
    RESERVED = "RESERVED"


class GateAnswer(StrEnum):
    """The answer of a script that loads, gives back, adjusts or configures."""

    DONE = "DONE"
    ALREADY = "ALREADY"
    """The same cause was applied before; nothing changed now."""
    NOT_LOADED = "NOT_LOADED"
    STALE_GENERATION = "STALE_GENERATION"
    STALE_CONFIG = "STALE_CONFIG"
    """A newer configuration is in force."""
    NOT_HELD = "NOT_HELD"
    """No live claim holds that journal entry."""
    NOT_ENOUGH = "NOT_ENOUGH"
    """A reduction or a retake beyond what is available, or a release above the allotment."""
    PAUSED = "PAUSED"
    """A fault stops the lane: nothing is decided until somebody has dealt with it."""
    ENDED = "ENDED"
    LIMIT_REACHED = "LIMIT_REACHED"
    CONFLICT = "CONFLICT"
    """The lane holds something else than the caller means: another load, journal or claims."""


class JournalKind(StrEnum):
    """Kinds of journal entries. Each changes the lane's available units."""

    LOAD = "load"
    RESERVE = "reserve"
    RELEASE = "release"
    RETAKE = "retake"
    ADJUST = "adjust"
