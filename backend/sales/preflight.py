"""What must be right before a sale can run, each as a check with what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backend.core.clock import from_ms
from backend.gate import Gate, GateUnavailable, LaneId, LaneReading
from backend.models import Database, Sale, SaleStage
from backend.sales import repository
from backend.sales.lanes import SaleLanes, read_lanes
from backend.sales.status import ends_at
from backend.settings import Settings

CLOCKS_WITHIN = timedelta(seconds=1)
"""Redis TIME opens the sale, the database's clock ends holds; beyond a second buyers would notice."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition. ``action`` says what to do when it does not hold."""

    name: str
    ok: bool
    detail: str
    action: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "detail": self.detail, "action": self.action}


def window_check(sale: Sale, now: datetime) -> Check:
    """The opening lies ahead; once it is over, the end does."""
    if sale.stage is SaleStage.DRAFT:
        ahead = sale.opens_at > now
        detail = "The opening lies ahead." if ahead else "The opening is not in the future."
    else:
        ahead = ends_at(sale) > now
        detail = "The sale has not ended." if ahead else "The sale has ended."
    return Check("window", ahead, detail, "" if ahead else "Set opens_at and closes_at to times ahead.")


def allotment_check(lanes: SaleLanes) -> Check:
    empty = [item.sku for item in lanes.items if item.allotment < 1]
    if not lanes.items or empty:
        return Check("allotment", False, "No units for " + (", ".join(empty) or "any item"), "Give each item units.")
    return Check("allotment", True, f"{sum(item.allotment for item in lanes.items)} units in all.")


def link_check(lanes: SaleLanes) -> Check:
    if any(one.retires_at is None for one in lanes.secrets):
        return Check("link_secret", True, f"Epoch {lanes.sale.link_epoch}.")
    return Check("link_secret", False, "There is no link secret yet.", "Preload, or rotate the links.")


def page_check(sale: Sale) -> Check:
    if sale.published_version is not None:
        return Check("page", True, f"Version {sale.published_version} is published.")
    return Check("page", False, "The page is not published.", "Publish it, or wait: the clock does before opening.")


def notifications_check(settings: Settings) -> Check:
    if settings.notify_email_url:
        return Check("notifications", True, "A mail channel is configured.")
    return Check("notifications", False, "No channel for messages to shoppers.", "Set STAMPEDE_NOTIFY_EMAIL_URL.")


def stock_check(lanes: SaleLanes, readings: Sequence[LaneReading]) -> Check:
    """Every lane is loaded, and before anything was sold it holds what the ledger holds."""
    loaded = {reading.lane_id.item_id: reading for reading in readings}
    problems = []
    for item in lanes.items:
        reading, cursor = loaded.get(item.id), lanes.cursors.get(item.id)
        if reading is None or not reading.loaded or cursor is None:
            problems.append(f"{item.sku}: no stock in the gate")
        elif reading.generation != cursor.generation:
            problems.append(f"{item.sku}: the gate has generation {reading.generation}, not {cursor.generation}")
        elif reading.seq == 0 and reading.available != item.available:
            problems.append(f"{item.sku}: {reading.available} in the gate, {item.available} in the ledger")
        elif reading.fault:
            problems.append(f"{item.sku}: stopped ({reading.fault})")
    if problems:
        return Check("stock", False, "; ".join(problems)[:500], "Preload the stock.")
    return Check("stock", True, "The gate holds every item's stock.")


async def _gate_checks(gate: Gate, lanes: SaleLanes, database_now: datetime) -> tuple[list[Check], list[LaneReading]]:
    try:
        skew = clock_skew(await gate.now_ms(), database_now)
        unfit = await gate.fitness()
        readings = [await gate.read(LaneId(item.id)) for item in lanes.items]
    except GateUnavailable:
        return [Check("gate", False, "The gate store cannot be reached.", "Start it, or check its address.")], []
    clocks = Check(
        "clocks",
        abs(skew) <= CLOCKS_WITHIN,
        f"The gate's clock differs from the database's by {skew.total_seconds():.3f} s.",
        "" if abs(skew) <= CLOCKS_WITHIN else "Synchronise the clocks (NTP).",
    )
    fitness = Check("gate", not unfit, "; ".join(unfit) or "The gate store keeps what it is given.", "; ".join(unfit))
    return [fitness, clocks], readings


def clock_skew(gate_now_ms: int, database_now: datetime) -> timedelta:
    """By how much the gate's clock is ahead; the time between the two readings is part of it."""
    return from_ms(gate_now_ms) - database_now


async def preflight(database: Database, gate: Gate, settings: Settings, sale: Sale) -> list[Check]:
    """Every check of a sale, now."""
    async with database.transaction() as session:
        (lanes,) = await read_lanes(session, [sale])
        now = await repository.database_now(session)
    gate_checks, readings = await _gate_checks(gate, lanes, now)
    return [
        window_check(sale, now),
        allotment_check(lanes),
        link_check(lanes),
        page_check(sale),
        notifications_check(settings),
        *gate_checks,
        stock_check(lanes, readings),
    ]
