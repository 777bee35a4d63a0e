"""What a lane is told, and the checks before a sale."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from backend.core.clock import to_ms
from backend.core.errors import Refused
from backend.models import Fault, LinkSecret, Sale, SaleItem, SaleStage
from backend.sales import ItemTerms, SaleTerms, lane_config
from backend.sales.preflight import clock_skew, window_check
from backend.sales.terms import check_terms
from backend.settings import Settings

OPENS = datetime(2026, 12, 4, 18, tzinfo=UTC)
CLOSES = OPENS + timedelta(hours=1)
SETTINGS = Settings(
    _env_file=None,  # type: ignore[call-arg]
    environment="local",
    database_url="postgresql://app@127.0.0.1/x",
    gate_url="redis://127.0.0.1",
    broker_url="redis://127.0.0.1/1",
    pages_dir="pages",
)


def sale(**columns: Any) -> Sale:
    given = {"stage": SaleStage.SCHEDULED, "link_epoch": 3, "config_version": 7, **columns}
    return Sale(merchant_id=uuid4(), slug="s", title="s", opens_at=OPENS, closes_at=CLOSES, **given)


def item(**columns: Any) -> SaleItem:
    return SaleItem(sku="A", price_minor=1, currency="EUR", allotment=5, available=5, per_shopper_limit=2, **columns)


def secret(epoch: int, *, retires_after_s: int | None) -> LinkSecret:
    created = OPENS + timedelta(minutes=epoch)
    retires_at = None if retires_after_s is None else created + timedelta(seconds=retires_after_s)
    return LinkSecret(epoch=epoch, secret=bytes([epoch]) * 32, created_at=created, retires_at=retires_at)


def test_retired_secrets_verify_and_only_overlapping_ones_are_accepted() -> None:
    secrets = [secret(1, retires_after_s=0), secret(2, retires_after_s=30), secret(3, retires_after_s=None)]
    config = lane_config(sale(), item(), secrets, SETTINGS)
    assert set(config.secrets) == {1, 2, 3}
    assert config.accepted_epochs == {2: to_ms(OPENS + timedelta(minutes=2, seconds=30)), 3: None}
    assert (config.config_version, config.link_epoch, config.per_shopper_limit) == (7, 3, 2)
    assert (config.opens_at_ms, config.closes_at_ms) == (to_ms(OPENS), to_ms(CLOSES))
    assert config.backlog_max == SETTINGS.backlog_max


@pytest.mark.parametrize("columns", [{"paused_at": OPENS}, {"fault": Fault.DRIFT}, {"stage": SaleStage.CANCELLED}])
def test_whatever_stops_a_sale_pauses_its_lanes(columns: dict[str, Any]) -> None:
    assert not lane_config(sale(), item(), [], SETTINGS).paused
    assert lane_config(sale(**columns), item(), [], SETTINGS).paused


def test_an_early_end_closes_the_lane_and_an_items_own_throttle_wins() -> None:
    config = lane_config(sale(ended_at=OPENS), item(), [], SETTINGS)
    assert config.closes_at_ms == to_ms(OPENS)
    assert config.throttle.rate_per_s == 500
    own = item(rate_per_s=2.0, burst=3, wait_budget_ms=4, repeat_window_ms=5)
    throttle = lane_config(sale(), own, [], SETTINGS).throttle
    assert (throttle.rate_per_s, throttle.burst, throttle.wait_budget_ms, throttle.repeat_window_ms) == (2, 3, 4, 5)


def test_the_window_is_judged_by_the_stage() -> None:
    draft = sale(stage=SaleStage.DRAFT)
    assert window_check(draft, OPENS - timedelta(seconds=1)).ok
    assert not window_check(draft, OPENS).ok
    assert window_check(sale(), OPENS).ok
    assert not window_check(sale(), CLOSES).ok
    assert not window_check(sale(ended_at=OPENS), OPENS).ok


def test_the_skew_is_signed() -> None:
    assert clock_skew(to_ms(OPENS) + 1500, OPENS) == timedelta(seconds=1.5)
    assert clock_skew(to_ms(OPENS) - 1500, OPENS) == timedelta(seconds=-1.5)


@pytest.mark.parametrize(
    "change",
    [
        {"closes_at": OPENS},
        {"closes_at": OPENS + timedelta(days=32)},
        {"time_zone": "Mars/Olympus"},
        {"items": ()},
        {"items": (ItemTerms("A", 1, "EUR", 1), ItemTerms("A", 1, "EUR", 1))},
        {"items": (ItemTerms("A", 1, "EUR", 1), ItemTerms("B", 1, "USD", 1))},
    ],
)
def test_terms_that_contradict_themselves_are_refused(change: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "slug": "s", "title": "t", "opens_at": OPENS, "closes_at": CLOSES, "items": (ItemTerms("A", 1, "EUR", 1),)
    }  # fmt: skip
    check_terms(SaleTerms(**fields))
    with pytest.raises(Refused):
        check_terms(SaleTerms(**{**fields, **change}))
