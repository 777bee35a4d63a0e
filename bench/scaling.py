"""The examples of ``docs/scaling.md``: what ``stampede plan`` really says, from a calibration.

    python -m bench.scaling data/calibration.json

The prose stays; what stands between the page's marks is replaced.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.crowd import Crowd, nowhere
from bench.document import regenerate
from stack.calibration import Calibration, read_calibration
from stack.state import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "scaling.md"
EXAMPLES = {
    "small": "--attempts 20000 --in 60 --stock 500",
    "middle": "--attempts 500000 --in 60 --stock 2000",
    "large": "--attempts 20000000 --in 60 --stock 100000 --cores-per-host 16 --throttle-rate 20000 "
    "--throttle-burst 50000",
    "ten-million": "--attempts 600000000 --in 60 --stock 1000000 --peak 1 --cores-per-host 64 --sales 10 "
    "--throttle-rate 20000 --throttle-burst 50000",
    "drawn": "--attempts 5000000 --shoppers 5000000 --in 60 --stock 1000000 --peak 1 --cores-per-host 64 --sales 10 "
    "--throttle-rate 20000 --throttle-burst 50000",
}
_WIDTH = 118


def plan(arguments: str, calibration: Path) -> str:
    """What the command prints."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "stack.cli", "plan", *arguments.split(), "--calibration", str(calibration)],
        cwd=PROJECT_ROOT,
        env={**os.environ, "COLUMNS": str(_WIDTH), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def sections(calibration: Path) -> dict[str, str]:
    """Everything that stands between marks."""
    read = read_calibration(calibration)
    made = {
        name: f"```\n$ stampede plan {arguments}\n{_trimmed(plan(arguments, calibration))}\n```"
        for name, arguments in EXAMPLES.items()
    }
    ten = json.loads(plan(f"{EXAMPLES['ten-million']} --json", calibration))
    return {"run": _run(read), "prices": _prices(read), **made, "arithmetic": _arithmetic(ten, read)}


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def _run(read: Calibration) -> str:
    about = read.machine
    dirty = " with changes" if read.document["dirty"] else ""
    return (
        f"Measured {read.at:%d %B %Y}, commit `{read.commit}`{dirty}, {read.document['rounds']} rounds, "
        f"on {about['cores']} cores of {about['processor']}, {about['gate store'].split(' ')[0]} as the gate store."
    )


def _prices(read: Calibration) -> str:
    rows = ["| work | figure | median | lowest – highest | unit |", "|---|---|---:|---:|---|"]
    for work, found in read.document["figures"].items():
        for name, figure in found.items():
            spread = f"{figure['lowest']:,.1f} – {figure['highest']:,.1f}"
            words = f"{work.replace('_', ' ')} | `{name}` | {figure['median']:,.1f} | {spread} | {figure['unit']}"
            rows.append(f"| {words} |")
    return "\n".join(rows)


def _arithmetic(ten: dict[str, Any], read: Calibration) -> str:
    """Ten million attempts a second, multiplied out."""
    prices = read.document["figures"]
    api_us, gate_us = (prices["sold_out"][name]["median"] for name in ("api_us", "gate_us"))
    proxied_us = prices["proxied"]["edge_us"]["median"]
    edge_us = prices["sold_out_link"]["edge_us"]["median"]
    sold_us = sum(figure["median"] for name, figure in prices["sold"].items() if name.endswith("_us"))
    per_s, units = round(ten["rush"]["attempts"] / ten["rush"]["in_s"]), ten["rush"]["stock"]
    crowd = Crowd("x" * 32)
    request_bytes = len(crowd.attempts([nowhere()], crowd.shoppers(1)).requests[0])
    rows = [
        ("refused by the script, API process", per_s * api_us / 1e6, f"10 M × {api_us:.1f} µs"),
        ("refused by the script, gate store", per_s * gate_us / 1e6, f"10 M × {gate_us:.1f} µs"),
        ("handed on by the edge", per_s * proxied_us / 1e6, f"10 M × {proxied_us:.1f} µs"),
        ("refused by the edge itself, instead of those three", per_s * edge_us / 1e6, f"10 M × {edge_us:.1f} µs"),
        (
            f"{units:,} units sold in the minute, everything but the edge",
            units / 60 * sold_us / 1e6,
            f"{units / 60:,.0f} × {sold_us:.1f} µs",
        ),
    ]
    lines = ["| each second | busy cores | from |", "|---|---:|---|"]
    lines += [f"| {what} | {cores:,.1f} | {how} |" for what, cores, how in rows]
    gigabits = per_s * request_bytes * 8 / 1e9
    network = f"A buy request of the page's is {request_bytes} bytes before TLS: {gigabits:,.0f} Gbit/s come in."
    return "\n".join([*lines, "", network])


def write_document(calibration: Path, page: Path = PAGE) -> None:
    """The page with its sections made anew."""
    page.write_text(regenerate(page.read_text(), sections(calibration)))


def main(argv: Sequence[str]) -> int:
    if len(argv) != 1:
        print("usage: python -m bench.scaling CALIBRATION", file=sys.stderr)
        return 2
    write_document(Path(argv[0]).absolute())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
