"""A run as one JSON document: every raw round, and what came of it. Tables, plots and pages are made from this."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.contest import Outcome, Sample, Verdict

RESULTS = Path(__file__).parent / "results"
Record = dict[str, Any]


def make_record(
    outcomes: Sequence[Outcome], *, machine: dict[str, str], commit: str, dirty: bool, quick: bool, at: datetime
) -> Record:
    """The document."""
    verdicts = [verdict for outcome in outcomes for verdict in outcome.verdicts]
    missed = [verdict.target.name for verdict in verdicts if not verdict.met]
    return {
        "at": at.isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": dirty,
        "quick": quick,
        "machine": machine,
        "targets": {"met": len(verdicts) - len(missed), "of": len(verdicts), "missed": missed},
        "scenarios": [_scenario(outcome) for outcome in outcomes],
    }


def _scenario(outcome: Outcome) -> Record:
    return {
        "name": outcome.scenario.name,
        "title": outcome.scenario.title,
        "note": outcome.scenario.note,
        "elapsed_s": round(outcome.elapsed_s, 1),
        "faults": outcome.faults,
        "targets": [_verdict(one) for one in outcome.verdicts],
        "contestants": [
            {"name": name, "figures": _figures(samples), "rounds": [asdict(sample) for sample in samples]}
            for name, samples in outcome.samples.items()
        ],
    }


def _verdict(verdict: Verdict) -> Record:
    return {
        "name": verdict.target.name,
        "bound": verdict.target.text,
        "values": verdict.values,
        "median": verdict.value,
        "verdict": verdict.word,
    }


def _figures(samples: Sequence[Sample]) -> dict[str, Record]:
    """Medians and spread of every figure; void rounds are left out."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        if not sample.faults:
            for name, value in sample.figures.items():
                values.setdefault(name, []).append(value)
    return {
        name: {"median": median(found), "lowest": min(found), "highest": max(found)} for name, found in values.items()
    }


def last_line(record: Record) -> str:
    """``targets met: 14 of 19; missed: ledger rate, …``"""
    targets = record["targets"]
    line = f"targets met: {targets['met']} of {targets['of']}"
    return f"{line}; missed: {', '.join(targets['missed'])}" if targets["missed"] else line


def write_record(record: Record, *, partial: bool, folder: Path = RESULTS) -> Path:
    """``<date>-<commit>.json``, with ``-dirty``, ``-partial`` and ``-quick`` where they apply."""
    marks = (("dirty", record["dirty"]), ("partial", partial), ("quick", record["quick"]))
    suffix = "".join(f"-{word}" for word, applies in marks if applies)
    path = folder / f"{record['at'][:10]}-{record['commit']}{suffix}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path
