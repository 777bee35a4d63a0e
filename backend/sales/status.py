"""What a sale is at a moment. It follows from the stored stage and times; nothing fires at the opening."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from backend.models import Sale, SaleItem, SaleStage


class SaleStatus(StrEnum):
    """As operators see it."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    LIVE = "live"
    PAUSED = "paused"
    ENDED = "ended"
    RECONCILED = "reconciled"
    CANCELLED = "cancelled"


class SalePhase(StrEnum):
    """As shoppers see it."""

    UPCOMING = "upcoming"
    LIVE = "live"
    PAUSED = "paused"
    SOLD_OUT = "sold_out"
    ENDED = "ended"
    CANCELLED = "cancelled"


_BY_STAGE = {
    SaleStage.DRAFT: SaleStatus.DRAFT,
    SaleStage.CANCELLED: SaleStatus.CANCELLED,
    SaleStage.RECONCILED: SaleStatus.RECONCILED,
}


def ends_at(sale: Sale) -> datetime:
    """The stored closing time, or an operator's earlier end."""
    return min(sale.closes_at, sale.ended_at) if sale.ended_at else sale.closes_at


def status(sale: Sale, now: datetime) -> SaleStatus:
    """The status at ``now`` (aware). A sale stopped before its opening is ``paused`` too: it will not open."""
    stored = _BY_STAGE.get(sale.stage)
    if stored is not None:
        return stored
    if sale.ended_at is not None or now >= sale.closes_at:
        return SaleStatus.ENDED
    if sale.paused_at is not None or sale.fault is not None:
        return SaleStatus.PAUSED
    return SaleStatus.LIVE if now >= sale.opens_at else SaleStatus.SCHEDULED


_PHASES = {
    SaleStatus.DRAFT: SalePhase.UPCOMING,
    SaleStatus.SCHEDULED: SalePhase.UPCOMING,
    SaleStatus.LIVE: SalePhase.LIVE,
    SaleStatus.ENDED: SalePhase.ENDED,
    SaleStatus.RECONCILED: SalePhase.ENDED,
    SaleStatus.CANCELLED: SalePhase.CANCELLED,
}


def phase(sale: Sale, items: Iterable[SaleItem], now: datetime) -> SalePhase:
    """The phase at ``now``. Before the opening a pause is nobody's business; sold out wins over paused,
    because a returned unit could not be bought either way. A cancelled sale stays so when its book is closed."""
    if sale.cancelled_at is not None:
        return SalePhase.CANCELLED
    current = status(sale, now)
    if current is SaleStatus.PAUSED:
        if now < sale.opens_at:
            return SalePhase.UPCOMING
        found = SalePhase.PAUSED
    else:
        found = _PHASES[current]
    if found in (SalePhase.LIVE, SalePhase.PAUSED) and all(item.available == 0 for item in items):
        return SalePhase.SOLD_OUT
    return found
