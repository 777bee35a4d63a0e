"""SKUs."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import Done
from backend.api import AnyOperator, Calls, Session
from backend.core.http import StrictRoute
from backend.jobs import contracts
from backend.operator_api.schemas import SkuBody, SkuChange, SkusView, SkuView
from backend.operator_api.views import sku_view, stored
from backend.pages import want_pages
from backend.sales import create_sku, edit_sku, get_sku, list_skus

router = APIRouter(prefix="/skus", route_class=StrictRoute)


@router.get("")
async def read_skus(session: Session, actor: AnyOperator) -> SkusView:
    """The merchant's SKUs, by code."""
    return SkusView(skus=[sku_view(sku) for sku in await list_skus(session, actor.merchant_id)])


@router.post("", status_code=201, response_model=SkuView)
async def post_sku(call: Calls, body: SkuBody) -> Response:
    """Make a SKU."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        price = body.usual_price if "usual_price" in body.model_fields_set else None
        sku = await create_sku(
            session,
            call.actor.merchant_id,
            sku=body.sku,
            name=body.name,
            description=body.description,
            usual_price=(price.amount_minor, price.currency) if price is not None else None,
            options=[one.model_dump() for one in body.options],
        )
        view = stored(sku_view(sku))
        return Done(view, 201, after=view)

    return await call.run("sku.create", action, body=body)


@router.get("/{sku_id}")
async def read_sku(session: Session, actor: AnyOperator, sku_id: UUID) -> SkuView:
    return sku_view(await get_sku(session, actor.merchant_id, sku_id))


@router.patch("/{sku_id}", response_model=SkuView)
async def patch_sku(call: Calls, sku_id: UUID, body: SkuChange) -> Response:
    """Change name, description, usual price or options. Published pages with this SKU are published again."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        merchant_id = call.actor.merchant_id
        before = stored(sku_view(await get_sku(session, merchant_id, sku_id)))
        changes: dict[str, Any] = {
            name: getattr(body, name) for name in body.model_fields_set & {"name", "description"}
        }
        if "usual_price" in body.model_fields_set:
            changes |= {
                "usual_price_minor": body.usual_price.amount_minor,
                "currency": body.usual_price.currency,
            }
        if "options" in body.model_fields_set:
            changes["options"] = [one.model_dump() for one in body.options]
        after = stored(sku_view(await edit_sku(session, merchant_id, sku_id, changes)))
        if changes:
            await want_pages(session, sku_id=sku_id, by=call.actor.operator_id)
        return Done(after, before=before, after=after)

    call.after_commit(lambda: call.state.enqueue(contracts.TRANSITIONS))
    return await call.run("sku.edit", action, body=body, condition={"sku_id": str(sku_id)})
