"""The scaling ladder: which rung a plan stands on, by its limits (docs/scaling.md explains each).

A rung's trigger is a measured quantity over its bound. Sentinel's is not one of load: it is for a host that is lost.
"""

from dataclasses import dataclass
from enum import IntEnum

from stack.capacity import API, API_PROCESSES_MIN, BACKLOG, GATE_THREAD, HOST, LEDGER, Plan

FLEET_CORES = 1_000
"""API cores in the busiest second, most of which only say no, above which saying no must become cheaper. A judgement:
a fleet of sixty 16-core hosts for one second is where renting more stops being the easy answer."""


class Rung(IntEnum):
    """From the bottom; a higher one keeps what the lower ones changed."""

    ONE_HOST = 1
    API_PROCESSES = 2
    OWN_HOSTS = 3
    SENTINEL = 4
    LANES = 5
    PARTITIONED_ORDERS = 6
    REFUSE_AT_THE_EDGE = 7


@dataclass(frozen=True, slots=True)
class Step:
    """A rung in words."""

    title: str
    trigger: str
    built: str
    """What of it this code has."""


STEPS = {
    Rung.ONE_HOST: Step("one host", "none, everything fits", "`stampede up` is this rung"),
    Rung.API_PROCESSES: Step(
        "more API processes on it",
        f"API processes needed > {API_PROCESSES_MIN}, while all roles together fit the host",
        "built: `stampede up --api-processes N`",
    ),
    Rung.OWN_HOSTS: Step(
        "own hosts for each kind of process",
        "busy cores of all roles > headroom × cores of one host",
        "built: every process is told by STAMPEDE_* where the others are",
    ),
    Rung.SENTINEL: Step(
        "a gate that survives its host (Sentinel)",
        "not load: attempts a second × seconds until a lost gate is back > what a sale may lose",
        "not built: the gate's connection takes the URL of one server",
    ),
    Rung.LANES: Step(
        "Cluster, with lanes for a hot item",
        "busy core of the gate's one thread > headroom",
        "not built: the gate takes no Cluster URL, and an item has one lane",
    ),
    Rung.PARTITIONED_ORDERS: Step(
        "partitioned orders",
        "backlog of a lane > its bound, or PostgreSQL's busy cores > headroom × cores of its host",
        "not built: there is one ledger",
    ),
    Rung.REFUSE_AT_THE_EDGE: Step(
        "most are refused before the API",
        f"API processes needed > {FLEET_CORES:,}",
        "not built, but for links of a sold-out item",
    ),
}


@dataclass(frozen=True, slots=True)
class Climb:
    """Where a plan stands."""

    rung: Rung
    """The highest that is needed."""
    fired: tuple[Rung, ...]
    """All whose trigger has fired, in order; the rungs between them are not needed for the load."""

    @property
    def next(self) -> Rung | None:
        """The one above."""
        return Rung(self.rung + 1) if self.rung < max(Rung) else None


def climb(plan: Plan) -> Climb:
    """Which rungs the plan's figures ask for."""
    used = {name: limit.used for name, limit in plan.by_name.items()}
    triggers = {
        Rung.API_PROCESSES: used[HOST] <= 1 and plan.roles[API].processes > API_PROCESSES_MIN,
        Rung.OWN_HOSTS: used[HOST] > 1,
        Rung.LANES: used[GATE_THREAD] > 1,
        Rung.PARTITIONED_ORDERS: used[BACKLOG] > 1 or used[LEDGER] > 1,
        Rung.REFUSE_AT_THE_EDGE: plan.roles[API].processes > FLEET_CORES,
    }
    fired = tuple(rung for rung, has in triggers.items() if has)
    return Climb(max(fired, default=Rung.ONE_HOST), fired)
