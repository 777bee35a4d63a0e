"""What a benchmark consists of: a subject and its references, run in turn, and targets for their figures."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.world import World

ROUNDS, ROUNDS_QUICK = 5, 2


@dataclass(slots=True)
class Sample:
    """One run of one contestant."""

    figures: dict[str, float]
    """Units are in the names: ``api_us`` is CPU-µs a request, ``rate_per_s``, ``p50_ms``, ``rss_mb``."""
    answers: dict[str, int] = field(default_factory=dict)
    """By status and outcome: a rate of "sold out" is not a rate of sales."""
    faults: list[str] = field(default_factory=list)
    """Why the run does not count: something was oversold, stranded, lost, or not what was to be measured."""


class Contestant(ABC):
    """Something that is run once a round."""

    name: str

    async def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Before the first round."""

    @abstractmethod
    async def run(self) -> Sample:
        """One run, with its own check."""

    async def close(self) -> None:  # noqa: B027 - most need nothing
        """After the last round."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a figure of the subject, absolute or as a multiple of a reference's."""

    name: str
    figure: str
    bound: float
    at_least: bool = False
    reference: str | None = None
    """Whose figure it is divided by, within each round."""
    reference_figure: str | None = None
    """When it is not called the same there."""

    @property
    def text(self) -> str:
        """For tables: ``≤ 1.3 × bare ASGI POST``."""
        times = f" × {self.reference}" if self.reference else ""
        return f"{'≥' if self.at_least else '≤'} {self.bound:,g}{times}"

    def values(self, subject: Sequence[Sample], references: Sequence[Sample]) -> list[float]:
        """The figure of each round, or its ratio. A round in which either is void is left out."""
        found = []
        for at, sample in enumerate(subject):
            value = _figure(sample, self.figure)
            if self.reference is not None and value is not None:
                beside = _figure(references[at], self.reference_figure or self.figure) if at < len(references) else None
                value = value / beside if beside else None
            if value is not None:
                found.append(value)
        return found

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


def _figure(sample: Sample, name: str) -> float | None:
    return None if sample.faults else sample.figures.get(name)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question. ``contestants`` makes the subject first, then its references."""

    name: str
    title: str
    contestants: Callable[["World"], Sequence[Contestant]]
    targets: tuple[Target, ...] = ()
    rounds: int = ROUNDS
    rounds_quick: int = ROUNDS_QUICK
    note: str = ""
    """What a reader of the table must know: what a figure includes, what was scaled."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what came of it."""

    target: Target
    values: list[float]
    void: bool

    @property
    def value(self) -> float | None:
        return median(self.values) if self.values else None

    @property
    def met(self) -> bool:
        return not self.void and self.value is not None and self.target.is_met(self.value)

    @property
    def word(self) -> str:
        if self.void or self.value is None:
            return "void"
        return "met" if self.met else "missed"


@dataclass(slots=True)
class Outcome:
    """A scenario with all of its rounds."""

    scenario: Scenario
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    """By contestant, the subject first, one for each round."""
    error: str = ""
    """Why it could not be finished."""
    elapsed_s: float = 0.0

    @property
    def subject(self) -> list[Sample]:
        return next(iter(self.samples.values()), [])

    @property
    def faults(self) -> list[str]:
        """Of every run, subject and references alike."""
        found = [
            f"{name}, round {at}: {fault}"
            for name, samples in self.samples.items()
            for at, sample in enumerate(samples, 1)
            for fault in sample.faults
        ]
        return [*found, self.error] if self.error else found

    @property
    def verdicts(self) -> list[Verdict]:
        """One for each target. A subject with a void run has no verdict: what it sold too much made it faster."""
        void = bool(self.error) or any(sample.faults for sample in self.subject)
        return [
            Verdict(one, one.values(self.subject, self.samples.get(one.reference or "", [])), void)
            for one in self.scenario.targets
        ]
