"""``python -m bench [--quick] [--only NAME …] [--rounds N] [--docs]``: the table, and ``bench/results/``.

Exit status 0 when every run was correct (a missed target is a finding, not a failure), 1 when one was void.
"""

import argparse
import asyncio
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench import machine
from bench.contest import Outcome
from bench.document import write_document
from bench.platform import Platform
from bench.record import last_line, make_record, write_record
from bench.report import print_scenarios, print_targets
from bench.runner import run_scenario
from bench.scenarios import ALL
from bench.shop import Shop
from bench.world import Size, World
from stack.errors import StackError


def _arguments(argv: list[str]) -> argparse.Namespace:
    names = [one.name for one in ALL]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small and few: below five minutes")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"some of: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, help="instead of each scenario's own number")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md from a quick or partial run too")
    return parser.parse_args(argv)


async def _bench(platform: Platform, options: argparse.Namespace, folder: Path) -> list[Outcome]:
    shop = Shop(platform)
    world = World(shop, folder, Size(options.quick, options.rounds))
    outcomes = []
    try:
        await shop.open()
        for scenario in ALL:
            if options.only is None or scenario.name in options.only:
                print(f"{scenario.name}: {scenario.title}", flush=True)
                outcome = await run_scenario(scenario, world, lambda line: print(line, flush=True))
                outcomes.append(outcome)
    finally:
        await world.close()
        await shop.close()
    return outcomes


def main(argv: list[str]) -> int:
    options = _arguments(argv)
    with tempfile.TemporaryDirectory(prefix="stampede-bench-") as name:
        folder = Path(name)
        platform = Platform(folder / "platform")

        async def body() -> list[Outcome]:
            return await _bench(platform, options, folder / "references")

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                outcomes = runner.run(platform.run(body))
        except StackError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    if outcomes is None:
        return 1
    commit, dirty = machine.commit()
    record = make_record(
        outcomes, machine=machine.facts(), commit=commit, dirty=dirty, quick=options.quick, at=datetime.now(UTC)
    )
    print_scenarios(record)
    print_targets(record)
    partial = options.only is not None
    print(f"written: {write_record(record, partial=partial)}")
    if options.docs or not (options.quick or partial):
        write_document(record)
    print(last_line(record), flush=True)
    return 1 if any(outcome.faults for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
