"""All scenarios, in the order of the table."""

from bench.contest import Scenario
from bench.scenarios import buying, draining, edge, growing, selling, timing, waiting

ALL: tuple[Scenario, ...] = (
    *buying.SCENARIOS,
    *selling.SCENARIOS,
    *draining.SCENARIOS,
    *waiting.SCENARIOS,
    *timing.SCENARIOS,
    *growing.SCENARIOS,
    *edge.SCENARIOS,
)
