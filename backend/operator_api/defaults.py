"""Settings: what a merchant's new sales start from."""

from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import Done
from backend.api import AnyOperator, OwnerCalls, Session
from backend.core.fields import Strict, View
from backend.core.http import StrictRoute
from backend.operator_api.schemas import Burst, Hold, LinkTtl, Overlap, Rate, RepeatWindow, ThrottleView, WaitBudget
from backend.sales import SaleDefaults, ThrottleTerms, sale_defaults, set_sale_defaults

router = APIRouter(prefix="/defaults", route_class=StrictRoute)


class ThrottleDefaults(Strict):
    rate_per_s: Rate
    burst: Burst
    wait_budget_ms: WaitBudget
    repeat_window_ms: RepeatWindow


class LinkDefaults(Strict):
    ttl_s: LinkTtl
    overlap_s: Overlap


class PaymentDefaults(Strict):
    hold_s: Hold


class DefaultsBody(Strict):
    """All of it: what is left out would be somebody's guess."""

    throttle: ThrottleDefaults
    link: LinkDefaults
    payment: PaymentDefaults


class LinkDefaultsView(View):
    ttl_s: int
    overlap_s: int


class PaymentDefaultsView(View):
    hold_s: int


class PlatformDefaults(View):
    throttle: ThrottleView
    link: LinkDefaultsView
    payment: PaymentDefaultsView


class DefaultsView(PlatformDefaults):
    own: bool
    """Whether the merchant has set them."""
    platform: PlatformDefaults
    """What holds without."""


def _plain(defaults: SaleDefaults) -> PlatformDefaults:
    return PlatformDefaults(
        throttle=ThrottleView(**defaults.throttle.as_dict()),
        link=LinkDefaultsView(ttl_s=defaults.link_ttl_s, overlap_s=defaults.link_overlap_s),
        payment=PaymentDefaultsView(hold_s=defaults.hold_s),
    )


async def _view(session: AsyncSession, merchant_id: UUID) -> DefaultsView:
    defaults, own = await sale_defaults(session, merchant_id)
    return DefaultsView(**_plain(defaults).model_dump(), own=own, platform=_plain(SaleDefaults()))


@router.get("")
async def read_defaults(session: Session, actor: AnyOperator) -> DefaultsView:
    """What a new sale starts from where it says nothing else."""
    return await _view(session, actor.merchant_id)


@router.put("", response_model=DefaultsView)
async def put_defaults(call: OwnerCalls, body: DefaultsBody) -> Response:
    """Set them. Sales that exist keep what they have."""
    return await _set(
        call,
        "defaults.set",
        SaleDefaults(
            ThrottleTerms(**body.throttle.model_dump()), body.link.ttl_s, body.link.overlap_s, body.payment.hold_s
        ),
        body,
    )


@router.delete("", response_model=DefaultsView)
async def delete_defaults(call: OwnerCalls) -> Response:
    """Go back to the platform's own."""
    return await _set(call, "defaults.reset", None, None)


async def _set(call: OwnerCalls, kind: str, defaults: SaleDefaults | None, body: DefaultsBody | None) -> Response:
    async def action(session: AsyncSession, _: UUID) -> Done:
        before, _own = await sale_defaults(session, call.actor.merchant_id)
        await set_sale_defaults(session, call.actor.merchant_id, defaults)
        view = await _view(session, call.actor.merchant_id)
        return Done(
            view.model_dump(mode="json"),
            before=before.columns(),
            after=(defaults or SaleDefaults()).columns(),
        )

    return await call.run(kind, action, body=body)
