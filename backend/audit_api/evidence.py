"""The auditors' browser: ledger entries, the activity of a whole merchant, and the sign-off of a run."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import Done
from backend.api import AnyOperator, AuditCalls, Session
from backend.api.cursors import Cursor, cursor_of, position_of
from backend.audit_api import repository_evidence as repository
from backend.core.fields import Id, Moment, Reason, SkuCode, Strict, View
from backend.core.http import StrictRoute
from backend.models import EntryKind
from backend.reconciliation import run_of_merchant, sale_of_merchant

router = APIRouter(route_class=StrictRoute)


class EntryLine(View):
    id: int
    sku: str
    kind: str
    quantity: int
    allotment_delta: int
    available_delta: int
    reserved_delta: int
    sold_delta: int
    at: Moment
    reservation_id: Id | None = None
    order_id: Id | None = None
    command_id: Id | None = None
    outbox_id: Id | None = None
    journal_entry: str | None = None


class EntriesView(View):
    entries: list[EntryLine]
    next_before: int | None = None
    """``before`` of the page that follows."""


class SignOffView(View):
    id: Id
    run_id: Id
    verdict: Literal["clean", "findings"]
    remark: str
    at: Moment
    email: str
    role: str


class SignedView(View):
    id: Id
    reconciliation_id: Id
    verdict: Literal["clean", "findings"]


class SignOffsView(View):
    sign_offs: list[SignOffView]


class RemarkBody(Strict):
    reason: Reason
    """The remark; it is what an auditor stands for with their name."""


class MerchantLine(View):
    id: Id
    at: Moment
    actor: str
    kind: str
    reason: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    outcome: Literal["done", "refused", "open", "alarm"]
    sale_id: Id | None = None
    sale_title: str | None = None


class MerchantActivity(View):
    activity: list[MerchantLine]
    next_cursor: str | None = None


@router.get("/sales/{sale_id}/entries")
async def read_entries(
    session: Session,
    actor: AnyOperator,
    sale_id: UUID,
    sku: Annotated[SkuCode | None, Query()] = None,
    kind: Annotated[EntryKind | None, Query()] = None,
    cause: Annotated[UUID | None, Query(description="A reservation, an order or a command")] = None,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> EntriesView:
    """Ledger entries, the newest first, by SKU, kind or what caused them."""
    await sale_of_merchant(session, sale_id, actor.merchant_id)
    rows = await repository.entries(
        session, sale_id, sku=sku, kind=kind.value if kind else None, cause=cause, before=before
    )
    lines = [_entry(row) for row in rows[: repository.PAGE]]
    return EntriesView(entries=lines, next_before=lines[-1].id if len(rows) > repository.PAGE else None)


def _entry(row: Row[Any]) -> EntryLine:
    fields = row._asdict()
    generation, seq = fields.pop("generation"), fields.pop("seq")
    return EntryLine(**fields, journal_entry=None if seq is None else f"{generation}-{seq}")


@router.get("/sales/{sale_id}/sign-offs")
async def read_sign_offs(session: Session, actor: AnyOperator, sale_id: UUID) -> SignOffsView:
    """Which runs were signed off, by whom, with what remark."""
    await sale_of_merchant(session, sale_id, actor.merchant_id)
    return SignOffsView(
        sign_offs=[SignOffView(**row._asdict()) for row in await repository.sign_offs(session, sale_id)]
    )


@router.post("/reconciliations/{run_id}/sign-off", status_code=201, response_model=SignedView)
async def post_sign_off(call: AuditCalls, run_id: UUID, body: RemarkBody) -> Response:
    """Stand for a run with a remark. It goes into the activity: nobody takes it back, a later one may differ."""
    async with call.state.database.transaction() as session:
        run, _sale = await run_of_merchant(session, run_id, call.actor.merchant_id)

    async def action(_: AsyncSession, command_id: UUID) -> Done:
        about = {
            "reconciliation_id": str(run.id),
            "verdict": run.verdict.value,
            "findings": len(run.findings),
            "oversold": run.oversold,
            "stranded": run.stranded,
            "drift": run.drift,
        }
        return Done({"id": str(command_id), **about}, 201, after=about)

    return await call.run(
        repository.SIGN_OFF, action, body=body, sale_id=run.sale_id, condition={"run_id": str(run_id)}
    )


@router.get("/activity")
async def read_activity(session: Session, actor: AnyOperator, cursor: Cursor = None) -> MerchantActivity:
    """Who did what, of the whole merchant, the newest first."""
    rows = await repository.activity(session, actor.merchant_id, after=position_of(cursor))
    lines = [_line(row) for row in rows[: repository.PAGE]]
    more = len(rows) > repository.PAGE
    return MerchantActivity(activity=lines, next_cursor=cursor_of(lines[-1].at, lines[-1].id) if more else None)


def _line(row: Row[Any]) -> MerchantLine:
    outcome: Literal["done", "refused", "open", "alarm"]
    if row.alarm:
        outcome = "alarm"
    elif row.response_status is None:
        outcome = "open"
    else:
        outcome = "done" if row.response_status < 400 else "refused"
    return MerchantLine(
        id=row.id,
        at=row.at,
        actor=row.actor,
        kind=row.kind,
        reason=row.reason,
        before=row.before,
        after=row.after,
        outcome=outcome,
        # A draft that was deleted has no page to lead to.
        sale_id=None if row.title is None else row.sale_id,
        sale_title=row.title,
    )
