"""How each dependency does, in words: what it means for shoppers, and what whoever runs the platform does about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from console import wording

Level = Literal["good", "warn", "bad", "unknown"]

NAMES = {
    "database": "Ledger",
    "gate": "Gate",
    "broker": "Broker",
    "workers": "Workers",
    "clock": "Clock",
}
"""In the order in which they are shown; what is named nowhere comes behind."""

_LEVELS: dict[str, Level] = {"up": "good", "slow": "warn", "down": "bad"}
_STATE_WORDS: dict[Level, str] = {"good": "", "warn": "slow", "bad": "down", "unknown": "not known"}

# docs/operations.md has the longer words for each.
_MEANINGS: dict[tuple[str, Level], tuple[str, str]] = {
    ("database", "warn"): (
        "The ledger answers slowly.",
        "Buys go on; orders come later. Look for a long lock or a full disk on PostgreSQL's host.",
    ),
    ("database", "bad"): (
        "The ledger does not answer.",
        (
            "Buys go on until the bound of the backlog, and tickets say “queued”. Look at PostgreSQL: its process, log "
            "and disk. The drain goes on by itself when it is back."
        ),
    ),
    ("gate", "warn"): (
        "The gate answers slowly.",
        (
            "Shoppers wait for their answer. Look at the store's disk and at its host. A lower throttle does not help: "
            "refusals pass the gate too."
        ),
    ),
    ("gate", "bad"): (
        "The gate store does not answer: nobody can buy until it does.",
        (
            "Pages, countdowns and orders stay. Look at its process, log and disk. The sale goes on by itself when it "
            "is back."
        ),
    ),
    ("broker", "warn"): (
        "The job broker takes work slowly.",
        "Buys do not need it. Orders, ends of holds and mail come later.",
    ),
    ("broker", "bad"): (
        "The job broker takes no work.",
        (
            "Buys do not need it. Orders, ends of holds and mail wait, and nothing is lost. RabbitMQ in a memory or "
            "disk alarm refuses like this: give it room."
        ),
    ),
    ("workers", "warn"): (
        "The workers are slow to take their jobs.",
        (
            "Accepted attempts wait for their order, and holds end late; nothing is lost. Look at what the workers "
            "log: one long job may hold their threads."
        ),
    ),
    ("workers", "bad"): (
        "No worker is at work.",
        (
            "Accepted attempts wait in the journal, holds do not end, and no mail goes out. Nothing is lost. Start the "
            "workers again; they catch up by themselves."
        ),
    ),
    ("clock", "warn"): (
        "The clock is late.",
        "Holds end late, and the page's figures age. The sale still opens and closes by its stored times.",
    ),
    ("clock", "bad"): (
        "The clock does not tick.",
        (
            "Holds do not end, and drains and mail are not started. The sale still opens and closes by its stored "
            "times. Start the clock again; two of them are harmless."
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Dependency:
    """One dependency as it is shown: `meaning` and `advice` are empty while all is well."""

    name: str
    level: Level
    state: str
    """Empty while all is well, for then the dot and the name say enough."""
    meaning: str = ""
    advice: str = ""


def dependency(name: str, state: Any) -> Dependency:
    """The words for one dependency; a state of no known name is not called well."""
    level = _LEVELS.get(str(state).lower(), "unknown")
    label = NAMES.get(name) or wording.plain(wording.kind(name), 40)
    meaning, advice = _MEANINGS.get((name, level), ("", ""))
    if level != "good" and not meaning:
        meaning = f"{label}: {_STATE_WORDS[level]}."
        advice = (
            "What would know it does not answer. See to the others first."
            if level == "unknown"
            else "Look at its process and its log."
        )
    return Dependency(label, level, _STATE_WORDS[level], meaning, advice)


def all_of(dependencies: Mapping[str, Any]) -> list[Dependency]:
    """Every dependency that the API names, in a fixed order."""
    order = list(NAMES)
    named = sorted(dependencies, key=lambda name: (order.index(name) if name in order else len(order), name))
    return [dependency(name, dependencies[name]) for name in named]


def complaints(found: list[Dependency]) -> list[Dependency]:
    """What is down, then what is slow: each costs somebody something. What is not known has a dot alone."""
    return [one for level in ("bad", "warn") for one in found if one.level == level]
