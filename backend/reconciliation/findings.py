"""What a rule found: words, ids and numbers, never more than a person can work through."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FINDINGS_MAX = 1_000
"""Of one rule in one run. A broken rule can break for every order at once; the count says so, the list need not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule does not hold."""

    rule: str
    message: str
    """A sentence for a person."""
    ids: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "message": self.message,
            "ids": dict(self.ids),
            "numbers": dict(self.numbers),
        }


@dataclass(frozen=True, slots=True)
class Findings:
    """All of one rule: at most ``FINDINGS_MAX``, and how many there really are."""

    found: Sequence[Finding] = ()
    total: int = 0

    def as_json(self) -> list[dict[str, Any]]:
        listed = [finding.as_json() for finding in self.found[:FINDINGS_MAX]]
        more = self.total - len(listed)
        if more > 0:
            rule = self.found[0].rule
            listed.append(Finding(rule, f"… and {more} more.", numbers={"more": more}).as_json())
        return listed
