"""``docs/reliability.md`` and the results it is made from."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine
from stack.state import PROJECT_ROOT
from tests.faults.broken import BROKEN
from tests.faults.catalogue import DRILLS
from tests.faults.drill import Result

RESULTS = Path(__file__).parent / "results"
PAGE = PROJECT_ROOT / "docs" / "reliability.md"
TOLD_MAX = 5
_HEAD = (
    "fault", "drill", "times", "oversold", "stranded", "202s without a verdict", "`lost_in_failover`",
    "longest to a verdict", "longest unavailable", "recovered in", "seeds",
)  # fmt: skip


def write_results(results: Sequence[Result], controls: dict[str, Result], *, size: str) -> Path:
    """Every result as JSON, named by date, commit and size."""
    commit, dirty = machine.commit()
    at = datetime.now(UTC)
    record = {
        "at": at.isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": dirty,
        "size": size,
        "machine": machine.facts(),
        "drills": [asdict(one) for one in results],
        "controls": {name: asdict(one) for name, one in controls.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{at:%Y-%m-%d}-{commit}{'-dirty' if dirty else ''}-{size}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def write_document(results: Sequence[Result], controls: dict[str, Result], *, size: str, page: Path = PAGE) -> None:
    """The page, whole."""
    page.write_text(document(results, controls, size=size))


def document(results: Sequence[Result], controls: dict[str, Result], *, size: str) -> str:
    """The page's text."""
    commit, dirty = machine.commit()
    verdicts = [one.verdict for one in results]
    totals = ", ".join(
        f"{name} {sum(getattr(one, name) for one in verdicts)}" for name in ("oversold", "stranded", "undecided")
    )
    by_drill: dict[str, list[Result]] = defaultdict(list)
    for one in results:
        by_drill[one.drill].append(one)
    failed = [one for one in results if not one.passed]
    parts = [
        "# Reliability",
        _INTRODUCTION,
        (
            f"Commit `{commit}`{' with uncommitted changes' if dirty else ''}, "
            f"{datetime.now(UTC).isoformat(timespec='seconds')}, size `{size}`: "
            f"**drills: {len(results)}, {totals}**; {len(failed)} failed."
        ),
        "## Faults",
        _table(_HEAD, [_row(name, found) for name, found in by_drill.items()]),
        _COLUMNS,
    ]
    if failed:
        parts += ["## What failed", "\n".join(_failure(one) for one in failed)]
    parts += [
        "## What shoppers were told",
        "Answers to buys, the most frequent first. `202 REPLAYED`: a retry that found its ticket; `cut`: no answer.",
        _table(("drill", "answers"), [(f"`{name}`", _told(found)) for name, found in by_drill.items()]),
        "## Broken on purpose",
        "The same drills over a product with one guard taken out (`tests/faults/broken.py`): what the judge reported.",
        _table(
            ("broken part", "oversold", "stranded", "undecided"),
            [
                (
                    BROKEN[name].what,
                    *(str(getattr(one.verdict, figure)) for figure in ("oversold", "stranded", "undecided")),
                )
                for name, one in controls.items()
            ],
        ),
        "## Machine",
        _table(("", ""), machine.facts().items()),
    ]
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """\
Written by `make faults`; do not edit. Real processes on one machine (two API processes, two workers, two clocks, nginx,
PostgreSQL, the gate's store, a store for the broker) sell while one fault is injected. A witness writes down every
request and every answer; afterwards both stores are compared with it. Packets are dropped by a TCP proxy between the
processes (`tests/faults/proxy.py`), not by the kernel."""
_COLUMNS = """\
`times`: faults injected, over all seeds. Oversold, stranded and 202s without a verdict are sums over all seeds, the
times the worst of them. *Unavailable*: no buy got a 202 or one of the expected refusals, from the last good answer to
the next; a sale that is paused says so and counts as available. *Recovered*: from the end of the fault to the first
moment at which nothing stopped the sale, every journal entry was applied and both stores offered the same units.
`lost_in_failover`: reservations that went down with their store, each of them told so. Repeat one:
`make faults ARGS="--repeat DRILL:SEED"`."""


def _row(name: str, found: Sequence[Result]) -> tuple[str, ...]:
    recovered = [one.recovered_s for one in found]
    return (
        DRILLS[name].fault,
        f"`{name}`",
        str(sum(one.injected for one in found)),
        *(str(sum(getattr(one.verdict, figure) for one in found)) for figure in ("oversold", "stranded", "undecided")),
        str(sum(one.lost_in_failover for one in found)),
        f"{max(one.longest_verdict_s for one in found):.1f} s",
        f"{max(one.longest_unavailable_s for one in found):.1f} s",
        "never" if None in recovered else f"{max(one for one in recovered if one is not None):.1f} s",
        _seeds([one.seed for one in found]),
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"{min(seeds)}–{max(seeds)}" if len(seeds) > 1 else str(seeds[0])


def _told(found: Sequence[Result]) -> str:
    told: Counter[str] = Counter()
    for one in found:
        told.update(one.told)
    return ", ".join(f"{count} × `{answer}`" for answer, count in told.most_common(TOLD_MAX)) or "nothing"


def _failure(result: Result) -> str:
    return f"- `{result.drill}:{result.seed}`: {'; '.join(result.why[:5])}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)
