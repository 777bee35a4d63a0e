"""Commands to a sale: ``POST sales/{id}/{schedule|pause|resume|end|rotate-links|throttle|…}``."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from backend import sales
from backend.accounts import Done
from backend.api import Calls
from backend.api.calls import OperatorCall
from backend.core.errors import Code, Refused
from backend.core.http import StrictRoute
from backend.jobs import contracts
from backend.operator_api.schemas import ReasonBody, RebuildBody, ResumeBody, SaleView, ThrottleBody
from backend.operator_api.views import sale_view, stored, throttle_changes
from backend.orders import cancel_sale
from backend.pages import want_pages
from backend.sales import SaleRows, SaleStatus, Steered

router = APIRouter(prefix="/sales/{sale_id}", route_class=StrictRoute)

PUBLISHED_WITHIN_S = 2.0
PUBLISHED_POLL_S = 0.1
"""How long ``publish`` waits for the worker, so that its answer usually shows the new version."""

Step = Callable[[AsyncSession, UUID, UUID], Awaitable[Steered]]
_NOTHING = ReasonBody()


async def _steer(
    call: OperatorCall, name: str, sale_id: UUID, body: ReasonBody | RebuildBody | None, step: Step
) -> Response:
    """Run a command that is one transaction in the ledger, then tell the lanes."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        steered = await step(session, call.actor.merchant_id, sale_id)
        view = stored(await sale_view(session, steered.rows))
        return Done(view, before=steered.before, after=steered.after)

    call.configures(sale_id)
    return await call.run(f"sale.{name}", action, body=body or _NOTHING, sale_id=sale_id)


@router.post("/schedule", response_model=SaleView)
async def post_schedule(call: Calls, sale_id: UUID, body: ReasonBody | None = None) -> Response:
    """From now on the clock preloads, rotates and publishes by the stored times; the sale opens by itself."""
    call.after_commit(lambda: call.state.enqueue(contracts.TRANSITIONS))
    return await _steer(call, "schedule", sale_id, body, sales.schedule)


@router.post("/pause", response_model=SaleView)
async def post_pause(call: Calls, sale_id: UUID, body: ReasonBody | None = None) -> Response:
    """Admit nobody until ``resume``."""
    return await _steer(call, "pause", sale_id, body, sales.pause)


@router.post("/end", response_model=SaleView)
async def post_end(call: Calls, sale_id: UUID, body: ReasonBody | None = None) -> Response:
    """End now, for good; orders already placed go on."""
    return await _steer(call, "end", sale_id, body, sales.end)


@router.post("/rotate-links", response_model=SaleView)
async def post_rotate_links(call: Calls, sale_id: UUID, body: ReasonBody | None = None) -> Response:
    """A new link secret; links of the one before stop when the overlap is over."""
    return await _steer(call, "rotate-links", sale_id, body, sales.rotate_links)


@router.post("/throttle", response_model=SaleView)
async def post_throttle(call: Calls, sale_id: UUID, body: ThrottleBody) -> Response:
    """Change the sale's throttle, or with ``sku`` one item's own; what is left out stays."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        sku = body.sku if "sku" in body.model_fields_set else None
        steered = await sales.throttle(session, call.actor.merchant_id, sale_id, throttle_changes(body), sku=sku)
        view = stored(await sale_view(session, steered.rows))
        return Done(view, before=steered.before, after=steered.after)

    call.configures(sale_id)
    return await call.run("sale.throttle", action, body=body, sale_id=sale_id)


@router.post("/resume", response_model=SaleView)
async def post_resume(call: Calls, sale_id: UUID, body: ResumeBody | None = None) -> Response:
    """Admit shoppers again. After a fault it needs a reason and the sale's generation (409 names it)."""
    asked = body or ResumeBody()

    async def action(session: AsyncSession, _: UUID) -> Done:
        steered = await sales.resume(
            session, call.actor.merchant_id, sale_id, reason=asked.reason, generation=asked.generation
        )
        if steered.cleared_fault:
            # Without this the lanes' own latch would stay: no configuration undoes it.
            call.clears_fault(sale_id)
        view = stored(await sale_view(session, steered.rows))
        return Done(view, before=steered.before, after=steered.after)

    call.configures(sale_id)
    return await call.run("sale.resume", action, body=asked, sale_id=sale_id)


@router.post("/rebuild", response_model=SaleView)
async def post_rebuild(call: Calls, sale_id: UUID, body: RebuildBody) -> Response:
    """Stop the sale and have its gate written anew from the ledger. It goes on by itself, or waits for a resume, as
    its ``recovery`` says."""
    call.after_commit(lambda: call.state.enqueue(contracts.RECOVER))
    return await _steer(call, "rebuild", sale_id, body, sales.request_rebuild)


@router.post("/cancel", response_model=SaleView)
async def post_cancel(call: Calls, sale_id: UUID, body: ReasonBody | None = None) -> Response:
    """Cancel the sale and every unpaid order in it; paid ones become refunds due."""

    async def action(session: AsyncSession, command_id: UUID) -> Done:
        merchant_id = call.actor.merchant_id
        before = await sales.check_cancellable(session, merchant_id, sale_id)
        released = await cancel_sale(session, sale_id, command_id)
        rows = await sales.get_sale(session, merchant_id, sale_id, lock=True)
        return Done(
            stored(await sale_view(session, rows)),
            before={"status": before.value},
            after={"status": SaleStatus.CANCELLED.value, "units_released": released},
        )

    call.configures(sale_id)
    call.after_commit(lambda: call.state.enqueue(contracts.RELAY))
    return await call.run("sale.cancel", action, body=body or _NOTHING, sale_id=sale_id)


async def _answer_sale(session: AsyncSession, rows: SaleRows, after: Mapping[str, Any]) -> Done:
    return Done(stored(await sale_view(session, rows)), after=after)


@router.post("/preload", response_model=SaleView)
async def post_preload(call: Calls, sale_id: UUID, body: ReasonBody | None = None) -> Response:
    """Load the stock into the gate now, instead of at the lead time. A repeat loads nothing twice."""
    state, merchant_id = call.state, call.actor.merchant_id

    async def record(session: AsyncSession, _: UUID) -> Mapping[str, Any]:
        rows = await sales.get_sale(session, merchant_id, sale_id)
        await sales.record_preload(session, sale_id)
        return {"preloaded": rows.sale.preloaded_at is not None}

    async def act(_: UUID) -> None:
        troubles = await sales.load_lanes(state.database, state.gate, state.settings, sale_id)
        if troubles:
            raise Refused(
                Code.DEGRADED,
                "Not every item's stock could be loaded; the clock goes on trying.",
                retry_after_ms=2_000,
                extra={"lanes": [{"sku": one.sku, "detail": one.detail} for one in troubles]},
            )

    async def answer(session: AsyncSession, _: None) -> Done:
        rows = await sales.get_sale(session, merchant_id, sale_id)
        return await _answer_sale(session, rows, {"preloaded": True})

    return await call.run_in_steps(
        "sale.preload", record=record, act=act, answer=answer, body=body or _NOTHING, sale_id=sale_id
    )


@router.post("/publish", response_model=SaleView)
async def post_publish(call: Calls, sale_id: UUID, body: ReasonBody | None = None) -> Response:
    """Have a worker publish the page again, and wait a moment for it."""
    state, merchant_id = call.state, call.actor.merchant_id

    async def record(session: AsyncSession, _: UUID) -> Mapping[str, Any]:
        rows = await sales.get_sale(session, merchant_id, sale_id)
        current = sales.status(rows.sale, await sales.database_now(session))
        if current in (SaleStatus.DRAFT, SaleStatus.CANCELLED):
            raise sales.wrong_state(current, f"The page of a sale that is {current} is not published.")
        await want_pages(session, sale_id=sale_id, by=call.actor.operator_id)
        return {"published_version": rows.sale.published_version}

    async def act(_command_id: UUID) -> None:
        before = await _published_version(call, sale_id)
        if not await state.enqueue(contracts.PUBLISH, str(sale_id)):
            raise Refused(Code.DEGRADED, "The job broker cannot be reached.", retry_after_ms=2_000)
        for _ in range(int(PUBLISHED_WITHIN_S / PUBLISHED_POLL_S)):
            if await _published_version(call, sale_id) != before:
                return
            await asyncio.sleep(PUBLISHED_POLL_S)

    async def answer(session: AsyncSession, _: None) -> Done:
        rows = await sales.get_sale(session, merchant_id, sale_id)
        return await _answer_sale(session, rows, {"published_version": rows.sale.published_version})

    return await call.run_in_steps(
        "sale.publish", record=record, act=act, answer=answer, body=body or _NOTHING, sale_id=sale_id
    )


async def _published_version(call: OperatorCall, sale_id: UUID) -> int | None:
    async with call.state.database.transaction() as session:
        rows = await sales.get_sale(session, call.actor.merchant_id, sale_id)
    return rows.sale.published_version
