"""``python -m tests.faults [--ci | --long] [--only NAME …] [--seeds N] [--repeat NAME:SEED] [--list]``.

A line a drill, and at the end ``drills: N, oversold 0, stranded 0, undecided 0``. Exit status 0 only when every drill
passed and every broken product was found out; 130 when a signal ended the run.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import structlog

from tests.faults.broken import BROKEN
from tests.faults.catalogue import DRILLS
from tests.faults.drill import Result, forget
from tests.faults.mounts import enter_namespace
from tests.faults.report import write_document, write_results
from tests.faults.runner import Interrupted, Runner, Turn

LONG_SEEDS = 20
_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    size = options.add_mutually_exclusive_group()
    size.add_argument("--ci", action="store_true", help="the size of CI (default)")
    size.add_argument("--long", action="store_true", help=f"every drill, {LONG_SEEDS} seeds each, longer faults")
    options.add_argument("--only", action="append", metavar="NAME", help="drills by name or pattern, one seed each")
    options.add_argument("--seeds", type=int, metavar="N", help="so many seeds each")
    options.add_argument("--repeat", metavar="NAME:SEED", help="one drill under one seed")
    options.add_argument("--controls", action="store_true", help="the broken products alone")
    options.add_argument("--list", action="store_true", help="name every drill and end")
    options.add_argument("--folder", type=Path, help="where platforms live (default: a temporary folder)")
    return options


def choose(options: argparse.Namespace) -> list[Turn]:
    """The turns that the options ask for. Raises SystemExit for names that no drill has."""
    if options.repeat:
        name, _, seed = options.repeat.rpartition(":")
        if name not in DRILLS or not seed.isdecimal():
            raise SystemExit(f"--repeat {options.repeat}: write NAME:SEED with a name of --list")
        return [Turn(DRILLS[name], int(seed))]
    if options.only:
        found = [drill for drill in DRILLS.values() if any(fnmatch(drill.name, one) for one in options.only)]
        if not found:
            raise SystemExit(f"no drill is called {' or '.join(options.only)}: see --list")
        return [Turn(drill, seed) for drill in found for seed in range(1, (options.seeds or 1) + 1)]
    seeds = {drill.name: LONG_SEEDS if options.long else drill.ci_seeds for drill in DRILLS.values()}
    if options.seeds:
        seeds = {name: min(count, 1) * options.seeds for name, count in seeds.items()}
    return [Turn(drill, seed) for drill in DRILLS.values() for seed in range(1, seeds[drill.name] + 1)]


def last_line(results: list[Result]) -> str:
    """What is read first."""
    figures = [f"{name} {sum(getattr(one.verdict, name) for one in results)}" for name in _FIGURES]
    return f"drills: {len(results)}, {', '.join(figures)}"


_FIGURES = ("oversold", "stranded", "undecided")


def say(line: str) -> None:
    """At once, also into a pipe."""
    print(line, flush=True)


def not_found_out(controls: dict[str, Result]) -> list[str]:
    """Broken products that the judge let pass."""
    missed = []
    for name, result in controls.items():
        figure = BROKEN[name].finds
        value = getattr(result.verdict, figure)
        say(f"      broken on purpose: {BROKEN[name].what}: {figure} {value}")
        if not value:
            missed.append(name)
    return missed


async def run(options: argparse.Namespace, folder: Path) -> int:
    """Drills, then the broken products, then the page."""
    partial = bool(options.only or options.repeat or options.controls)
    quiet = Runner(folder / "controls", long=False, say=lambda _: None)
    turns = [] if options.controls else choose(options)
    results = await Runner(folder, long=options.long, say=say).run(turns)
    controls = await quiet.controls() if options.controls or not partial else {}
    missed = not_found_out(controls)
    for name in missed:
        say(f"FAIL  the judge did not find out: {name}; data kept in {folder / 'controls'}")
    if not missed:
        forget(folder / "controls")
    if not partial:
        size = "long" if options.long else "ci"
        write_results(results, controls, size=size)
        write_document(results, controls, size=size)
    say(last_line(results))
    return 0 if not missed and all(one.passed for one in results) else 1


def main() -> int:
    options = parser().parse_args()
    if options.list:
        for drill in DRILLS.values():
            say(f"{drill.name:<24} {'ci ' if drill.ci_seeds else '   '} {drill.fault}")
        return 0
    enter_namespace("tests.faults")
    # The judge's own connections break with every fault; the platform's logs are in its folder.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = options.folder or Path(tempfile.mkdtemp(prefix="stampede-faults-"))
    try:
        status = asyncio.run(run(options, folder))
    except (Interrupted, KeyboardInterrupt):
        say("interrupted; nothing is left running")
        return _INTERRUPTED
    if status == 0 and options.folder is None:
        folder.rmdir() if not any(folder.iterdir()) else None
    return status


if __name__ == "__main__":
    sys.exit(main())
