"""What the platform gave up and a person decides about: dead letters, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from console import wording

_PAYLOAD_FIELDS = ("entry", "kind", "quantity", "left", "cause", "shopper", "at", "attempts")


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter as it is shown."""

    what: str
    meaning: str
    advice: str
    error: str
    facts: str
    """What it says of itself, on one line."""
    order: str
    """Id to look for among the orders, empty when it names none."""
    resend: str
    """Id of the message that can be sent again, empty when it is none."""


_WORDS: dict[str, tuple[str, str, str]] = {
    "journal": (
        "A journal entry that could not be applied",
        (
            "It was put aside, its neighbours went through, its units go back on sale, and its shopper is told that it "
            "came to nothing. Nothing is missing and nothing waits."
        ),
        "A fault of the platform: hand what stands here to whoever mends it, then say so.",
    ),
    "notification": (
        "A message that no try could deliver",
        "The order stands as it is; its shopper has not been told by this message.",
        "Correct the channel, or the contact, and send it again; or reach the shopper another way and say how.",
    ),
    "outbox": (
        "Units that could not be brought back to the gate",
        "They stay counted as on their way, and nobody can buy them.",
        "Run a reconciliation: its findings say which reservation they belong to. Then say what was done.",
    ),
}


def of(letter: Mapping[str, Any]) -> Letter:
    """The words for one dead letter (`{source, reference, error, payload}`)."""
    source = str(letter["source"])
    reference = str(letter["reference"])
    payload: Mapping[str, Any] = letter.get("payload") or {}
    what, meaning, advice = _WORDS.get(
        source,
        (
            f"Given up: {wording.kind(source).lower()}",
            "The platform could not do it, and does not try again.",
            "Look at what it says, settle it, then say what was done.",
        ),
    )
    facts = [f"reference {wording.plain(reference)}"]
    facts += [f"{name} {wording.said(payload[name])}" for name in _PAYLOAD_FIELDS if payload.get(name)]
    return Letter(
        what=what,
        meaning=meaning,
        advice=advice,
        error=wording.plain(letter.get("error", ""), 400),
        facts=" · ".join(facts),
        order=str(payload.get("cause", "")) if source == "journal" and payload.get("kind") == "reserve" else "",
        resend=reference if source == "notification" else "",
    )
