"""The file that ``stampede calibrate`` writes and ``stampede plan`` reads: prices of one machine, with their spread."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stack import machine
from stack.capacity import ROLES, Prices, Work
from stack.errors import StackError
from stack.files import read_json

SCHEMA = 1
FILE = "calibration.json"
PROXIED, DRAIN, MEMORY = "proxied", "drain", "memory"
"""Beside the kinds of work: a request that the edge hands on, the drain alone, the gate's memory."""


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
    # Versions of servers differ too, but then the commit mostly does.
    for name, here in machine.identity().items():
        then = calibration.machine.get(name, "unknown")
        if then != here:
            found.append(f"it is another machine's: {name} was {then}, here it is {here}")
    commit = machine.commit()
    if commit and calibration.commit != commit:
        found.append(f"it is of commit {calibration.commit}, this is {commit}")
    return found
