"""Words and numbers as the console says them, and stored text made harmless."""

import re
import unicodedata
from typing import Any

# Everything Markdown, Streamlit's directives (:red[…], :material/…:, emoji short codes) and its LaTeX react to.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&@/])")

_LINKED = re.compile(r"www(?=\\)|\\@|\\:(?=\\/\\/)", re.IGNORECASE)

OUTCOME_GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "reserved": ("Reserved", ("RESERVED",)),
    "throttled": ("Throttled", ("THROTTLED",)),
    "repeated": ("Repeated", ("REPEATED", "REPLAYED")),
    "sold_out": ("Sold out", ("SOLD_OUT", "NOT_ENOUGH")),
    "link_refused": ("Link refused", ("LINK_REVOKED", "LINK_INVALID")),
    "other": ("Other", ()),
}
"""The groups of every chart and table, in their fixed order; outcomes named nowhere count as other."""

STATUS_WORDS = {
    "draft": "Draft", "scheduled": "Scheduled", "live": "Live", "paused": "Paused",
    "ended": "Ended", "reconciled": "Reconciled", "cancelled": "Cancelled",
}  # fmt: skip
FAULT_WORDS = {
    "regressed": "The gate has lost a part of its history.",
    "forked": "The gate's history is another one than the ledger has applied.",
    "drift": "Gate and ledger disagree on the units left.",
    "no_stock": "The gate promised units that the ledger does not have.",
    "poison": "An entry of the journal could not be applied.",
    "clock": "The gate's clock and the database's disagree.",
    "rebuild": "Its gate is being written anew from the ledger, because an operator asked for it.",
}
ROLE_WORDS = {"owner": "Owner", "operator": "Operator", "auditor": "Auditor"}


def plain(text: object, limit: int = 200) -> str:
    """Stored text as one visible line: control and invisible formatting characters show as "�".

    Direction overrides and zero-width characters can make one name look like another, so they are
    shown, not obeyed.
    """
    line = "".join(
        " " if c in "\n\r\t" else "�" if unicodedata.category(c) in {"Cc", "Cf", "Co", "Cs"} else c for c in str(text)
    )
    return line if len(line) <= limit else line[: limit - 1] + "…"


def literal(text: object, limit: int = 200) -> str:
    """Stored text for a Markdown label or body, shown as typed.

    Streamlit renders Markdown in labels; an image in a product's name would make every operator's
    browser call the host it names. Each special character is escaped. Addresses are made links
    after the escapes are gone, so a word joiner (no width) goes where they would be recognised.
    """
    escaped = _MARKDOWN.sub(r"\\\1", plain(text, limit))
    return _LINKED.sub("\\g<0>\u2060", escaped)


def outcome_group(outcome: str) -> str:
    """The group an outcome of the gate is shown under."""
    for group, (_, outcomes) in OUTCOME_GROUPS.items():
        if outcome in outcomes:
            return group
    return "other"


def count(number: float) -> str:
    """A number with thousands separated: 8,412."""
    return f"{number:,.0f}"


def number_of(number: int, one: str, more: str) -> str:
    """A number with its noun: "1 try", "3 tries"."""
    return f"{count(number)} {one if number == 1 else more}"


def figure(number: float) -> str:
    """A number that may have a fraction, with no more digits than it needs: 500, 0.5."""
    return f"{number:,.10g}"


def status(value: str) -> str:
    """A sale's status as a word."""
    return STATUS_WORDS.get(value, value.replace("_", " ").capitalize())


def fault(value: str) -> str:
    """Why the platform stopped a sale, as a sentence."""
    return FAULT_WORDS.get(value, f"Reason: {literal(kind(value))}.")


def kind(value: str) -> str:
    """A stored kind ("sale.rotate-links", "fault.drift") as words; that a sale is meant goes without saying."""
    return plain(re.sub(r"[-_.]", " ", value.removeprefix("sale."))).capitalize()


def sentence(words: str) -> str:
    """Words as a sentence: a capital in front, a full stop behind; nothing stays nothing."""
    return f"{words[0].upper()}{words[1:]}." if words else ""


def said(value: Any) -> str:
    """A stored value of any shape (before, after, fault) as one line for a table cell."""
    if value in (None, "", {}, []):
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {said(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(said(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return figure(value)
    return plain(value)


def duration(seconds: float) -> str:
    """A span as two units at most: "41:07", "3 h 05 min", "4 days 2 h"."""
    whole = max(0, round(seconds))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days} day{'s' if days > 1 else ''} {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes}:{secs:02d}"


def ago(seconds: float) -> str:
    """How long ago, to the second for the first minute."""
    return f"{max(0, seconds):.0f} s ago" if seconds < 60 else f"{duration(seconds)} ago"


def lag(milliseconds: float | None) -> str:
    """A short delay: "84 ms", "1.4 s"; a dash when it is not known."""
    if milliseconds is None:
        return "–"
    return f"{milliseconds:.0f} ms" if milliseconds < 1_000 else f"{milliseconds / 1_000:.3g} s"


def share(part: float, whole: float) -> str:
    """A share in whole per cent, rounded down so that 100 % means all."""
    return f"{int(100 * part / whole)} %" if whole else "–"
