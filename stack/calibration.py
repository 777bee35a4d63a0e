"""The file that ``stampede calibrate`` writes and ``stampede plan`` reads: prices of one machine, with their spread."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stack.capacity import ROLES, Prices, Work
from stack.errors import StackError
from stack.files import read_json
from stack.state import PROJECT_ROOT

SCHEMA = 1
FILE = "calibration.json"
PROXIED, DRAIN, MEMORY = "proxied", "drain", "memory"
"""Beside the kinds of work: a request that the edge hands on, the drain alone, the gate's memory."""
# What another machine differs in; versions of servers differ too, but then the commit mostly does.
_MACHINE = ("processor", "cores", "system")


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration as read from its file."""

    prices: Prices
    at: datetime
    commit: str
    machine: dict[str, str]
    document: dict[str, Any]

    @property
    def cores(self) -> int:
        """Of the machine that was measured."""
        return int(self.machine["cores"])


def read_calibration(path: Path) -> Calibration:
    """Raises StackError, saying what to do, when there is none or it is not one of ours."""
    try:
        document = read_json(path, default=None)
    except (OSError, ValueError) as error:
        raise StackError(f"{path} cannot be read ({error}): run `stampede calibrate` again") from None
    if document is None:
        raise StackError(f"there is no calibration in {path}: run `stampede calibrate` first (about one minute)")
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise StackError(f"{path} has schema {schema}, this version reads {SCHEMA}: run `stampede calibrate` again")
    try:
        return Calibration(
            prices=_prices(document["figures"]),
            at=datetime.fromisoformat(document["at"]),
            commit=document["commit"],
            machine=document["machine"],
            document=document,
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise StackError(f"{path} is incomplete ({what}): run `stampede calibrate` again") from None


def _prices(figures: dict[str, Any]) -> Prices:
    def median(of: str, name: str) -> float:
        # A tick of the background less than in the moment before: some prices are so small that they come out below 0.
        return max(0.0, float(figures[of][name]["median"]))

    us = {work: {role: median(work, f"{role}_us") for role in ROLES if f"{role}_us" in figures[work]} for work in Work}
    orders_per_s = median(DRAIN, "orders_per_s")
    if orders_per_s <= 0:
        raise ValueError("the drain's rate is 0")
    return Prices(
        us=us,
        proxied_us=median(PROXIED, "edge_us"),
        orders_per_s=orders_per_s,
        reservation_bytes=median(MEMORY, "reservation_bytes"),
        shopper_bytes=median(MEMORY, "shopper_bytes"),
    )


def differences(calibration: Calibration) -> list[str]:
    """How this machine and this checkout differ from those of the calibration: sentences for a warning."""
    found = []
    here = machine_here()
    for name in _MACHINE:
        then = calibration.machine.get(name, "unknown")
        if then != here[name]:
            found.append(f"it is another machine's: {name} was {then}, here it is {here[name]}")
    commit = commit_here()
    if commit and calibration.commit != commit:
        found.append(f"it is of commit {calibration.commit}, this is {commit}")
    return found


def machine_here() -> dict[str, str]:
    """What tells one machine from another."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
    }


def commit_here() -> str:
    """The short commit of this checkout, empty outside of one."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=10", "HEAD"],  # noqa: S607 - whichever git there is
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
