"""Routes of the audit. Every role reads, owner and auditor run; a merchant sees its own sales only."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Row

from backend.api import AnyOperator, AppState, Auditor, Session, State
from backend.audit_api import repository_evidence
from backend.audit_api.exports import CSV_MEDIA_TYPE, run_as_csv, wants_csv, wants_html
from backend.audit_api.report import HTML_MEDIA_TYPE, POLICY, run_as_html
from backend.core.clock import rfc3339
from backend.core.errors import Code, Refused
from backend.core.fields import Moment, View
from backend.core.http import JsonResponse, StrictRoute
from backend.gate import GateUnavailable
from backend.models import ReconciliationRun, Sale
from backend.reconciliation import (
    TRIGGER_OPERATOR,
    balance,
    ledger_entries,
    recent_runs,
    run,
    run_of_merchant,
    sale_of_merchant,
)

router = APIRouter(prefix="/api/v1/audit", tags=["audit"], route_class=StrictRoute)

GATE_RETRY_MS = 2_000
NDJSON_MEDIA_TYPE = "application/x-ndjson"
REPORT_POINTS = 600
"""Steps of the report's plot: finer ones cannot be seen on 760 px."""


class GateFigures(View):
    available: int
    held: int
    read_at: Moment | None = None


class LedgerFigures(View):
    available: int
    reserved: int
    sold: int
    read_at: Moment


class LaneFigures(View):
    lane: int
    state: str
    cursor: str | None = None
    last: str | None = None
    available: int | None = None
    held: int | None = None
    left_at_cursor: int | None = None
    left: int | None = None
    fault: str | None = None


class ItemBalanceView(View):
    sku: str
    allotment: int
    gate: GateFigures
    ledger: LedgerFigures
    pending_units: int
    in_flight: int
    expected: int
    drift: int
    lanes: list[LaneFigures]


class BalanceView(View):
    items: list[ItemBalanceView]
    oversold: int
    stranded: int
    drift: int


class FindingView(View):
    rule: str
    message: str
    ids: dict[str, str]
    numbers: dict[str, int]


class RunLine(View):
    id: UUID
    trigger: str
    verdict: Literal["clean", "findings"]
    oversold: int
    stranded: int
    drift: int
    duplicates: int
    started_at: Moment
    finished_at: Moment


class RunView(RunLine):
    sale_id: UUID
    findings: list[FindingView]
    balance: BalanceView


class RunsView(View):
    reconciliations: list[RunLine]


def _gate_away() -> Refused:
    return Refused(
        Code.DEGRADED,
        "The gate does not answer, so there is nothing to compare the ledger with.",
        retry_after_ms=GATE_RETRY_MS,
    )


def _line(row: ReconciliationRun | Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "trigger": row.trigger,
        "verdict": row.verdict.value,
        "oversold": row.oversold,
        "stranded": row.stranded,
        "drift": row.drift,
        "duplicates": row.duplicates,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def _body(stored: ReconciliationRun) -> dict[str, Any]:
    return {
        **_line(stored),
        "sale_id": stored.sale_id,
        "findings": stored.findings,
        "balance": stored.balance,
    }


@router.get("/sales/{sale_id}/balance")
async def read_balance(actor: AnyOperator, state: State, sale_id: UUID) -> BalanceView:
    """Ledger and gate side by side, now, with the difference that must be 0."""
    async with state.database.transaction() as session:
        await sale_of_merchant(session, sale_id, actor.merchant_id)
    try:
        return BalanceView(**(await balance(state.database, state.gate, sale_id)).as_json())
    except GateUnavailable:
        raise _gate_away() from None


@router.post("/sales/{sale_id}/reconciliations", status_code=201)
async def create_run(actor: Auditor, state: State, sale_id: UUID) -> RunView:
    """Ask every rule, now, without stopping anything, and keep the answer."""
    async with state.database.transaction() as session:
        await sale_of_merchant(session, sale_id, actor.merchant_id)
    try:
        stored = await run(
            state.database,
            state.gate,
            sale_id,
            trigger=TRIGGER_OPERATOR,
            operator_id=actor.operator_id,
        )
    except GateUnavailable:
        raise _gate_away() from None
    return RunView(**_body(stored))


@router.get("/sales/{sale_id}/reconciliations")
async def list_runs(
    actor: AnyOperator,
    session: Session,
    sale_id: UUID,
    before: Annotated[Moment | None, Query(description="List those that began before this")] = None,
) -> RunsView:
    """A sale's newest 100 runs, those by the clock included."""
    await sale_of_merchant(session, sale_id, actor.merchant_id)
    rows = await recent_runs(session, sale_id, before=before)
    return RunsView(reconciliations=[RunLine(**_line(row)) for row in rows])


@router.get(
    "/reconciliations/{run_id}",
    response_model=RunView,
    responses={200: {"content": {form: {"schema": {"type": "string"}} for form in (CSV_MEDIA_TYPE, HTML_MEDIA_TYPE)}}},
)
async def read_run(
    actor: AnyOperator,
    session: Session,
    run_id: UUID,
    accept: Annotated[str, Header()] = "*/*",
    form: Annotated[Literal["json", "csv", "html"] | None, Query(alias="format")] = None,
) -> Response:
    """One run with its findings: JSON, or CSV and HTML by ``Accept`` or ``?format=``."""
    stored, sale = await run_of_merchant(session, run_id, actor.merchant_id)
    if wants_html(accept, form):
        return _html(
            stored,
            sale,
            await repository_evidence.sign_offs(session, sale.id),
            await repository_evidence.movements(session, sale.id, stored.finished_at, REPORT_POINTS),
        )
    if not wants_csv(accept, form):
        answer: Response = JsonResponse(_body(stored) | {"verdict": stored.verdict.value})
    else:
        name = f"reconciliation-{sale.slug}-{stored.started_at:%Y%m%dT%H%M%SZ}.csv"
        answer = Response(
            run_as_csv(stored, sale),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
    answer.headers["Vary"] = "Accept"
    return answer


def _html(
    stored: ReconciliationRun, sale: Sale, sign_offs: Sequence[Row[Any]], movements: Sequence[Row[Any]]
) -> Response:
    name = f"reconciliation-{sale.slug}-{stored.started_at:%Y%m%dT%H%M%SZ}.html"
    return Response(
        run_as_html(stored, sale, sign_offs, movements),
        media_type="text/html; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Security-Policy": POLICY,
            "Vary": "Accept",
        },
    )


@router.get(
    "/sales/{sale_id}/ledger",
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON_MEDIA_TYPE: {"schema": {"type": "string"}}}}},
)
async def stream_ledger(actor: AnyOperator, state: State, sale_id: UUID) -> StreamingResponse:
    """Every ledger entry of the sale, a JSON object a line, item by item in the order of the commits."""
    async with state.database.transaction() as session:
        sale = await sale_of_merchant(session, sale_id, actor.merchant_id)
    return StreamingResponse(
        _lines(state, sale_id),
        media_type=NDJSON_MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="ledger-{sale.slug}.ndjson"'},
    )


async def _lines(state: AppState, sale_id: UUID) -> AsyncIterator[bytes]:
    async for page in ledger_entries(state.database, sale_id):
        yield b"".join(orjson.dumps(_entry(row), option=orjson.OPT_APPEND_NEWLINE) for row in page)


def _entry(row: Row[Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": row.id,
        "sku": row.sku,
        "kind": row.kind,
        "quantity": row.quantity,
        "allotment_delta": row.allotment_delta,
        "available_delta": row.available_delta,
        "reserved_delta": row.reserved_delta,
        "sold_delta": row.sold_delta,
        "at": rfc3339(row.at),
    }
    for name in ("reservation_id", "command_id", "outbox_id"):
        if (value := getattr(row, name)) is not None:
            entry[name] = str(value)
    if row.seq is not None:
        entry["journal_entry"] = f"{row.generation}-{row.seq}"
    return entry
