"""The first page of the console: what is live, what comes next, and what needs a hand."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import Done
from backend.api import AnyOperator, AppState, Calls, Session, State
from backend.core.errors import Code, Refused
from backend.core.fields import Id, Moment, Reason, Strict, View
from backend.core.http import StrictRoute
from backend.models import Sale
from backend.monitoring import DependencyState
from backend.operator_api import repository_home as repository
from backend.operator_api.live import dependencies_now
from backend.operator_api.schemas import Phase, Status
from backend.sales import SaleRows, SaleStatus, database_now, list_sales, phase, preflight, status

router = APIRouter(route_class=StrictRoute)

SHARED_FOR_S = 1.0
NEXT_MAX = 5
"""Sales ahead that are shown and whose pre-flight is asked for: each costs a few calls to the gate."""
SOON = timedelta(hours=24)
"""A draft that opens within a day is forgotten, not planned."""
PREPARED_WITHIN = timedelta(seconds=30)
"""The clock prepares at the lead time, in its next rounds; before this has passed nothing is late."""
EARLY_CHECKS = frozenset({"window", "allotment", "notifications", "gate", "clocks"})
"""What can be right days before; stock, links and page come with the lead time."""


class HomeSale(View):
    id: Id
    slug: str
    title: str
    status: Status
    phase: Phase
    opens_at: Moment
    closes_at: Moment
    time_zone: str
    allotment: int
    reserved: int
    sold: int


class Need(View):
    """One thing that waits for a person. ``kind`` is stable; ``detail`` is for reading."""

    kind: Literal[
        "fault", "preflight", "draft_due", "findings", "dead_letters", "refunds_due", "messages_dead", "dependency"
    ]
    sale_id: Id | None = None
    title: str
    detail: str
    count: int = 1


class HomeView(View):
    now: Moment
    live: list[HomeSale]
    next: list[HomeSale]
    needs: list[Need]
    dependencies: dict[str, DependencyState]


class DeadLetterView(View):
    id: Id
    sale_id: Id
    source: str
    reference: str
    error: str
    payload: dict[str, Any]
    created_at: Moment


class DeadLettersView(View):
    dead_letters: list[DeadLetterView]


class ResolveBody(Strict):
    reason: Reason


def _row(rows: SaleRows, now: datetime) -> HomeSale:
    sale = rows.sale
    return HomeSale(
        id=sale.id,
        slug=sale.slug,
        title=sale.title,
        status=status(sale, now).value,
        phase=phase(sale, rows.items, now).value,
        opens_at=sale.opens_at,
        closes_at=sale.closes_at,
        time_zone=sale.time_zone,
        allotment=sum(item.allotment for item in rows.items),
        reserved=sum(item.reserved for item in rows.items),
        sold=sum(item.sold for item in rows.items),
    )


async def _unready(state: AppState, sale: Sale, now: datetime) -> Need | None:
    """The pre-flight's failures that can be blamed on somebody already."""
    checks = await preflight(state.database, state.gate, state.settings, sale)
    due = sale.opens_at - timedelta(seconds=sale.lead_s) + PREPARED_WITHIN <= now
    failed = [check for check in checks if not check.ok and (due or check.name in EARLY_CHECKS)]
    if not failed:
        return None
    words = "; ".join(f"{check.name.replace('_', ' ')}: {check.detail}" for check in failed)
    return Need(kind="preflight", sale_id=sale.id, title=sale.title, detail=words[:500], count=len(failed))


_WORDS: Mapping[str, str] = {
    "dead_letters": "Could not be done by the platform and wait for a decision.",
    "refunds_due": "Paid orders whose units were gone: the money goes back.",
    "messages_dead": "Messages to shoppers that no try could deliver.",
    "findings": "The last reconciliation found units it cannot explain.",
}


_UNWELL: Mapping[tuple[str, str], str] = {
    ("gate", "down"): "The gate store does not answer: nobody can buy until it does. Orders and pages stay up.",
    ("gate", "slow"): "The gate store answers late: shoppers wait. Look at its host's load and memory.",
    ("database", "slow"): "The database answers late: tickets become orders later. Look at its load and its locks.",
    ("broker", "down"): "The job broker takes no jobs: orders, releases and messages come later. Buying goes on.",
    ("workers", "down"): "No worker has been heard of: tickets stay queued and messages unsent. Start one.",
    ("workers", "slow"): "Workers run and finish nothing: tickets stay queued. Look at their log and the database.",
    ("clock", "down"): "No clock has been heard of: holds do not end and nothing is prepared. Start one.",
}
"""A dependency's state in words with what to do. What is ``unknown`` is so because of another, which is here."""


def _unwell(health: Mapping[str, DependencyState]) -> list[Need]:
    return [
        Need(kind="dependency", title=name.capitalize(), detail=_UNWELL[name, state])
        for name, state in health.items()
        if (name, state) in _UNWELL
    ]


async def _compute(state: AppState, merchant_id: UUID) -> HomeView:
    async with state.database.transaction() as session:
        now = await database_now(session)
        found = await list_sales(session, merchant_id, now=now, wanted=None, search=None)
        needs_found = await repository.needs_of(session, merchant_id)
    states = {rows.sale.id: status(rows.sale, now) for rows in found}
    running = [one for one in found if states[one.sale.id] in (SaleStatus.LIVE, SaleStatus.PAUSED)]
    ahead = sorted(
        (one for one in found if states[one.sale.id] is SaleStatus.SCHEDULED), key=lambda one: one.sale.opens_at
    )
    drafts = [
        one
        for one in found
        if states[one.sale.id] is SaleStatus.DRAFT and timedelta(0) < one.sale.opens_at - now <= SOON
    ]
    health = await dependencies_now(state)
    unready = await asyncio.gather(*(_unready(state, one.sale, now) for one in ahead[:NEXT_MAX]))
    needs = _needs(running, drafts, needs_found)
    needs[:0] = _unwell(health)
    needs += [need for need in unready if need is not None]
    return HomeView(
        now=now,
        live=[_row(one, now) for one in sorted(running, key=lambda one: one.sale.closes_at)],
        next=[_row(one, now) for one in ahead[:NEXT_MAX]],
        needs=needs,
        dependencies=health,
    )


def _needs(running: Sequence[SaleRows], drafts: Sequence[SaleRows], found: Sequence[Any]) -> list[Need]:
    """Faults first: they keep shoppers out now."""
    needs = [
        Need(kind="fault", sale_id=one.sale.id, title=one.sale.title, detail=one.sale.fault.value)
        for one in running
        if one.sale.fault is not None
    ]
    for kind, sale_id, number, title in found:
        needs.append(Need(kind=kind, sale_id=sale_id, title=title, detail=_WORDS[kind], count=number))
    for one in drafts:
        detail = "A draft whose opening is less than a day away: it does not open until it is scheduled."
        needs.append(Need(kind="draft_due", sale_id=one.sale.id, title=one.sale.title, detail=detail))
    return needs


@router.get("/home")
async def read_home(state: State, actor: AnyOperator) -> HomeView:
    """Live and coming sales, and everything that waits for a person; computed once a second for a merchant."""
    merchant_id = actor.merchant_id
    return await state.shared.get(("home", merchant_id), SHARED_FOR_S, lambda: _compute(state, merchant_id))


@router.get("/dead-letters")
async def read_dead_letters(session: Session, actor: AnyOperator, sale_id: UUID | None = None) -> DeadLettersView:
    """What could not be done and needs a person, oldest first."""
    rows = await repository.dead_letters_of(session, actor.merchant_id, sale_id)
    return DeadLettersView(dead_letters=[DeadLetterView(**row._asdict()) for row in rows])


@router.post("/dead-letters/{letter_id}/resolve", response_model=DeadLettersView)
async def resolve_dead_letter(call: Calls, letter_id: UUID, body: ResolveBody) -> Response:
    """Say that a person has dealt with it, and how."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        row = await repository.resolve_dead_letter(session, call.actor.merchant_id, letter_id)
        if row is None:
            raise Refused(Code.NOT_FOUND)
        about = {"source": row.source, "reference": row.reference}
        return Done({"dead_letters": []}, before=about, after={**about, "resolved": True}, sale_id=row.sale_id)

    return await call.run("dead_letter.resolve", action, body=body, condition={"letter_id": str(letter_id)})
