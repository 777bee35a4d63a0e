"""``/me/delivery``: where the shopper wants the orders of a sale delivered."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import StringConstraints

from backend.api import Session, SignedInShopper
from backend.core.fields import Strict, View
from backend.core.http import StrictRoute
from backend.core.text import SLUG_PATTERN
from backend.orders import delivery_of, keep_delivery

router = APIRouter(prefix="/api/v1", tags=["shopper"], route_class=StrictRoute)

SaleSlug = Annotated[str, Query(alias="sale", pattern=SLUG_PATTERN, description="The sale's slug")]
# One line each: a line break in an address could start a second one on a label.
_LINE = r"^[^\x00-\x1f\x7f\u0085\u2028\u2029]+$"


def _line(longest: int) -> StringConstraints:
    return StringConstraints(min_length=1, max_length=longest, strip_whitespace=True, pattern=_LINE)


class DeliveryBody(Strict):
    name: Annotated[str, _line(200)]
    address: Annotated[str, _line(500)]
    postal_code: Annotated[str, _line(20)]
    city: Annotated[str, _line(120)]
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    """ISO 3166-1 alpha-2."""


class DeliveryView(View):
    """Every field, or none when nothing was given yet."""

    name: str | None = None
    address: str | None = None
    postal_code: str | None = None
    city: str | None = None
    country: str | None = None


@router.get("/me/delivery")
async def read_delivery(shopper_id: SignedInShopper, session: Session, slug: SaleSlug) -> DeliveryView:
    """What the shopper gave for this sale. 404 for a sale that asks for no address."""
    found = await delivery_of(session, slug, shopper_id)
    if found is None:
        return DeliveryView()
    return DeliveryView(
        name=found.name,
        address=found.address,
        postal_code=found.postal_code,
        city=found.city,
        country=found.country,
    )


@router.put("/me/delivery")
async def put_delivery(
    shopper_id: SignedInShopper, session: Session, slug: SaleSlug, body: DeliveryBody
) -> DeliveryView:
    """Give or change it; for this sale alone, seen by its merchant alone."""
    await keep_delivery(session, slug, shopper_id, body.model_dump())
    return DeliveryView(**body.model_dump())
