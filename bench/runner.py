"""Rounds: subject, references, subject, references …, so that a slow minute of the machine meets them all."""

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from bench.contest import Contestant, Outcome, Scenario
from bench.world import World

Say = Callable[[str], None]


async def run_scenario(scenario: Scenario, world: World, say: Say) -> Outcome:
    """All rounds of one scenario. What goes wrong is kept in the outcome; the others are still to come."""
    outcome = Outcome(scenario)
    started_s = time.monotonic()
    try:
        contestants = scenario.contestants(world)
        outcome.samples = {one.name: [] for one in contestants}
        async with AsyncExitStack() as prepared:
            for one in contestants:
                await one.prepare()
                prepared.push_async_callback(one.close)
            await _rounds(contestants, world.size.rounds_of(scenario), outcome, say)
    except Exception as error:  # noqa: BLE001 - whatever it was, the other scenarios do not depend on it
        traceback.print_exc(file=sys.stderr)
        outcome.error = f"{type(error).__name__}: {error}"
    outcome.elapsed_s = time.monotonic() - started_s
    return outcome


async def _rounds(contestants: Sequence[Contestant], rounds: int, outcome: Outcome, say: Say) -> None:
    for number in range(1, rounds + 1):
        # Every other round backwards: who comes after whom must not decide.
        for one in contestants if number % 2 else reversed(contestants):
            sample = await one.run()
            outcome.samples[one.name].append(sample)
            figures = "  ".join(f"{name} {value:,.6g}" for name, value in sample.figures.items())
            say(f"  {number} {one.name:<24} {figures}{'  VOID: ' + '; '.join(sample.faults) if sample.faults else ''}")
