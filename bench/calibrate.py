"""``python -m bench.calibrate --out PATH [--rounds N] [--docs]``: this machine's prices, for ``stampede plan``.

The subjects are the benchmark's own, at its quick sizes and without the references, in interleaved rounds; the books
are checked after each run as there. ``--docs`` also writes the examples of ``docs/scaling.md`` from the result.

Exit status 0 when all runs were correct. Otherwise 1, and nothing is written.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import structlog
import uvloop

from bench import machine, scaling
from bench.contest import Contestant, Outcome, Sample, Scenario
from bench.crowd import ticket_request
from bench.platform import Platform
from bench.runner import run_scenario
from bench.scenarios import ALL
from bench.scenarios.buying import BoughtThroughEdge, sold_faults
from bench.scenarios.draining import Drained
from bench.scenarios.post import CONNECTIONS
from bench.shop import GENEROUS, Shop, Terms, gate_bytes
from bench.world import Size, World
from stack.calibration import DRAIN, MEMORY, PROXIED, SCHEMA
from stack.capacity import Work
from stack.cost import Cost
from stack.errors import StackError
from stack.files import write_private_json
from stack.load import closed_loop

ROUNDS = 3
"""Of about 18 s each, after 20 s of preparation."""
SOLD, DRAINED, TURNED_AWAY = 5_000, 8_000, 5_000
SOLD_OUT_LINK = "sold_out_link"
"""Beside the kinds of work: no second of a plan is priced by it, but docs/scaling.md is."""
# The benchmark's scenario whose subject is each kind of work.
_SCENARIOS: dict[str, str] = {
    Work.SOLD_OUT: "sold-out",
    Work.REPEAT: "repeat",
    Work.FORGED: "forged",
    Work.POLL: "ticket",
    Work.LINK: "link",
    Work.PAGE: "edge-page",
    Work.LOOK: "edge-state",
    SOLD_OUT_LINK: "edge-link",
}
UNITS = {"_us": "CPU-µs each", "_bytes": "bytes each", "_per_s": "a second"}


class Sold(Contestant):
    """Attempts on a sale of this round's own until the last order is committed; then each ticket is asked once."""

    name = "sold"

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self) -> Sample:
        world, shop = self._world, self._world.shop
        sale = await shop.opened(Terms(units=SOLD))
        attempts = world.crowd.attempts(sale.items, world.crowd.shoppers(SOLD))
        before = await gate_bytes(shop)
        with Cost(world.platform.pids) as cost:
            tally = await closed_loop(world.platform.api, attempts.requests, connections=CONNECTIONS, keep=True)
            await shop.drained(sale)
        figures = {f"{role}_us": us / SOLD for role, us in cost.us.items() if role not in ("clock", "edge")}
        figures["reservation_bytes"] = (await gate_bytes(shop) - before) / SOLD
        polls = [ticket_request(orjson.loads(one.body)["ticket"], attempts.shoppers[one.index]) for one in tally.kept]
        with Cost(world.platform.pids) as cost:
            asked = await closed_loop(world.platform.api, polls, connections=CONNECTIONS)
        figures |= {f"decided_{role}_us": cost.us[role] / SOLD for role in ("api", "gate", "postgres")}
        faults = await sold_faults(world, sale, attempts, tally, units=SOLD)
        if asked.count("confirmed") != SOLD:
            faults.append(f"tickets said {asked.by_name()}")
        await shop.end(sale)
        return Sample(figures, tally.by_name(), faults)


class Throttled(Contestant):
    """Shoppers of a sale of this round's own who reach its bucket and get nothing."""

    name = "throttled"

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self) -> Sample:
        world, shop = self._world, self._world.shop
        tiny = {**GENEROUS, "rate_per_s": 0.01, "burst": 1, "repeat_window_ms": 600_000}
        sale = await shop.opened(Terms(throttle=tiny))
        attempts = world.crowd.attempts(sale.items, world.crowd.shoppers(TURNED_AWAY))
        await shop.drained(sale)
        before = await gate_bytes(shop)
        with Cost(world.platform.pids) as cost:
            tally = await closed_loop(world.platform.api, attempts.requests, connections=CONNECTIONS, keep=True)
        figures = {f"{role}_us": cost.us[role] / TURNED_AWAY for role in ("api", "gate")}
        figures["shopper_bytes"] = (await gate_bytes(shop) - before) / TURNED_AWAY
        await shop.drained(sale)
        accepted = tally.accepted
        right = tally.count("THROTTLED") == TURNED_AWAY - accepted and accepted <= 1
        faults = [] if right else [f"answers were {tally.by_name()}"]
        promised = [attempts.reservations[one.index] for one in tally.kept]
        faults += await shop.faults(sale, sold=accepted, reservations=promised)
        await shop.end(sale)
        return Sample(figures, tally.by_name(), faults)


def subjects(world: World) -> dict[str, Contestant]:
    """By the name of the figures they make."""
    by_name = {one.name: one for one in ALL}
    found: dict[str, Contestant] = {Work.SOLD: Sold(world), Work.THROTTLED: Throttled(world)}
    for work, scenario in _SCENARIOS.items():
        found[work] = by_name[scenario].contestants(world)[0]  # the subject comes first
    found[DRAIN] = Drained(world, DRAINED)
    found[PROXIED] = BoughtThroughEdge(world, SOLD, name="proxied")
    for name, contestant in found.items():
        contestant.name = name.replace("_", " ")
    return found


def figures(samples: dict[str, list[Sample]]) -> dict[str, dict[str, Any]]:
    """Median and spread of every figure, grouped as ``stack.calibration`` reads them."""
    found: dict[str, dict[str, Any]] = {}
    for contestant, rounds in samples.items():
        for name in dict.fromkeys(name for one in rounds for name in one.figures):
            # A drain that was over at the first look has no rate in that round.
            values = [one.figures[name] for one in rounds if name in one.figures]
            unit = next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), None)
            if unit is None or name in ("sold_us", "rate_per_s", "per_cpu_s"):
                continue
            group, figure = contestant.replace(" ", "_"), name
            if name.endswith("_bytes"):
                group = MEMORY
            elif name.startswith("decided_"):
                group, figure = Work.DECIDED, name.removeprefix("decided_")
            found.setdefault(group, {})[figure] = {
                "unit": unit,
                "median": round(median(values), 3),
                "lowest": round(min(values), 3),
                "highest": round(max(values), 3),
            }
    return found


def document(outcome: Outcome, rounds: int) -> dict[str, Any]:
    """What is written."""
    commit, dirty = machine.commit()
    return {
        "schema": SCHEMA,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": dirty,
        "rounds": rounds,
        "machine": machine.facts(),
        "figures": figures(outcome.samples),
    }


async def _measure(platform: Platform, rounds: int, folder: Path) -> Outcome:
    shop = Shop(platform)
    world = World(shop, folder, Size(quick=True, rounds=rounds))
    scenario = Scenario("calibration", "What this machine takes", lambda world: list(subjects(world).values()))
    try:
        await shop.open()
        print("sales are made and stocked …", flush=True)
        return await run_scenario(scenario, world, lambda line: print(line, flush=True))
    finally:
        await world.close()
        await shop.close()


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.calibrate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--docs", action="store_true", help="write the examples of docs/scaling.md too")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = _arguments(argv)
    # The audits of the checks say that all is well, a line each.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    began_s = time.monotonic()
    print("the platform starts in a temporary folder …", flush=True)
    with tempfile.TemporaryDirectory(prefix="stampede-calibrate-") as name:
        folder = Path(name)
        platform = Platform(folder / "platform")
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                outcome = runner.run(platform.run(lambda: _measure(platform, options.rounds, folder / "references")))
        except StackError as error:
            print(f"calibrate: {error}", file=sys.stderr)
            return 1
    if not conclude(outcome, options.out, options.rounds):
        return 1
    print(f"written: {options.out} (after {time.monotonic() - began_s:.0f} s)", flush=True)
    if options.docs:
        scaling.write_document(options.out)
        print(f"written: {scaling.PAGE}", flush=True)
    return 0


def conclude(outcome: Outcome | None, path: Path, rounds: int) -> bool:
    """Write the file; False, with the reason on standard error, when the run was stopped or is void."""
    if outcome is None:
        print("calibrate: stopped; nothing is written", file=sys.stderr)
        return False
    if outcome.faults:
        print("calibrate: void, nothing is written:", *outcome.faults, sep="\n  ", file=sys.stderr)
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private_json(path, document(outcome, rounds))
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
