"""The terms of a sale: what an operator writes, and what it must satisfy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from backend.core.clock import rfc3339
from backend.core.errors import invalid_field
from backend.models import Durability, Language, RecoveryPolicy, Sale, SaleItem

ITEMS_MAX = 50
ALLOTMENT_MAX = 1_000_000
LIMIT_MAX = 1_000
RATE_MAX_PER_S = 100_000
BURST_MAX = 1_000_000
WAIT_BUDGET_MAX_MS = 10_000
"""A held-back 202 keeps its connection: beyond ten seconds proxies and people give up."""
REPEAT_WINDOW_MAX_MS = 600_000
LEAD_MAX_S = 7 * 24 * 3600
LINK_TTL_MIN_S, LINK_TTL_MAX_S = 5, 24 * 3600
OVERLAP_MAX_S = 3600
HOLD_MIN_S, HOLD_MAX_S = 5, 7 * 24 * 3600
WINDOW_MAX = timedelta(days=31)
"""A sale's journal and claims stay in the gate's memory until it is reconciled."""


@dataclass(frozen=True, slots=True)
class ThrottleTerms:
    rate_per_s: float = 500.0
    burst: int = 1_000
    wait_budget_ms: int = 0
    repeat_window_ms: int = 10_000

    def as_dict(self) -> dict[str, Any]:
        return {
            "rate_per_s": self.rate_per_s,
            "burst": self.burst,
            "wait_budget_ms": self.wait_budget_ms,
            "repeat_window_ms": self.repeat_window_ms,
        }


@dataclass(frozen=True, slots=True)
class ItemTerms:
    sku: str
    price_minor: int
    currency: str
    allotment: int
    per_shopper_limit: int = 1


@dataclass(frozen=True, slots=True)
class SaleTerms:
    slug: str
    title: str
    opens_at: datetime
    closes_at: datetime
    items: tuple[ItemTerms, ...]
    time_zone: str = "UTC"
    lead_s: int = 600
    throttle: ThrottleTerms = ThrottleTerms()
    link_ttl_s: int = 300
    link_overlap_s: int = 0
    payment_required: bool = False
    hold_s: int = 900
    description: str = ""
    language: Language = Language.ENGLISH
    delivery_required: bool = False
    recovery: RecoveryPolicy = RecoveryPolicy.AUTOMATIC
    durability: Durability = Durability.EVERYSEC

    def columns(self) -> dict[str, Any]:
        """The columns of ``sales`` that the terms fill."""
        return {
            "slug": self.slug,
            "title": self.title,
            "opens_at": self.opens_at,
            "closes_at": self.closes_at,
            "time_zone": self.time_zone,
            "lead_s": self.lead_s,
            **self.throttle.as_dict(),
            "link_ttl_s": self.link_ttl_s,
            "link_overlap_s": self.link_overlap_s,
            "payment_required": self.payment_required,
            "hold_s": self.hold_s,
            "description": self.description,
            "language": self.language,
            "delivery_required": self.delivery_required,
            "recovery": self.recovery,
            "durability": self.durability,
        }


def throttle_of(row: Sale | SaleItem) -> ThrottleTerms | None:
    """The throttle that a sale sets for its items, or that an item has of its own."""
    if row.rate_per_s is None:
        return None
    assert row.burst is not None
    assert row.wait_budget_ms is not None
    assert row.repeat_window_ms is not None
    return ThrottleTerms(row.rate_per_s, row.burst, row.wait_budget_ms, row.repeat_window_ms)


def terms_of(sale: Sale, items: Sequence[SaleItem]) -> SaleTerms:
    """The terms as stored."""
    throttle = throttle_of(sale)
    assert throttle is not None
    return SaleTerms(
        slug=sale.slug,
        title=sale.title,
        opens_at=sale.opens_at,
        closes_at=sale.closes_at,
        items=tuple(
            ItemTerms(item.sku, item.price_minor, item.currency, item.allotment, item.per_shopper_limit)
            for item in items
        ),
        time_zone=sale.time_zone,
        lead_s=sale.lead_s,
        throttle=throttle,
        link_ttl_s=sale.link_ttl_s,
        link_overlap_s=sale.link_overlap_s,
        payment_required=sale.payment_required,
        hold_s=sale.hold_s,
        description=sale.description,
        language=sale.language,
        delivery_required=sale.delivery_required,
        recovery=sale.recovery,
        durability=sale.durability,
    )


def plain(terms: SaleTerms) -> dict[str, Any]:
    """The terms in JSON's types, for the activity log."""
    return {
        **terms.columns(),
        "opens_at": rfc3339(terms.opens_at),
        "closes_at": rfc3339(terms.closes_at),
        "items": [
            {
                "sku": item.sku,
                "price": {"amount_minor": item.price_minor, "currency": item.currency},
                "allotment": item.allotment,
                "per_shopper_limit": item.per_shopper_limit,
            }
            for item in terms.items
        ],
    }


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def check_terms(terms: SaleTerms) -> None:
    """Rules over several fields; single fields have their ranges in the API's schemas.

    Raises ``INVALID_FIELD``.
    """
    if terms.opens_at >= terms.closes_at:
        raise invalid_field("closes_at", "A sale closes after it opens.")
    if terms.closes_at - terms.opens_at > WINDOW_MAX:
        raise invalid_field("closes_at", f"A sale lasts at most {WINDOW_MAX.days} days.")
    # The list first: asking ZoneInfo for any name would let a request open files by it.
    if terms.time_zone not in _zones():
        raise invalid_field("time_zone", "Give an IANA time zone, such as Europe/Berlin.")
    ZoneInfo(terms.time_zone)
    if not 1 <= len(terms.items) <= ITEMS_MAX:
        raise invalid_field("items", f"A sale has 1 to {ITEMS_MAX} items.")
    if len({item.sku for item in terms.items}) != len(terms.items):
        raise invalid_field("items", "A SKU appears once in a sale.")
    if len({item.currency for item in terms.items}) != 1:
        raise invalid_field("items", "All items of a sale have one currency.")
