"""A sale's lanes: what the gate is told of them, and loading their stock."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.clock import to_ms
from backend.core.log import get_logger
from backend.gate import Durability, Gate, GateAnswer, GateUnavailable, LaneConfig, LaneEntry, LaneId, Throttle
from backend.models import (
    Database,
    EntryKind,
    JournalCursor,
    LedgerEntry,
    LinkSecret,
    Sale,
    SaleItem,
    SaleStage,
)
from backend.sales import repository
from backend.sales.service import wrong_state
from backend.sales.status import SaleStatus, ends_at, status
from backend.sales.terms import throttle_of
from backend.settings import Settings

FIRST_GENERATION = 1
SECRET_BYTES = 32

log = get_logger()


def lane_config(sale: Sale, item: SaleItem, link_secrets: Sequence[LinkSecret], settings: Settings) -> LaneConfig:
    """What the ledger wants of the item's lane.

    A retired epoch is accepted until its overlap is over, which the script judges by Redis TIME; all secrets
    stay, because a winner's old link must find its ticket until retention ends.
    """
    throttle = throttle_of(item) or throttle_of(sale)
    assert throttle is not None
    return LaneConfig(
        config_version=sale.config_version,
        opens_at_ms=to_ms(sale.opens_at),
        closes_at_ms=to_ms(ends_at(sale)),
        paused=sale.paused_at is not None or sale.fault is not None or sale.stage is SaleStage.CANCELLED,
        per_shopper_limit=item.per_shopper_limit,
        throttle=Throttle(throttle.rate_per_s, throttle.burst, throttle.wait_budget_ms, throttle.repeat_window_ms),
        backlog_max=settings.backlog_max,
        link_epoch=sale.link_epoch,
        link_ttl_s=sale.link_ttl_s,
        accepted_epochs={
            one.epoch: to_ms(one.retires_at) if one.retires_at else None
            for one in link_secrets
            if one.retires_at is None or one.retires_at > one.created_at
        },
        secrets={one.epoch: one.secret for one in link_secrets},
        durability=Durability(sale.durability.value),
    )


@dataclass(frozen=True, slots=True)
class SaleLanes:
    """Everything the ledger knows of a sale's lanes, read in one transaction."""

    sale: Sale
    items: list[SaleItem]
    cursors: dict[UUID, JournalCursor]
    secrets: list[LinkSecret]


@dataclass(frozen=True, slots=True)
class LaneTrouble:
    """A lane that could not be loaded or configured."""

    sku: str
    detail: str


async def read_lanes(session: AsyncSession, sales: Sequence[Sale]) -> list[SaleLanes]:
    """The lanes of these sales; an item without a cursor was never preloaded."""
    ids = [sale.id for sale in sales]
    items = await repository.items_of(session, ids)
    cursors = await repository.cursors_of(session, ids)
    link_secrets = await repository.secrets_of(session, ids)
    return [SaleLanes(sale, items[sale.id], cursors, link_secrets[sale.id]) for sale in sales]


async def open_lanes(session: AsyncSession) -> list[SaleLanes]:
    """The lanes of all sales that have stock in the gate and are not reconciled."""
    return await read_lanes(session, await repository.unreconciled(session))


async def lanes_of_sale(session: AsyncSession, sale_id: UUID) -> SaleLanes:
    """The lanes of one sale, which exists."""
    sale = await repository.sale_by_id(session, sale_id)
    assert sale is not None, sale_id
    (lanes,) = await read_lanes(session, [sale])
    return lanes


async def rotate_secret(session: AsyncSession, sale: Sale) -> int:
    """A new epoch with a new random secret; nobody, developer included, can derive it before it exists."""
    epoch = sale.link_epoch + 1
    overlap = repository.seconds(sale.link_overlap_s)
    await repository.add_secret(
        session, sale.id, epoch=epoch, secret=secrets.token_bytes(SECRET_BYTES), overlap=overlap
    )
    return epoch


async def record_preload(session: AsyncSession, sale_id: UUID) -> bool:
    """Commit to a quantity before any gate is told: cursors, ``allot`` entries, the first link secret.

    False when that was done before. Raises ``WRONG_STATE`` unless the sale is scheduled, live or paused.
    """
    sale = await repository.sale_by_id(session, sale_id, lock=True)
    assert sale is not None, sale_id
    current = status(sale, await repository.database_now(session))
    if current not in (SaleStatus.SCHEDULED, SaleStatus.LIVE, SaleStatus.PAUSED):
        raise wrong_state(current, "Schedule the sale before stock is loaded.")
    if sale.preloaded_at is not None:
        return False
    for item in await repository.lock_items(session, sale_id):
        session.add(
            JournalCursor(
                item_id=item.id,
                sale_id=sale_id,
                generation=FIRST_GENERATION,
                nonce=secrets.token_hex(16),
                loaded_units=item.available,
            )
        )
        session.add(
            LedgerEntry(
                sale_id=sale_id,
                item_id=item.id,
                kind=EntryKind.ALLOT,
                quantity=item.allotment,
                allotment_delta=item.allotment,
                available_delta=item.allotment,
                generation=FIRST_GENERATION,
                seq=0,
            )
        )
    values = {"preloaded_at": await repository.database_now(session), "config_version": sale.config_version + 1}
    if sale.link_epoch == 0:
        values["link_epoch"] = await rotate_secret(session, sale)
    await repository.change_sale(session, sale_id, values)
    await repository.insert_event(session, sale_id, "sale.preloaded")
    return True


async def load_lanes(database: Database, gate: Gate, settings: Settings, sale_id: UUID) -> list[LaneTrouble]:
    """Load each lane that no drain has adopted yet, and put it into the directory; safe to repeat.

    Nothing is loaded above what ``record_preload`` committed to: the script knows generation and nonce. A
    lane whose journal was adopted is never loaded again here, so lost stock is never refilled by a repeat; nor is one
    of a later generation, which only a rebuild fills (``backend.orders.recovery``), with its claims.
    """
    async with database.transaction() as session:
        sale = await repository.sale_by_id(session, sale_id)
        assert sale is not None, sale_id
        (lanes,) = await read_lanes(session, [sale])
    troubles = []
    for item in lanes.items:
        cursor = lanes.cursors.get(item.id)
        if cursor is None or cursor.seq is not None or cursor.generation != FIRST_GENERATION:
            continue
        try:
            trouble = await _load(gate, lanes, item, cursor, settings)
        except GateUnavailable as error:
            log.warning("lane.load_failed", sale_id=sale_id, item_id=item.id, error=str(error))
            trouble = "The gate store cannot be reached."
        if trouble:
            troubles.append(LaneTrouble(item.sku, trouble))
    return troubles


async def _load(gate: Gate, lanes: SaleLanes, item: SaleItem, cursor: JournalCursor, settings: Settings) -> str | None:
    unfit = await gate.fitness()
    if unfit:
        return f"The gate store must not carry a sale: {'; '.join(unfit)}."
    lane_id = LaneId(item.id, cursor.lane)
    applied = await gate.load(
        lane_id,
        generation=cursor.generation,
        nonce=cursor.nonce,
        units=cursor.loaded_units,
        config=lane_config(lanes.sale, item, lanes.secrets, settings),
    )
    if applied.answer not in (GateAnswer.DONE, GateAnswer.ALREADY):
        log.error("lane.load_refused", sale_id=lanes.sale.id, item_id=item.id, answer=applied.answer)
        return f"The gate holds other stock for this item ({applied.answer})."
    await gate.enter(LaneEntry(item.id, lanes.sale.id, lanes.sale.slug, item.sku))
    return None


async def preload(database: Database, gate: Gate, settings: Settings, sale_id: UUID) -> list[LaneTrouble]:
    """Record, then load. A lane that fails stays unarmed (``NOT_LOADED``) and is reported; repeat to go on."""
    async with database.transaction() as session:
        await record_preload(session, sale_id)
    return await load_lanes(database, gate, settings, sale_id)


async def configure_lanes(
    database: Database, gate: Gate, settings: Settings, sale_id: UUID, *, clear_fault: bool = False
) -> None:
    """Tell every loaded lane of a sale what the ledger wants now. Raises ``GateUnavailable``."""
    async with database.transaction() as session:
        sale = await repository.sale_by_id(session, sale_id)
        assert sale is not None, sale_id
        (lanes,) = await read_lanes(session, [sale])
    for item in lanes.items:
        cursor = lanes.cursors.get(item.id)
        if cursor is not None:
            await gate.configure(
                LaneId(item.id, cursor.lane),
                lane_config(sale, item, lanes.secrets, settings),
                generation=cursor.generation,
                clear_fault=clear_fault,
            )
