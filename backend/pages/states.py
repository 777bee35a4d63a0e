"""``state.json`` of every published sale, and its sold-out markers, once a second.

What shoppers look at costs the API nothing: nginx serves the file. It is made from the gate, which knows what is
left this very moment; while the gate is down, from the ledger.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from backend.core.clock import from_ms
from backend.core.log import get_logger
from backend.gate import Gate, GateUnavailable, LaneId
from backend.models import Database
from backend.pages import markers, repository
from backend.pages.phases import hint, sale_phase, window
from backend.pages.repository import ItemRow, SaleRow
from backend.sales.status import SalePhase, ends_at
from backend.settings import Settings
from page_renderer import ItemState, SaleState, render_state, write_state

log = get_logger()

SALES_MAX = 500
NEAR = timedelta(minutes=1)
"""Around a sale its state is written every second …"""
FAR_EVERY_S = 10.0
"""… and otherwise no more often than pages ask then."""
NEAR_EVERY_S = 0.9
"""A little less than the clock's second, so that no tick is lost to its jitter."""
STILL_AFTER = timedelta(minutes=1)
"""A reconciled sale's last state is written for so long, then it stands."""

_MARKED = frozenset({SalePhase.LIVE, SalePhase.PAUSED, SalePhase.SOLD_OUT})
"""Only then is "sold out" the answer to a link request; before and after, the API has another."""


@dataclass(frozen=True, slots=True)
class _Stock:
    """One item's units, and whether they are the gate's own figure."""

    available: int
    certain: bool


async def write_states(database: Database, gate: Gate, settings: Settings) -> int:
    """Write each state that is due and bring the markers up to date. Returns how many were written.

    Two callers at once are harmless: both write what is true. The order of the reads is what keeps a marker from
    outliving a returned unit, see ``backend.pages.markers``: clearings, outbox, gate.
    """
    async with database.transaction() as session:
        rows = await repository.with_moving_state(session, still_after=STILL_AFTER, limit=SALES_MAX)
        now = await repository.database_now(session)
    due = [row for row in rows if _is_due(settings, row, now)]
    seen = await asyncio.to_thread(_clearings, settings, due)
    async with database.transaction() as session:
        returning = await repository.items_with_units_to_return(
            session, [item.item.id for row in due for item in row.items]
        )
    written = 0
    for row in due:
        stock, at = await _read_stock(gate, row, now)
        try:
            await asyncio.to_thread(_write, settings, row, stock, at, seen, returning)
        except (OSError, ValueError):
            # One sale's folder or words must not silence the others.
            log.exception("states.not_written", sale_id=str(row.sale.id))
            continue
        written += 1
    return written


def _is_due(settings: Settings, row: SaleRow, now: datetime) -> bool:
    near = row.sale.opens_at - NEAR <= now <= ends_at(row.sale) + NEAR
    path = settings.pages_dir / "state" / f"{row.sale.slug}.json"
    try:
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return True
    # A file from the future is one from before the clock was set back.
    return not 0 <= age_s < (NEAR_EVERY_S if near else FAR_EVERY_S)


def _clearings(settings: Settings, rows: list[SaleRow]) -> dict[UUID, int]:
    return {
        item.item.id: markers.clearings(settings.pages_dir, row.sale.slug, item.item.sku)
        for row in rows
        for item in row.items
    }


async def _read_stock(gate: Gate, row: SaleRow, now: datetime) -> tuple[dict[UUID, _Stock], datetime]:
    """What is left of each item, and when that was true, by the clock of the store that said so."""
    stock: dict[UUID, _Stock] = {}
    at = now
    for item in row.items:
        found = _Stock(item.item.available, certain=False)
        try:
            readings = [await gate.read(LaneId(item.item.id, lane)) for lane in item.lanes]
        except GateUnavailable as error:
            log.warning("states.gate_unavailable", sale_id=str(row.sale.id), error=str(error))
            readings = []
        if readings and all(reading.loaded for reading in readings):
            found = _Stock(sum(reading.available for reading in readings), certain=True)
            at = from_ms(readings[0].read_at_ms)
        stock[item.item.id] = found
    return stock, at


def _write(
    settings: Settings,
    row: SaleRow,
    stock: dict[UUID, _Stock],
    at: datetime,
    seen: dict[UUID, int],
    returning: set[UUID],
) -> None:
    sale = row.sale
    phase = sale_phase(sale, [one.available for one in stock.values()], at)
    opens_at, closes_at = window(sale)
    state = SaleState(
        phase=phase.value,
        opens_at=opens_at,
        closes_at=closes_at,
        at=at.astimezone(UTC),
        items=tuple(_item_state(item, stock[item.item.id]) for item in row.items),
    )
    write_state(settings.pages_dir, sale.slug, render_state(state))
    for item in row.items:
        one = stock[item.item.id]
        if phase not in _MARKED or one.available > 0:
            markers.unmark(settings.pages_dir, sale.slug, item.item.sku)
        elif one.certain and item.item.id not in returning:
            markers.mark_sold_out(settings.pages_dir, sale.slug, item.item.sku, seen_clearings=seen[item.item.id])


def _item_state(item: ItemRow, stock: _Stock) -> ItemState:
    return ItemState(
        sku=item.item.sku,
        phase="live" if stock.available > 0 else "sold_out",
        available_hint=hint(stock.available, item.item.allotment),
    )
