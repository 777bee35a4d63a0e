"""state.json: the phases by the stored times, the hints, and no more than one a second."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from backend.models import Sale, SaleStage
from backend.orders import cancel_sale
from backend.pages import write_states
from backend.pages.phases import hint, sale_phase
from tests.backend.shop import Shop, Stall

NOW = datetime(2026, 12, 4, 18, 30, tzinfo=UTC)


def a_sale(**changes: Any) -> Sale:
    fields: dict[str, Any] = {
        "merchant_id": uuid4(),
        "slug": "s",
        "title": "t",
        "stage": SaleStage.SCHEDULED,
        "opens_at": NOW - timedelta(minutes=30),
        "closes_at": NOW + timedelta(minutes=30),
    }
    return Sale(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "available", "phase"),
    [
        ({}, [3], "live"),
        ({}, [0, 3], "live"),
        ({}, [0, 0], "sold_out"),
        ({"opens_at": NOW + timedelta(milliseconds=1)}, [3], "upcoming"),
        ({"opens_at": NOW}, [3], "live"),
        ({"closes_at": NOW}, [3], "ended"),
        ({"ended_at": NOW - timedelta(seconds=1)}, [3], "ended"),
        ({"paused_at": NOW}, [3], "paused"),
        ({"paused_at": NOW}, [0], "sold_out"),
        ({"fault": "drift"}, [3], "paused"),
        (
            {"paused_at": NOW, "opens_at": NOW + timedelta(hours=1), "closes_at": NOW + timedelta(hours=2)},
            [3],
            "upcoming",
        ),
        ({"stage": SaleStage.CANCELLED}, [3], "cancelled"),
        ({"stage": SaleStage.RECONCILED}, [0], "ended"),
        ({"stage": SaleStage.RECONCILED, "cancelled_at": NOW}, [3], "cancelled"),
    ],
)
def test_the_phase_follows_from_what_is_stored(changes: dict[str, Any], available: list[int], phase: str) -> None:
    assert sale_phase(a_sale(**changes), available, NOW).value == phase


@pytest.mark.parametrize(
    ("available", "allotment", "expected"),
    [(0, 100, "none"), (1, 100, "few"), (10, 20, "few"), (11, 100, "many"), (100, 1_000, "few"), (101, 1_000, "many")],
)
def test_the_hint_is_never_a_number(available: int, allotment: int, expected: str) -> None:
    assert hint(available, allotment) == expected


async def published(shop: Shop, **how: Any) -> Stall:
    stall = await shop.sale(**how)
    await shop.sql("UPDATE sales SET published_version = 1 WHERE id = :sale", sale=stall.sale_id)
    return stall


def read(shop: Shop, stall: Stall) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((shop.settings.pages_dir / "state" / f"{stall.slug}.json").read_bytes())
    return body


def age(shop: Shop, stall: Stall, seconds: float) -> None:
    path = shop.settings.pages_dir / "state" / f"{stall.slug}.json"
    os.utime(path, (time.time() - seconds, time.time() - seconds))


async def test_a_state_has_the_gates_figures_at_once(shop: Shop) -> None:
    stall = await published(shop, items={"TEE-M": 1, "TEE-L": 30})
    await shop.buy(stall)
    before_ms = await shop.gate.now_ms()

    assert await write_states(shop.database, shop.gate, shop.settings) == 1

    state = read(shop, stall)
    sale = await shop.row(stall.sale_id)
    assert state["phase"] == "live"
    assert state["opens_at_ms"] == int(sale.opens_at.timestamp() * 1000)
    assert state["closes_at_ms"] == int(sale.closes_at.timestamp() * 1000)
    assert before_ms <= state["at_ms"] <= await shop.gate.now_ms()
    assert state["items"] == {
        "TEE-M": {"phase": "sold_out", "available_hint": "none"},
        "TEE-L": {"phase": "live", "available_hint": "many"},
    }


async def test_a_state_is_written_once_a_second_near_the_sale_and_rarely_before(shop: Shop) -> None:
    near = await published(shop)
    far = await published(shop, opens_in_s=3_600, loaded=False)
    write = lambda: write_states(shop.database, shop.gate, shop.settings)  # noqa: E731

    assert await write() == 2
    assert await write() == 0
    for stall in (near, far):
        age(shop, stall, 1)
    assert await write() == 1
    age(shop, far, 11)
    assert await write() == 1
    assert read(shop, far)["phase"] == "upcoming"
    age(shop, near, -3_600)
    assert await write() == 1, "a clock that was set back must not silence a page for an hour"


async def test_drafts_and_unpublished_sales_have_no_state(shop: Shop) -> None:
    await shop.sale()
    assert await write_states(shop.database, shop.gate, shop.settings) == 0
    assert not (shop.settings.pages_dir / "state").exists()


async def test_a_pause_a_cancellation_and_the_end_are_told(shop: Shop) -> None:
    stall = await published(shop)
    await shop.sql("UPDATE sales SET paused_at = now()")
    await write_states(shop.database, shop.gate, shop.settings)
    assert read(shop, stall)["phase"] == "paused"

    async with shop.database.transaction() as session:
        await cancel_sale(session, stall.sale_id, uuid4())
    age(shop, stall, 1)
    await write_states(shop.database, shop.gate, shop.settings)
    assert read(shop, stall)["phase"] == "cancelled"


async def test_a_sale_that_ended_before_it_opened_does_not_stop_the_others(shop: Shop) -> None:
    odd = await published(shop, opens_in_s=30, loaded=False)
    await shop.sql("UPDATE sales SET ended_at = now() - interval '1 second'")
    other = await published(shop)

    assert await write_states(shop.database, shop.gate, shop.settings) == 2

    assert read(shop, odd)["phase"] == "ended"
    assert read(shop, other)["phase"] == "live"


async def test_one_sale_that_cannot_be_written_does_not_stop_the_others(shop: Shop) -> None:
    broken = await published(shop)
    other = await published(shop)
    (shop.settings.pages_dir / "state" / f"{broken.slug}.json").mkdir(parents=True)
    os.utime(shop.settings.pages_dir / "state" / f"{broken.slug}.json", (0, 0))

    assert await write_states(shop.database, shop.gate, shop.settings) == 1
    assert read(shop, other)["phase"] == "live"


async def test_a_reconciled_sales_last_state_is_written_for_a_minute(shop: Shop) -> None:
    stall = await published(shop)
    await shop.sql("UPDATE sales SET stage = 'reconciled', reconciled_at = now() - interval '30 seconds'")
    assert await write_states(shop.database, shop.gate, shop.settings) == 1
    assert read(shop, stall)["phase"] == "ended"
    await shop.sql("UPDATE sales SET reconciled_at = now() - interval '2 minutes'")
    age(shop, stall, 60)
    assert await write_states(shop.database, shop.gate, shop.settings) == 0
