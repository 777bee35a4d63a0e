"""Sales: made, listed, read, edited, deleted, checked."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import Done
from backend.api import AnyOperator, Calls, Session, State
from backend.core.errors import Code, Refused
from backend.core.http import StrictRoute, etag, version_of
from backend.jobs import contracts
from backend.operator_api.schemas import (
    CheckView,
    PreflightView,
    SaleBody,
    SaleChange,
    SalesView,
    SaleView,
    Status,
)
from backend.operator_api.views import changed_terms, sale_rows, sale_view, stored, terms_from
from backend.pages import want_pages
from backend.sales import (
    SaleStatus,
    create_sale,
    database_now,
    delete_sale,
    edit_sale,
    get_sale,
    list_sales,
    plain,
    preflight,
    sale_defaults,
    terms_of,
)

router = APIRouter(prefix="/sales", route_class=StrictRoute)

Search = Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00]*$")]


@router.get("")
async def read_sales(
    session: Session,
    actor: AnyOperator,
    status: Annotated[Status | None, Query()] = None,
    q: Search = None,
) -> SalesView:
    """The merchant's sales, the latest opening first."""
    now = await database_now(session)
    wanted = SaleStatus(status) if status else None
    found = await list_sales(session, actor.merchant_id, now=now, wanted=wanted, search=q)
    return SalesView(sales=await sale_rows(session, found, now))


@router.post("", status_code=201, response_model=SaleView)
async def post_sale(call: Calls, body: SaleBody) -> Response:
    """Make a draft."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        defaults, _own = await sale_defaults(session, call.actor.merchant_id)
        rows = await create_sale(session, call.actor.merchant_id, terms_from(body, defaults))
        after = plain(terms_of(rows.sale, rows.items))
        return Done(stored(await sale_view(session, rows)), 201, after=after, sale_id=rows.sale.id)

    return await call.run("sale.create", action, body=body)


@router.get("/{sale_id}")
async def read_sale(session: Session, actor: AnyOperator, sale_id: UUID, response: Response) -> SaleView:
    """A sale, with its version as ``ETag``."""
    rows = await get_sale(session, actor.merchant_id, sale_id)
    response.headers["ETag"] = etag(rows.sale.version)
    return await sale_view(session, rows)


@router.patch("/{sale_id}", response_model=SaleView)
async def patch_sale(
    call: Calls,
    sale_id: UUID,
    body: SaleChange,
    if_match: Annotated[str, Header(alias="If-Match", description="The `ETag` of the sale as it was read.")],
) -> Response:
    """Change terms of a sale. A draft: all. Scheduled: all but the slug. From the preload on: title, a later
    end, and the link policy. 412 when somebody changed it meanwhile."""
    version = version_of(if_match)
    if version is None:
        raise Refused(Code.STALE)

    async def action(session: AsyncSession, _: UUID) -> Done:
        old, rows = await edit_sale(
            session,
            call.actor.merchant_id,
            sale_id,
            if_match=version,
            build=lambda terms: changed_terms(terms, body),
        )
        after = plain(terms_of(rows.sale, rows.items))
        if rows.sale.version != version:
            await want_pages(session, sale_id=sale_id, by=call.actor.operator_id)
        return Done(stored(await sale_view(session, rows)), before=plain(old), after=after)

    call.configures(sale_id)
    call.after_commit(lambda: call.state.enqueue(contracts.TRANSITIONS))
    return await call.run("sale.edit", action, body=body, sale_id=sale_id, condition={"if_match": version})


@router.delete("/{sale_id}", status_code=204, response_class=Response)
async def remove_sale(call: Calls, sale_id: UUID) -> Response:
    """Delete a draft."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        rows = await delete_sale(session, call.actor.merchant_id, sale_id)
        return Done({}, 204, before=plain(terms_of(rows.sale, rows.items)))

    return await call.run("sale.delete", action, sale_id=sale_id, condition={"sale_id": str(sale_id)})


@router.get("/{sale_id}/preflight")
async def read_preflight(state: State, actor: AnyOperator, sale_id: UUID) -> PreflightView:
    """What is missing before the sale can run."""
    async with state.database.transaction() as session:
        rows = await get_sale(session, actor.merchant_id, sale_id)
    checks = await preflight(state.database, state.gate, state.settings, rows.sale)
    return PreflightView(
        ready=all(check.ok for check in checks), checks=[CheckView(**check.as_dict()) for check in checks]
    )
