"""The relay: tells the gate of units that the ledger has given (expired, cancelled, topped up).

Giving goes ledger first. A row stays pending, and counted by the equation, until the drain reads its journal entry;
so a relay may die anywhere and tell the gate again: every script is idempotent by the row's id.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.log import get_logger
from backend.gate import (
    RELEASES_MAX,
    Applied,
    EntryId,
    Gate,
    GateAnswer,
    GateUnavailable,
    LaneId,
    Release,
)
from backend.models import Database, OutboxKind, SaleEvent
from backend.orders import repository, repository_outbox
from backend.orders.repository_outbox import OutboxRow

log = get_logger()

BeforeGiving = Callable[[str, str], Awaitable[None]]
"""Called with slug and SKU before units return: the sold-out marker must be gone when the first can be bought."""

_TOLD = frozenset({GateAnswer.DONE, GateAnswer.ALREADY})
_REFUSED = frozenset({GateAnswer.NOT_HELD, GateAnswer.NOT_ENOUGH})


async def relay_all(database: Database, gate: Gate, before_giving: BeforeGiving) -> int:
    """Tell the gate everything that is due. Returns how many rows it took."""
    async with database.transaction() as session:
        lanes = await repository_outbox.lanes_with_outbox(session)
    told = 0
    for lane_id, slug, sku in lanes:
        try:
            told += await relay_lane(database, gate, lane_id, partial(before_giving, slug, sku))
        except GateUnavailable as error:
            log.warning("relay.gate_unavailable", item_id=str(lane_id.item_id), error=str(error))
    return told


async def relay_lane(
    database: Database,
    gate: Gate,
    lane_id: LaneId,
    before_giving: Callable[[], Awaitable[None]] | None = None,
) -> int:
    """Tell one lane everything that is due for it. Raises ``GateUnavailable``; nothing is lost by that.

    ``before_giving`` comes after each reading of rows and before the gate hears of them: a marker cleared earlier
    could be set again by a publisher that has not seen those rows (``backend.pages.markers``).
    """
    told = 0
    while True:
        async with database.transaction() as session:
            rows = await repository_outbox.outbox_to_apply(session, lane_id, limit=RELEASES_MAX)
        if not rows:
            return told
        if before_giving is not None:
            await before_giving()
        answers = await _tell(gate, lane_id, rows)
        done = [row.id for row, applied in answers if applied.answer in _TOLD]
        refused = [(row, applied) for row, applied in answers if applied.answer in _REFUSED]
        async with database.transaction() as session:
            await repository_outbox.mark_applied(session, done)
            if refused:
                await repository_outbox.mark_refused(session, [row.id for row, _ in refused])
                await _alarm(session, lane_id, refused)
        told += len(done)
        if len(done) + len(refused) < len(rows):
            return told  # not loaded, or a rebuild is under way: the clock comes back to it


async def _tell(gate: Gate, lane_id: LaneId, rows: Sequence[OutboxRow]) -> list[tuple[OutboxRow, Applied]]:
    answers: list[tuple[OutboxRow, Applied]] = []
    generation = rows[0].lane_generation
    releases = [row for row in rows if row.kind is not OutboxKind.ADJUST]
    if releases:
        applied = await gate.release(
            lane_id,
            [
                Release(
                    cause=row.id,
                    reservation_id=row.reservation_id,
                    entry_id=EntryId(row.generation, row.seq),
                    forfeit=row.kind is OutboxKind.FORFEIT,
                )
                for row in releases
                if row.reservation_id is not None and row.seq is not None  # CHECK: a release names both
            ],
            generation=generation,
        )
        answers += zip(releases, applied, strict=True)
    for row in rows:
        if row.kind is OutboxKind.ADJUST:
            answers.append((row, await gate.adjust(lane_id, cause=row.id, units=row.quantity, generation=generation)))
    return answers


async def _alarm(session: AsyncSession, lane_id: LaneId, refused: Sequence[tuple[OutboxRow, Applied]]) -> None:
    """The gate had nothing to give back: the units stay counted as pending, and a person has to look."""
    sale_id = await repository.sale_of_item(session, lane_id.item_id)
    for row, applied in refused:
        detail = {"outbox_id": str(row.id), "answer": applied.answer.value, "quantity": row.quantity}
        session.add(
            SaleEvent(sale_id=sale_id, item_id=lane_id.item_id, kind="release.refused", alarm=True, detail=detail)
        )
        log.error("release.refused", item_id=str(lane_id.item_id), **detail)
