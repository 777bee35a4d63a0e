"""Pages of a sale: a preview, what was published when and by whom, and an earlier version again."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from backend import pages
from backend.accounts import Done
from backend.api import AnyOperator, Calls, Session, State
from backend.core.fields import Moment, Reason, Strict, View
from backend.core.http import StrictRoute
from backend.operator_api import repository_pages
from backend.operator_api.schemas import ActivityLine
from backend.operator_api.views import activity_line
from backend.sales import SaleStatus, database_now, get_sale, status, wrong_state

router = APIRouter(route_class=StrictRoute)


class PageVersionView(View):
    version: int
    published_at: Moment
    published_by: str | None = None
    """An operator's address; left out when the clock published it."""
    current: bool
    kept: bool
    """It can be shown again."""


class PageVersionsView(View):
    versions: list[PageVersionView]
    up_to_date: bool
    """Nothing that the page shows waits to be published."""
    changes: list[ActivityLine]
    """What operators have changed of the sale and its SKUs since the version that is shown was published, newest
    first, at most 50. After going back to an earlier version these are not on the page."""


class PreviewView(View):
    path: str
    expires_at: Moment


class RollBackBody(Strict):
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    reason: Reason


class RolledBackView(View):
    published_version: int


@router.get("/sales/{sale_id}/pages")
async def read_versions(session: Session, state: State, actor: AnyOperator, sale_id: UUID) -> PageVersionsView:
    """The newest 50 versions of a sale's page, the newest first, and what has changed since the one that is shown."""
    sale = (await get_sale(session, actor.merchant_id, sale_id)).sale
    found = await pages.page_versions(session, state.settings, sale_id, sale.slug)
    shown = next((one for one in found if one.version == sale.published_version), None)
    changes = (
        await repository_pages.changes_since(session, actor.merchant_id, sale_id, shown.published_at) if shown else []
    )
    return PageVersionsView(
        versions=[
            PageVersionView(
                version=one.version,
                published_at=one.published_at,
                published_by=one.published_by,
                current=one.version == sale.published_version,
                kept=one.kept,
            )
            for one in found
        ],
        up_to_date=sale.page_wanted_at is None,
        changes=[activity_line(row) for row in changes],
    )


@router.post("/sales/{sale_id}/preview", status_code=201, response_model=PreviewView)
async def post_preview(call: Calls, sale_id: UUID) -> Response:
    """The page as it would be published now, beside itself as a phone and as a desktop show it.

    Its address is a secret of its own and is forgotten after a day.
    """
    state, merchant_id = call.state, call.actor.merchant_id

    async def record(session: AsyncSession, _: UUID) -> Mapping[str, Any]:
        await get_sale(session, merchant_id, sale_id)
        return {}

    async def act(_: UUID) -> pages.Preview:
        async with state.database.transaction() as session:
            return await pages.preview(session, state.settings, sale_id)

    async def answer(_: AsyncSession, made: pages.Preview) -> Done:
        view = PreviewView(path=made.path, expires_at=made.expires_at)
        return Done(view.model_dump(mode="json"), 201)

    return await call.run_in_steps("sale.preview", record=record, act=act, answer=answer, sale_id=sale_id)


@router.post("/pages/{sale_id}/rollback", response_model=RolledBackView)
async def post_rollback(call: Calls, sale_id: UUID, body: RollBackBody) -> Response:
    """Show an earlier version again, until the page is published next."""
    merchant_id = call.actor.merchant_id

    async def action(session: AsyncSession, _: UUID) -> Done:
        rows = await get_sale(session, merchant_id, sale_id)
        current = status(rows.sale, await database_now(session))
        if rows.sale.published_version is None or current is SaleStatus.CANCELLED:
            raise wrong_state(current, "This sale's page has no version to go back to.")
        before = await pages.roll_back(session, call.state.settings, sale_id, body.version)
        return Done(
            {"published_version": body.version},
            before={"published_version": before},
            after={"published_version": body.version},
        )

    return await call.run("sale.page_rolled_back", action, body=body, sale_id=sale_id)
