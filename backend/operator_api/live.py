"""The live view and the throughput of a sale: computed at most once a second for all who watch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from backend.api import AnyOperator, AppState, State
from backend.core.clock import from_ms, now_ms, rfc3339
from backend.core.http import StrictRoute
from backend.core.log import get_logger
from backend.gate import EntryId, Gate, GateUnavailable, LaneId, LaneReading, Outcome
from backend.monitoring import DependencyState, dependencies
from backend.operator_api import repository
from backend.operator_api.gate_answers import GateAnswers, GateAnswersReader
from backend.operator_api.repository import ItemSnapshot
from backend.operator_api.repository_replay import recent_delay
from backend.operator_api.schemas import (
    GateFigures,
    LiveAudit,
    LiveItem,
    LiveView,
    Throughput,
)
from backend.operator_api.views import activity_line, throttle_view
from backend.sales import SaleRows, database_now, get_sale, phase, status

router = APIRouter(prefix="/sales/{sale_id}", route_class=StrictRoute)

SHARED_FOR_S = 1.0
EVENTS = 20
DELAY_WITHIN_S = 60
SECONDS_MAX = 3_600

_gate_answers = GateAnswersReader()
"""Of the process, as the instruments that it reads are."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class _GateSide:
    """What the gate said, or that it said nothing."""

    up: bool
    readings: Mapping[UUID, LaneReading]
    oldest_undecided_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Live:
    """A computed view, and when its oldest reading was taken."""

    view: LiveView
    read_at_ms: int


async def _read_gate(gate: Gate, items: Sequence[ItemSnapshot]) -> _GateSide:
    readings: dict[UUID, LaneReading] = {}
    oldest: int | None = None
    try:
        for item in items:
            if item.generation is None:
                continue
            lane_id = LaneId(item.item_id)
            cursor = EntryId(item.generation, item.seq) if item.seq is not None else None
            reading = readings[item.item_id] = await gate.read(lane_id, cursor=cursor)
            if _behind(item, reading):
                following = EntryId(item.generation, (item.seq if item.seq is not None else -1) + 1)
                for entry in await gate.entries(lane_id, start=following, count=1):
                    age_ms = max(0, reading.read_at_ms - entry.at_ms)
                    oldest = age_ms if oldest is None else max(oldest, age_ms)
    except GateUnavailable as error:
        log.warning("live.gate_down", error=str(error))
        return _GateSide(up=False, readings={})
    return _GateSide(up=True, readings=readings, oldest_undecided_ms=oldest or 0)


def _behind(item: ItemSnapshot, reading: LaneReading) -> int:
    """Journal entries that the ledger has not decided."""
    if not reading.loaded or reading.generation != item.generation:
        return 0
    return max(0, reading.seq - (item.seq if item.seq is not None else -1))


def _drift(items: Sequence[ItemSnapshot], readings: Mapping[UUID, LaneReading]) -> int | None:
    """Σ of left(cursor) − (available − pending): zero at every moment, by the equation of the ledger.

    None when nothing could be compared. An entry at a cursor never changes, so the two stores need not be
    read at the same instant.
    """
    found: int | None = None
    for item in items:
        reading = readings.get(item.item_id)
        if reading is not None and reading.cursor_left is not None:
            found = (found or 0) + reading.cursor_left - (item.available - item.pending_units)
    return found


def _live_item(item: ItemSnapshot, reading: LaneReading | None) -> LiveItem:
    figures = None
    if reading is not None and reading.loaded:
        figures = GateFigures(available=reading.available, held=reading.held, read_at=from_ms(reading.read_at_ms))
    return LiveItem(
        sku=item.sku,
        allotment=item.allotment,
        available=item.available,
        reserved=item.reserved,
        sold=item.sold,
        gate=figures,
    )


async def dependencies_now(state: AppState) -> dict[str, DependencyState]:
    """Asked once a second, whoever watches which sale."""
    return await state.shared.get(("dependencies",), SHARED_FOR_S, lambda: dependencies(state.database, state.gate))


async def gate_answers_now(state: AppState) -> GateAnswers:
    """Read once a second, whoever watches."""

    async def read() -> GateAnswers:
        return _gate_answers.read()

    return await state.shared.get(("gate-answers",), SHARED_FOR_S, read)


async def _compute(state: AppState, merchant_id: UUID, sale_id: UUID) -> _Live:
    read_at_ms = now_ms()
    async with state.database.transaction() as session:
        rows = await get_sale(session, merchant_id, sale_id)
        items = await repository.items_now(session, sale_id)
        events = await repository.activity_of(session, sale_id, limit=EVENTS)
        run = await repository.newest_run(session, sale_id)
        delay = await recent_delay(session, sale_id, within_s=DELAY_WITHIN_S)
        now = await database_now(session)
    gate = await _read_gate(state.gate, items)
    outcomes: Counter[str] = Counter()
    for reading in gate.readings.values():
        outcomes.update(reading.outcomes)
    audit = None
    if run is not None:
        audit = LiveAudit(
            checked_at=run.finished_at,
            drift=run.drift,
            oversold=run.oversold,
            stranded=run.stranded,
            verdict=run.verdict.value,
        )
    throttle = throttle_view(rows.sale)
    assert throttle is not None
    answers = await gate_answers_now(state)
    view = LiveView(
        **_state(rows, now),
        view_age_ms=0,
        order_lag_ms=gate.oldest_undecided_ms,
        order_delay_p95_ms=None if delay is None else round(delay.found[1]),
        gate_call_p99_ms=answers.p99_ms,
        gate_unanswered=answers.unanswered,
        throttle=throttle,
        drift=_drift(items, gate.readings) if any(item.seq is not None for item in items) else 0,
        pending_releases=sum(item.pending_releases for item in items),
        items=[_live_item(item, gate.readings.get(item.item_id)) for item in items],
        outcomes=dict(outcomes),
        backlog=_backlog(items, gate),
        dependencies=await dependencies_now(state),
        events=[activity_line(event) for event in events],
        audit=audit,
    )
    return _Live(view, read_at_ms)


def _backlog(items: Sequence[ItemSnapshot], gate: _GateSide) -> int | None:
    if not gate.up:
        return None
    return sum(_behind(item, gate.readings[item.item_id]) for item in items if item.item_id in gate.readings)


def _state(rows: SaleRows, now: Any) -> dict[str, Any]:
    sale = rows.sale
    return {
        "status": status(sale, now).value,
        "phase": phase(sale, rows.items, now).value,
        "now": now,
        "opens_at": sale.opens_at,
        "closes_at": sale.closes_at,
        "fault": sale.fault.value if sale.fault else None,
    }


@router.get("/live")
async def read_live(state: State, actor: AnyOperator, sale_id: UUID) -> LiveView:
    """Where the sale stands. Answers also while the gate is down, with what is known."""
    # Each viewer is authorised by itself; only then may the shared answer be told. The connection is let go
    # before: viewers that held one while they wait for the computation could leave none for it.
    async with state.database.transaction() as session:
        await get_sale(session, actor.merchant_id, sale_id)
    live = await state.shared.get(("live", sale_id), SHARED_FOR_S, lambda: _compute(state, actor.merchant_id, sale_id))
    return live.view.model_copy(update={"view_age_ms": max(0, now_ms() - live.read_at_ms)})


async def _series(gate: Gate, lanes: Sequence[LaneId], seconds: int) -> list[dict[str, Any]]:
    now_s = await gate.now_ms() // 1000
    since_s = now_s - seconds + 1
    by_second: dict[int, Counter[str]] = {}
    seen = {Outcome.RESERVED.value}
    for lane_id in lanes:
        for second, outcomes in await gate.series(lane_id, since_s=since_s):
            by_second.setdefault(second, Counter()).update(outcomes)
            seen.update(outcomes)
    names = sorted(seen)
    return [
        {
            "at": rfc3339(from_ms(second * 1000)),
            **{name: by_second[second][name] if second in by_second else 0 for name in names},
        }
        for second in range(since_s, now_s + 1)
    ]


@router.get("/throughput")
async def read_throughput(
    state: State,
    actor: AnyOperator,
    sale_id: UUID,
    seconds: Annotated[int, Query(ge=1, le=SECONDS_MAX)] = 300,
) -> Throughput:
    """Outcomes second by second, oldest first, all lanes added up; a second without traffic has zeros."""
    async with state.database.transaction() as session:
        rows = await get_sale(session, actor.merchant_id, sale_id)
    lanes = [LaneId(item.id) for item in rows.items]
    series = await state.shared.get(
        ("throughput", sale_id, seconds), SHARED_FOR_S, lambda: _series(state.gate, lanes, seconds)
    )
    return Throughput(series=series)
