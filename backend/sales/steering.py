"""What an operator does to a scheduled or running sale. Each change that a lane must know of bumps
``config_version`` under the sale's row lock; ``lanes.configure_lanes`` follows the commit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused, invalid_field
from backend.models import Fault, SaleStage
from backend.sales import repository
from backend.sales.lanes import rotate_secret
from backend.sales.preflight import window_check
from backend.sales.repository import SaleRows
from backend.sales.service import get_sale, newest_generation, wrong_state
from backend.sales.status import SaleStatus, status
from backend.sales.terms import throttle_of

_OPEN = frozenset({SaleStatus.SCHEDULED, SaleStatus.LIVE, SaleStatus.PAUSED})


@dataclass(frozen=True, slots=True)
class Steered:
    """A sale after a command, and what it was and has become in the words of the activity log."""

    rows: SaleRows
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    cleared_fault: bool = False


async def _locked(
    session: AsyncSession, merchant_id: UUID, sale_id: UUID, allowed: frozenset[SaleStatus], verb: str
) -> tuple[SaleRows, SaleStatus]:
    rows = await get_sale(session, merchant_id, sale_id, lock=True)
    current = status(rows.sale, await repository.database_now(session))
    if current not in allowed:
        raise wrong_state(current, f"A sale that is {current} cannot be {verb}.")
    return rows, current


async def _change(
    session: AsyncSession, rows: SaleRows, values: Mapping[str, Any], before: SaleStatus, **more: Any
) -> Steered:
    sale = rows.sale
    await repository.change_sale(
        session,
        sale.id,
        {**values, "version": sale.version + 1, "config_version": sale.config_version + 1},
    )
    after = await get_sale(session, sale.merchant_id, sale.id, lock=True)
    now_is = status(after.sale, await repository.database_now(session))
    return Steered(after, {"status": before.value, **more}, {"status": now_is.value})


async def schedule(session: AsyncSession, merchant_id: UUID, sale_id: UUID) -> Steered:
    """``draft → scheduled``. From now on the clock preloads, rotates and publishes by the stored times.

    Raises ``PREFLIGHT_FAILED`` when the window is over or has begun.
    """
    rows, before = await _locked(session, merchant_id, sale_id, frozenset({SaleStatus.DRAFT}), "scheduled")
    now = await repository.database_now(session)
    window = window_check(rows.sale, now)
    if not window.ok:
        raise Refused(Code.PREFLIGHT_FAILED, window.detail, extra={"checks": [window.as_dict()]})
    return await _change(session, rows, {"stage": SaleStage.SCHEDULED, "scheduled_at": now}, before)


async def pause(session: AsyncSession, merchant_id: UUID, sale_id: UUID) -> Steered:
    """Admit nobody until ``resume``. Before the opening too: a sale can be held back."""
    rows, before = await _locked(session, merchant_id, sale_id, _OPEN, "paused")
    now = await repository.database_now(session)
    return await _change(session, rows, {"paused_at": rows.sale.paused_at or now}, before)


async def resume(
    session: AsyncSession, merchant_id: UUID, sale_id: UUID, *, reason: str | None, generation: int | None
) -> Steered:
    """``paused → live``. A sale that the platform stopped for a fault needs a reason and the generation of
    its journal, so that nobody resumes by habit, or by a stale page, what was rebuilt meanwhile."""
    rows, before = await _locked(session, merchant_id, sale_id, frozenset({SaleStatus.PAUSED}), "resumed")
    fault = rows.sale.fault
    if fault is not None:
        newest = await newest_generation(session, sale_id)
        if reason is None:
            raise invalid_field("reason", f"The platform stopped this sale ({fault}); say why it may go on.")
        if generation != newest:
            raise wrong_state(
                before,
                f"The platform stopped this sale ({fault}). Name its generation to resume.",
                fault=fault.value,
                generation=newest,
            )
        await repository.insert_event(
            session, sale_id, "sale.fault_cleared", detail={"fault": fault.value, "generation": newest}
        )
    more = {"fault": fault.value} if fault else {}
    steered = await _change(session, rows, {"paused_at": None, "fault": None}, before, **more)
    return replace(steered, cleared_fault=fault is not None)


_REBUILDABLE = frozenset(_OPEN | {SaleStatus.ENDED, SaleStatus.CANCELLED})


async def request_rebuild(
    session: AsyncSession, merchant_id: UUID, sale_id: UUID, *, reason: str | None = None
) -> Steered:
    """Stop the sale and have its gate written anew from the ledger (``backend.orders.recovery`` does it).

    Any fault gives way: who asks has seen it. A repeat while the rebuild is under way asks for nothing more. ``reason``
    is for a call that no command records. Raises ``WRONG_STATE`` when no gate has its stock.
    """
    rows, before = await _locked(session, merchant_id, sale_id, _REBUILDABLE, "given a new gate")
    sale = rows.sale
    if sale.preloaded_at is None:
        raise wrong_state(before, "The stock of this sale is not in the gate yet.")
    if sale.fault is Fault.REBUILD:
        return Steered(rows, {"status": before.value}, {"status": before.value})
    earlier = sale.fault.value if sale.fault else "none"
    detail = {"fault": earlier, "reason": reason} if reason else {"fault": earlier}
    await repository.insert_event(session, sale_id, "sale.rebuild_requested", detail=detail)
    return await _change(session, rows, {"fault": Fault.REBUILD}, before, fault=earlier)


async def end(session: AsyncSession, merchant_id: UUID, sale_id: UUID) -> Steered:
    """End now, for good. Orders already placed go on."""
    allowed = frozenset({SaleStatus.LIVE, SaleStatus.PAUSED})
    rows, before = await _locked(session, merchant_id, sale_id, allowed, "ended")
    return await _change(session, rows, {"ended_at": await repository.database_now(session)}, before)


async def check_cancellable(session: AsyncSession, merchant_id: UUID, sale_id: UUID) -> SaleStatus:
    """The status of a sale that may be cancelled: any but a draft (delete it) and what is over.

    The row is not locked: ``orders.cancel_sale`` takes cursors and items first, as the drain does, and a
    second cancellation finds nothing left to do.
    """
    rows = await get_sale(session, merchant_id, sale_id)
    current = status(rows.sale, await repository.database_now(session))
    if current not in _OPEN | {SaleStatus.ENDED}:
        raise wrong_state(current, f"A sale that is {current} cannot be cancelled.")
    return current


async def rotate_links(session: AsyncSession, merchant_id: UUID, sale_id: UUID) -> Steered:
    """A new link secret and epoch; links of the one before stop after the overlap (0: at once)."""
    rows, before = await _locked(session, merchant_id, sale_id, _OPEN, "given new links")
    epoch = await rotate_secret(session, rows.sale)
    steered = await _change(session, rows, {"link_epoch": epoch}, before, link_epoch=rows.sale.link_epoch)
    return replace(steered, after={**steered.after, "link_epoch": epoch})


async def throttle(
    session: AsyncSession,
    merchant_id: UUID,
    sale_id: UUID,
    changes: Mapping[str, Any],
    *,
    sku: str | None,
) -> Steered:
    """Change the sale's throttle, which is each item's default, or with ``sku`` one item's own."""
    rows, before = await _locked(session, merchant_id, sale_id, _OPEN | {SaleStatus.DRAFT}, "throttled")
    old = throttle_of(rows.sale)
    assert old is not None
    if sku is None:
        new = replace(old, **changes)
        steered = await _change(session, rows, new.as_dict(), before, throttle=old.as_dict())
    else:
        item = next((one for one in rows.items if one.sku == sku), None)
        if item is None:
            raise invalid_field("sku", "This sale has no such item.")
        old = throttle_of(item) or old
        new = replace(old, **changes)
        await repository.change_item(session, item.id, new.as_dict())
        steered = await _change(session, rows, {}, before, throttle=old.as_dict(), sku=sku)
    return replace(steered, after={**steered.after, "throttle": new.as_dict()})
