"""A whole sale on one time axis: outcomes from the gate, units and delays from the ledger."""

import math
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter

from backend.api import AnyOperator, AppState, State
from backend.core.fields import Moment, View
from backend.core.http import StrictRoute
from backend.core.log import get_logger
from backend.gate import GateUnavailable, LaneId
from backend.operator_api import repository
from backend.operator_api import repository_replay as replays
from backend.operator_api.schemas import ActivityLine
from backend.operator_api.views import activity_line
from backend.sales import SaleRows, database_now, ends_at, get_sale

router = APIRouter(prefix="/sales/{sale_id}", route_class=StrictRoute)

POINTS_MAX = 300
"""As many as a chart of 800 px can show."""
BEFORE = timedelta(seconds=30)
AFTER = timedelta(seconds=30)
"""The quiet on both sides of the sale that is shown."""
SHARED_FOR_S = 2.0
EVENTS = 200

log = get_logger()


class ReplayPoint(View):
    """The state at the end of one step, and what happened in it."""

    at: Moment
    allotment: int
    available: int
    reserved: int
    sold: int
    outcomes: dict[str, int]
    delay_p50_ms: int | None = None
    delay_p95_ms: int | None = None


class ReplayView(View):
    since: Moment
    until: Moment
    step_s: int
    outcomes_known: bool
    """False when the gate no longer has them: they are kept until 24 h after the sale is reconciled."""
    points: list[ReplayPoint]
    events: list[ActivityLine]


def _window(rows: SaleRows, now: datetime) -> tuple[datetime, datetime, int]:
    """From a little before the opening until a little after the end, or now; the step that keeps it to POINTS_MAX."""
    since = rows.sale.opens_at - BEFORE
    until = min(now, ends_at(rows.sale) + AFTER)
    if until <= since:
        until = since + timedelta(seconds=1)
    step_s = max(1, math.ceil((until - since).total_seconds() / POINTS_MAX))
    return since, until, step_s


async def _outcomes(
    state: AppState, rows: SaleRows, since: datetime, step_s: int, last: int
) -> dict[int, Counter[str]] | None:
    """Outcomes by step, the last of which takes what came after; None while the gate is away or has forgotten."""
    since_s = math.floor(since.timestamp())
    found: dict[int, Counter[str]] = {}
    try:
        for item in rows.items:
            for second, outcomes in await state.gate.series(LaneId(item.id), since_s=since_s):
                found.setdefault(min((second - since_s) // step_s, last), Counter()).update(outcomes)
    except GateUnavailable as error:
        log.warning("live.gate_down", error=str(error))
        return None
    return found or None


async def _compute(state: AppState, merchant_id: UUID, sale_id: UUID) -> ReplayView:
    async with state.database.transaction() as session:
        rows = await get_sale(session, merchant_id, sale_id)
        now = await database_now(session)
        since, until, step_s = _window(rows, now)
        movements = await replays.movements(session, sale_id, since, until, step_s)
        delays = {row.bucket: row.found for row in await replays.delays(session, sale_id, since, until, step_s)}
        events = await repository.activity_of(session, sale_id, limit=EVENTS)
    last = int((until - since).total_seconds() // step_s)
    outcomes = await _outcomes(state, rows, since, step_s, last)
    return ReplayView(
        since=since,
        until=until,
        step_s=step_s,
        outcomes_known=outcomes is not None,
        points=_points(since, until, step_s, movements, delays, outcomes or {}),
        events=[activity_line(row) for row in events],
    )


def _points(
    since: datetime,
    until: datetime,
    step_s: int,
    movements: Any,
    delays: dict[int, list[float]],
    outcomes: dict[int, Counter[str]],
) -> list[ReplayPoint]:
    """Running sums of the movements: the equation holds in every point because it holds in every entry."""
    moved = {row.bucket: row for row in movements}
    state = dict.fromkeys(("allotment", "available", "reserved", "sold"), 0)
    points = []
    for bucket in range(-1, int((until - since).total_seconds() // step_s) + 1):
        if bucket in moved:
            for name in state:
                state[name] += int(getattr(moved[bucket], name))
        if bucket < 0:
            continue
        delay = delays.get(bucket)
        points.append(
            ReplayPoint(
                at=since + timedelta(seconds=bucket * step_s),
                **state,
                outcomes=dict(outcomes.get(bucket, {})),
                delay_p50_ms=None if delay is None else round(delay[0]),
                delay_p95_ms=None if delay is None else round(delay[1]),
            )
        )
    return points


@router.get("/replay")
async def read_replay(state: State, actor: AnyOperator, sale_id: UUID) -> ReplayView:
    """The sale from its opening to its end, or until now, in at most 300 steps."""
    async with state.database.transaction() as session:
        await get_sale(session, actor.merchant_id, sale_id)
    return await state.shared.get(
        ("replay", sale_id), SHARED_FOR_S, lambda: _compute(state, actor.merchant_id, sale_id)
    )
