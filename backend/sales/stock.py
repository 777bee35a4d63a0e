"""Units added to and taken from a sale after its preload.

Giving goes ledger first, with an outbox row in the same transaction. Taking goes gate first: the gate may
have promised the units a millisecond ago, so the ledger learns of a reduction from the journal alone.
"""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused, invalid_field
from backend.gate import EntryId, Gate, GateAnswer, LaneId
from backend.models import (
    Database,
    EntryKind,
    GateOutbox,
    LedgerEntry,
    OutboxKind,
    SaleItem,
)
from backend.sales import repository, repository_stock
from backend.sales.repository import SaleRows
from backend.sales.service import get_sale, wrong_state
from backend.sales.status import SaleStatus, status
from backend.sales.terms import ALLOTMENT_MAX

APPLIED_WITHIN_S = 3.0
"""A drain applies an entry within a second when all is well; a request should not hold on for longer."""
POLL_S = 0.05

_STOCKED = frozenset({SaleStatus.SCHEDULED, SaleStatus.LIVE, SaleStatus.PAUSED})


@dataclass(frozen=True, slots=True)
class Stocked:
    """One item before and after."""

    sku: str
    before: dict[str, int]
    after: dict[str, int]


def figures(item: SaleItem) -> dict[str, int]:
    """The counters of an item."""
    return {
        "allotment": item.allotment,
        "available": item.available,
        "reserved": item.reserved,
        "sold": item.sold,
    }


def _item(rows: SaleRows, sku: str) -> SaleItem:
    for item in rows.items:
        if item.sku == sku:
            return item
    raise invalid_field("sku", "This sale has no such item.")


async def _stocked_sale(session: AsyncSession, merchant_id: UUID, sale_id: UUID) -> SaleRows:
    """The sale, its row locked only while no cursor exists (see ``repository``)."""
    rows = await get_sale(session, merchant_id, sale_id)
    if rows.sale.preloaded_at is None:
        rows = await get_sale(session, merchant_id, sale_id, lock=True)
    current = status(rows.sale, await repository.database_now(session))
    if current not in _STOCKED:
        raise wrong_state(current, f"The stock of a sale that is {current} does not change.")
    return rows


def _check_allotment(item: SaleItem, units: int) -> None:
    allotment = item.allotment + units
    if allotment > ALLOTMENT_MAX:
        raise invalid_field("quantity", f"An allotment has at most {ALLOTMENT_MAX} units.")
    if units < 0 and item.available + units < 0:
        raise _below_committed(item.available)


def _below_committed(available: int) -> Refused:
    return Refused(
        Code.BELOW_COMMITTED,
        f"{available} units are neither reserved nor sold.",
        extra={"available": available},
    )


async def top_up(
    session: AsyncSession, merchant_id: UUID, sale_id: UUID, *, sku: str, units: int, command_id: UUID
) -> tuple[Stocked, SaleRows]:
    """Add units. After a preload the gate hears of them through the outbox: enqueue the relay after the commit."""
    rows = await _stocked_sale(session, merchant_id, sale_id)
    item_id = _item(rows, sku).id
    cursor = await repository_stock.lock_cursor(session, item_id)
    item = await repository_stock.lock_item(session, item_id)
    _check_allotment(item, units)
    before = figures(item)
    if cursor is not None:
        outbox = GateOutbox(
            sale_id=sale_id,
            item_id=item_id,
            lane=cursor.lane,
            kind=OutboxKind.ADJUST,
            quantity=units,
            generation=cursor.generation,
        )
        session.add(outbox)
        session.add(
            LedgerEntry(
                sale_id=sale_id,
                item_id=item_id,
                kind=EntryKind.ADJUST,
                quantity=units,
                allotment_delta=units,
                available_delta=units,
                command_id=command_id,
                outbox_id=outbox.id,
            )
        )
    await repository_stock.add_units(session, item_id, units)
    after = await get_sale(session, merchant_id, sale_id)
    return Stocked(sku, before, figures(_item(after, sku))), after


async def is_loaded(database: Database, merchant_id: UUID, sale_id: UUID) -> bool:
    """Whether units of this sale can be in the gate, so that taking some must begin there."""
    async with database.transaction() as session:
        rows = await get_sale(session, merchant_id, sale_id)
    return rows.sale.preloaded_at is not None


async def reduce_unloaded(
    session: AsyncSession, merchant_id: UUID, sale_id: UUID, *, sku: str, units: int
) -> tuple[Stocked, SaleRows]:
    """Take units of a sale that no gate has heard of yet, in one transaction."""
    rows = await _stocked_sale(session, merchant_id, sale_id)
    if rows.sale.preloaded_at is not None:
        raise Refused(Code.DEGRADED, "The stock is being loaded this moment.", retry_after_ms=1_000)
    item = await repository_stock.lock_item(session, _item(rows, sku).id)
    _check_allotment(item, -units)
    if item.allotment == units:
        raise invalid_field("quantity", "At least one unit stays; cancel the sale instead.")
    before = figures(item)
    await repository_stock.add_units(session, item.id, -units)
    after = await get_sale(session, merchant_id, sale_id)
    return Stocked(sku, before, figures(_item(after, sku))), after


async def check_reduction(session: AsyncSession, merchant_id: UUID, sale_id: UUID, *, sku: str, units: int) -> Stocked:
    """Check that the ledger has the units, before the gate is asked for them.

    Raises ``BELOW_COMMITTED``, ``WRONG_STATE``, ``INVALID_FIELD``.
    """
    rows = await _stocked_sale(session, merchant_id, sale_id)
    item = _item(rows, sku)
    _check_allotment(item, -units)
    return Stocked(sku, figures(item), figures(item))


async def reduced(session: AsyncSession, merchant_id: UUID, sale_id: UUID, *, sku: str) -> tuple[Stocked, SaleRows]:
    """The item after the drain has told the ledger."""
    rows = await get_sale(session, merchant_id, sale_id)
    now = figures(_item(rows, sku))
    return Stocked(sku, now, now), rows


async def take_from_gate(
    database: Database, gate: Gate, sale_id: UUID, *, sku: str, units: int, command_id: UUID
) -> None:
    """Take units from the gate, once by the command's id, and wait until the drain has told the ledger.

    Only the command's own ledger entry says that it is done: an entry of the gate can be lost, and the gate be rebuilt
    without it. Then it is told again, in the new generation.

    Raises ``BELOW_COMMITTED`` when the gate has promised them already, ``DEGRADED`` while it is open whether
    it took them or while the ledger is behind: a repeat with the same key finds out.
    """
    deadline = time.monotonic() + APPLIED_WITHIN_S
    generation, entry = 0, EntryId(0, 0)
    while True:
        async with database.transaction() as session:
            cursor = await repository_stock.cursor_of_sku(session, sale_id, sku)
            assert cursor is not None, f"sale {sale_id} was preloaded without a cursor for {sku}"
            reached = entry <= EntryId(cursor.generation, -1 if cursor.seq is None else cursor.seq)
            if reached and await repository_stock.is_booked(session, cursor.item_id, command_id):
                return
        if cursor.generation != generation:
            generation = cursor.generation
            entry = await _tell(gate, LaneId(cursor.item_id, cursor.lane), units, command_id, generation)
        if time.monotonic() >= deadline:
            raise Refused(
                Code.DEGRADED,
                "The gate has taken the units; the ledger is still catching up. Repeat with the same key.",
                retry_after_ms=2_000,
            )
        await asyncio.sleep(POLL_S)


async def _tell(gate: Gate, lane_id: LaneId, units: int, command_id: UUID, generation: int) -> EntryId:
    applied = await gate.adjust(lane_id, cause=command_id, units=-units, generation=generation)
    if applied.answer is GateAnswer.NOT_ENOUGH:
        raise _below_committed(applied.available or 0)
    if applied.answer not in (GateAnswer.DONE, GateAnswer.ALREADY) or applied.entry_id is None:
        raise Refused(
            Code.DEGRADED,
            f"The gate cannot take units now ({applied.answer}). Repeat with the same key.",
            retry_after_ms=2_000,
        )
    return applied.entry_id
