"""The phase that shoppers are told, and the hint about what is left."""

from collections.abc import Iterable
from datetime import UTC, datetime

from backend.models import Sale
from backend.sales.status import SalePhase, SaleStatus, ends_at, status
from page_renderer import AvailableHint

FEW_SHARE = 10
"""A tenth of the allotment or less is few …"""
FEW_UNITS = 10
"""… and so are ten units, however large the allotment."""

_STILL = {
    SaleStatus.DRAFT: SalePhase.UPCOMING,
    SaleStatus.SCHEDULED: SalePhase.UPCOMING,
    SaleStatus.ENDED: SalePhase.ENDED,
    SaleStatus.RECONCILED: SalePhase.ENDED,
    SaleStatus.CANCELLED: SalePhase.CANCELLED,
}


def sale_phase(sale: Sale, available: Iterable[int], now: datetime) -> SalePhase:
    """The phase at ``now``, given what each item has.

    Before the opening a pause is nobody's business, and a sale that was cancelled stays so when its book is
    closed. Sold out comes before paused: neither lets anybody buy, and only one of them is worth waiting for.
    """
    if sale.cancelled_at is not None:
        return SalePhase.CANCELLED
    current = status(sale, now)
    if current in _STILL:
        return _STILL[current]
    if now < sale.opens_at:
        return SalePhase.UPCOMING
    if all(units <= 0 for units in available):
        return SalePhase.SOLD_OUT
    return SalePhase.PAUSED if current is SaleStatus.PAUSED else SalePhase.LIVE


def hint(available: int, allotment: int) -> AvailableHint:
    """Never a number: at a thousand sales a second it would be wrong when it is read."""
    if available <= 0:
        return "none"
    return "few" if available <= FEW_UNITS or available * FEW_SHARE <= allotment else "many"


def window(sale: Sale) -> tuple[datetime, datetime]:
    """Opening and closing as a page shows them, in UTC. A sale that was held back and ended before it ever opened
    keeps the window that was announced: its phase says the rest."""
    end = ends_at(sale)
    return sale.opens_at.astimezone(UTC), (end if end > sale.opens_at else sale.closes_at).astimezone(UTC)
