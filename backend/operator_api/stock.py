"""``POST sales/{id}/top-up`` and ``…/reduce``."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from backend import sales
from backend.accounts import Done
from backend.api import Calls
from backend.api.calls import OperatorCall
from backend.core.http import StrictRoute
from backend.jobs import contracts
from backend.operator_api.schemas import QuantityBody, SaleView
from backend.operator_api.views import sale_view, stored

router = APIRouter(prefix="/sales/{sale_id}", route_class=StrictRoute)


def _line(sku: str, figures: Mapping[str, int]) -> dict[str, Any]:
    return {"sku": sku, **figures}


@router.post("/top-up", response_model=SaleView)
async def post_top_up(call: Calls, sale_id: UUID, body: QuantityBody) -> Response:
    """Add units; they can be bought when the relay has told the gate, within about a second."""

    async def action(session: AsyncSession, command_id: UUID) -> Done:
        stocked, rows = await sales.top_up(
            session,
            call.actor.merchant_id,
            sale_id,
            sku=body.sku,
            units=body.quantity,
            command_id=command_id,
        )
        return Done(
            stored(await sale_view(session, rows)),
            before=_line(body.sku, stocked.before),
            after=_line(body.sku, stocked.after),
        )

    call.after_commit(lambda: call.state.enqueue(contracts.RELAY))
    return await call.run("sale.top-up", action, body=body, sale_id=sale_id)


@router.post("/reduce", response_model=SaleView)
async def post_reduce(call: Calls, sale_id: UUID, body: QuantityBody) -> Response:
    """Take units out that are neither reserved nor sold: 409 ``BELOW_COMMITTED`` when there are fewer."""
    if await sales.is_loaded(call.state.database, call.actor.merchant_id, sale_id):
        return await _reduce_in_gate(call, sale_id, body)

    async def action(session: AsyncSession, _: UUID) -> Done:
        stocked, rows = await sales.reduce_unloaded(
            session, call.actor.merchant_id, sale_id, sku=body.sku, units=body.quantity
        )
        return Done(
            stored(await sale_view(session, rows)),
            before=_line(body.sku, stocked.before),
            after=_line(body.sku, stocked.after),
        )

    return await call.run("sale.reduce", action, body=body, sale_id=sale_id)


async def _reduce_in_gate(call: OperatorCall, sale_id: UUID, body: QuantityBody) -> Response:
    state, merchant_id = call.state, call.actor.merchant_id

    async def record(session: AsyncSession, _: UUID) -> Mapping[str, Any]:
        stocked = await sales.check_reduction(session, merchant_id, sale_id, sku=body.sku, units=body.quantity)
        return _line(body.sku, stocked.before)

    async def act(command_id: UUID) -> None:
        await sales.take_from_gate(
            state.database, state.gate, sale_id, sku=body.sku, units=body.quantity, command_id=command_id
        )

    async def answer(session: AsyncSession, _: None) -> Done:
        stocked, rows = await sales.reduced(session, merchant_id, sale_id, sku=body.sku)
        return Done(stored(await sale_view(session, rows)), after=_line(body.sku, stocked.after))

    return await call.run_in_steps("sale.reduce", record=record, act=act, answer=answer, body=body, sale_id=sale_id)
