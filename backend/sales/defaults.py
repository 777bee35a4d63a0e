"""What a merchant's new sales start from: throttle, links and holds, where a sale says nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.models import MerchantDefaults
from backend.sales import repository_defaults as repository
from backend.sales.terms import SaleTerms, ThrottleTerms


@dataclass(frozen=True, slots=True)
class SaleDefaults:
    """The platform's own, until a merchant has set others."""

    throttle: ThrottleTerms = field(default_factory=ThrottleTerms)
    link_ttl_s: int = 300
    link_overlap_s: int = 0
    hold_s: int = 900

    def columns(self) -> dict[str, Any]:
        """The columns of ``merchant_defaults``, which a sale has as well."""
        return {
            **self.throttle.as_dict(),
            "link_ttl_s": self.link_ttl_s,
            "link_overlap_s": self.link_overlap_s,
            "hold_s": self.hold_s,
        }

    def applied(self, terms: SaleTerms) -> SaleTerms:
        """The terms with these in the place of what they started from."""
        return replace(
            terms,
            throttle=self.throttle,
            link_ttl_s=self.link_ttl_s,
            link_overlap_s=self.link_overlap_s,
            hold_s=self.hold_s,
        )


async def sale_defaults(session: AsyncSession, merchant_id: UUID) -> tuple[SaleDefaults, bool]:
    """What holds for the merchant's next sale, and whether it is the merchant's own."""
    row = await repository.defaults_of(session, merchant_id)
    return (SaleDefaults(), False) if row is None else (_of(row), True)


def _of(row: MerchantDefaults) -> SaleDefaults:
    return SaleDefaults(
        ThrottleTerms(row.rate_per_s, row.burst, row.wait_budget_ms, row.repeat_window_ms),
        row.link_ttl_s,
        row.link_overlap_s,
        row.hold_s,
    )


async def set_sale_defaults(session: AsyncSession, merchant_id: UUID, defaults: SaleDefaults | None) -> None:
    """From now on new sales start from these; with None from the platform's. Sales that exist keep what they have."""
    if defaults is None:
        await repository.delete_defaults(session, merchant_id)
    else:
        columns: Mapping[str, Any] = defaults.columns()
        await repository.put_defaults(session, merchant_id, columns)
