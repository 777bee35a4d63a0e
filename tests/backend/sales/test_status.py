"""Status and phase follow from the stored stage and times alone."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from backend.models import Fault, Sale, SaleItem, SaleStage
from backend.sales import SalePhase, SaleStatus, ends_at, phase, status

OPENS = datetime(2026, 12, 4, 18, tzinfo=UTC)
CLOSES = OPENS + timedelta(hours=1)
BEFORE, DURING, AFTER = (OPENS + timedelta(minutes=minutes) for minutes in (-1, 30, 60))
INSTANT = timedelta(microseconds=1)


def sale(stage: SaleStage = SaleStage.SCHEDULED, **columns: Any) -> Sale:
    return Sale(merchant_id=uuid4(), slug="s", title="s", stage=stage, opens_at=OPENS, closes_at=CLOSES, **columns)


def items(*available: int) -> list[SaleItem]:
    return [SaleItem(available=units) for units in available]


@pytest.mark.parametrize(
    ("columns", "now", "expected", "told"),
    [
        ({"stage": SaleStage.DRAFT}, DURING, "draft", "upcoming"),
        ({}, OPENS - INSTANT, "scheduled", "upcoming"),
        ({}, OPENS, "live", "live"),
        ({}, CLOSES - INSTANT, "live", "live"),
        ({}, CLOSES, "ended", "ended"),
        ({"paused_at": BEFORE}, BEFORE, "paused", "upcoming"),
        ({"paused_at": DURING}, DURING, "paused", "paused"),
        ({"fault": Fault.DRIFT}, DURING, "paused", "paused"),
        ({"paused_at": DURING, "fault": Fault.DRIFT}, AFTER, "ended", "ended"),
        ({"ended_at": DURING}, DURING, "ended", "ended"),
        ({"stage": SaleStage.CANCELLED}, DURING, "cancelled", "cancelled"),
        ({"stage": SaleStage.RECONCILED}, AFTER, "reconciled", "ended"),
        ({"stage": SaleStage.RECONCILED, "cancelled_at": DURING}, AFTER, "reconciled", "cancelled"),
    ],
)
def test_the_status_at_a_moment(columns: dict[str, Any], now: datetime, expected: str, told: str) -> None:
    one = sale(**columns)
    assert status(one, now) is SaleStatus(expected)
    assert phase(one, items(3, 0), now) is SalePhase(told)


def test_sold_out_is_when_no_item_has_units_and_only_while_open() -> None:
    assert phase(sale(), items(0, 0), DURING) is SalePhase.SOLD_OUT
    assert phase(sale(paused_at=DURING), items(0), DURING) is SalePhase.SOLD_OUT
    assert phase(sale(), items(0), BEFORE) is SalePhase.UPCOMING
    assert phase(sale(), items(0), AFTER) is SalePhase.ENDED


def test_an_early_end_never_moves_the_end_later() -> None:
    assert ends_at(sale()) == CLOSES
    assert ends_at(sale(ended_at=DURING)) == DURING
    assert ends_at(sale(ended_at=AFTER + timedelta(hours=1))) == CLOSES
