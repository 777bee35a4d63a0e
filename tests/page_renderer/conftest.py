"""A page to vary from."""

from datetime import UTC, datetime

import pytest

from page_renderer import Money, SaleItemView, SalePage


@pytest.fixture
def tee() -> SaleItemView:
    return SaleItemView(
        sku="TEE-M",
        name="Tee, size M",
        price=Money(1900, "EUR"),
        usual_price=Money(4900, "EUR"),
    )


@pytest.fixture
def page(tee: SaleItemView) -> SalePage:
    return SalePage(
        slug="friday-tee",
        title="Friday tee",
        merchant_name="Northwind Supply",
        opens_at=datetime(2026, 12, 4, 18, 0, tzinfo=UTC),
        closes_at=datetime(2026, 12, 4, 19, 0, tzinfo=UTC),
        time_zone="Europe/Berlin",
        items=(tee,),
        payment_hold_s=900,
    )
