"""Clocks that disagree: nothing opens, ends or expires by the one that is wrong, and nothing is lost for good."""

import logging
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import structlog

from backend.gate import Outcome
from backend.models import Fault
from backend.sales import ClockWatch, SaleStatus, apply_configs, clocks, clocks_agree, configure_lanes, resume, status
from backend.sales.repository import database_now
from tests.backend.shop import Shop, Stall
from tests.support.clocks import DatabaseClock, GateClock
from workers.actors import Work
from workers.runtime import Runtime

HOUR = timedelta(hours=1)


@pytest.fixture
def gate_clock(monkeypatch: pytest.MonkeyPatch) -> GateClock:
    return GateClock(monkeypatch)


async def _outcome(shop: Shop, stall: Stall) -> Outcome:
    _, decision = await shop.attempt(stall, uuid4())
    return decision.outcome


async def _resume(shop: Shop, stall: Stall) -> None:
    async with shop.database.transaction() as session:
        await resume(session, stall.merchant_id, stall.sale_id, reason="NTP is back", generation=1)
    await configure_lanes(shop.database, shop.gate, shop.settings, stall.sale_id, clear_fault=True)


@pytest.mark.parametrize("seconds", [60, -60])
async def test_a_gate_whose_clock_is_off_stops_the_sale(shop: Shop, gate_clock: GateClock, seconds: int) -> None:
    stall = await shop.sale()
    watch = ClockWatch()
    await watch.check(shop.database, shop.gate)
    assert (await shop.row(stall.sale_id)).fault is None
    gate_clock.ahead(seconds)
    await watch.check(shop.database, shop.gate)
    assert (await shop.row(stall.sale_id)).fault is Fault.CLOCK
    assert await _outcome(shop, stall) is Outcome.PAUSED, "the lane itself, before any config tick"
    (event,) = await shop.sql("SELECT alarm, detail FROM sale_events WHERE kind = 'fault.clock'")
    assert event.alarm
    assert event.detail["gate_ahead_s"] == pytest.approx(seconds, abs=1)


async def test_a_second_of_difference_is_nobodys_fault(shop: Shop) -> None:
    stall = await shop.sale()
    clock = DatabaseClock(shop)
    await clock.install()
    await clock.ahead(timedelta(seconds=-0.8))
    await ClockWatch().check(shop.database, shop.gate)
    assert (await shop.row(stall.sale_id)).fault is None
    assert await clocks_agree(shop.database, shop.gate)


async def test_a_jump_ahead_closes_nothing_that_a_resume_cannot_open(shop: Shop, gate_clock: GateClock) -> None:
    stall = await shop.sale(lasts_s=120)  # a minute to go
    gate_clock.ahead(600)
    assert await _outcome(shop, stall) is Outcome.ENDED
    await ClockWatch().check(shop.database, shop.gate)
    gate_clock.ahead(0)
    # The highest time seen stays until somebody has looked: a clock that went back once may do so again.
    assert await _outcome(shop, stall) is Outcome.PAUSED
    await _resume(shop, stall)
    assert await _outcome(shop, stall) is Outcome.RESERVED


async def test_a_jump_ahead_and_back_throttles_nobody_for_long(shop: Shop, gate_clock: GateClock) -> None:
    stall = await shop.sale(items={"TEE-M": 100})
    await shop.change(stall, rate_per_s=10.0, burst=2, repeat_window_ms=1_000)
    shopper = uuid4()
    gate_clock.ahead(600)
    assert (await shop.attempt(stall, shopper, key="then"))[1].outcome is Outcome.RESERVED
    gate_clock.ahead(0)
    _, again = await shop.attempt(stall, shopper, key="now", quantity=2)
    assert again.outcome is Outcome.LIMIT_REACHED, "not REPEATED: the try of later counts as absent"
    waits = [(await shop.attempt(stall, uuid4()))[1] for _ in range(3)]
    assert all(one.retry_after_ms <= 1_000 for one in waits if one.outcome is Outcome.THROTTLED), waits


async def test_a_gate_that_is_behind_opens_nothing_twice(shop: Shop, gate_clock: GateClock) -> None:
    """Opened once, it stays open: the clock is clamped to the highest time seen. The bucket starts full, not a minute
    over: at 100,000 a second the next token is there at once."""
    stall = await shop.sale(opens_in_s=-30)
    assert await _outcome(shop, stall) is Outcome.RESERVED
    gate_clock.ahead(-60)
    outcomes = [await _outcome(shop, stall) for _ in range(20)]
    assert Outcome.NOT_OPEN not in outcomes
    assert outcomes.count(Outcome.RESERVED) == 9, outcomes


async def test_no_early_sale_by_the_databases_clock(shop: Shop) -> None:
    stall = await shop.sale(opens_in_s=300)
    clock = DatabaseClock(shop)
    await clock.install()
    await clock.ahead(timedelta(minutes=10))
    assert await _outcome(shop, stall) is Outcome.NOT_OPEN, "the gate's clock opens a sale"
    await ClockWatch().check(shop.database, shop.gate)
    assert (await shop.row(stall.sale_id)).fault is Fault.CLOCK


@pytest.mark.parametrize("ahead", [HOUR * 2, -HOUR * 2])
async def test_a_live_sale_is_stopped_whatever_the_wrong_clock_takes_it_for(shop: Shop, ahead: timedelta) -> None:
    stall = await shop.sale()  # an hour long: by the wrong clock it is over, or far ahead
    clock = DatabaseClock(shop)
    await clock.install()
    await clock.ahead(ahead)
    async with shop.database.transaction() as session:
        now = await database_now(session)
    assert status(await shop.row(stall.sale_id), now) is not SaleStatus.LIVE
    await ClockWatch().check(shop.database, shop.gate)
    assert (await shop.row(stall.sale_id)).fault is Fault.CLOCK


def _work(shop: Shop) -> Work:
    async def enqueue(*_: object) -> bool:
        return True

    runtime = Runtime(shop.settings, enqueue)
    runtime.database, runtime.gate = shop.database, shop.gate
    return Work(runtime)


async def test_no_hold_ends_by_a_clock_that_ran_ahead(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    stall = await shop.sale(payment_required=True, hold_s=900)
    bought = await shop.buy(stall)
    await shop.drain(stall)
    clock = DatabaseClock(shop)
    await clock.install()
    await clock.ahead(HOUR)
    work = _work(shop)
    await work.expire()
    assert (await shop.order_of(bought)).status == "reserved"
    await clock.ahead(timedelta(0))
    await work.expire()
    assert (await shop.order_of(bought)).status == "reserved"

    # The guard is what held it: without, the hold is gone.
    async def agreed(*_: object) -> bool:
        return True

    monkeypatch.setattr("workers.actors.sales.clocks_agree", agreed)
    await clock.ahead(HOUR)
    await work.expire()
    assert (await shop.order_of(bought)).status == "expired"


async def test_the_latch_outlives_config_ticks(shop: Shop, gate_clock: GateClock) -> None:
    stall = await shop.sale()
    gate_clock.ahead(60)
    await ClockWatch().check(shop.database, shop.gate)
    gate_clock.ahead(0)
    await ClockWatch().check(shop.database, shop.gate)
    await apply_configs(shop.database, shop.gate, shop.settings)
    assert (await shop.row(stall.sale_id)).fault is Fault.CLOCK
    assert await _outcome(shop, stall) is Outcome.PAUSED


async def test_a_host_that_is_off_is_reported_and_stops_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    stall = await shop.sale()

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + timedelta(minutes=5)

    watch = ClockWatch()
    with structlog.testing.capture_logs() as before:
        await watch.check(shop.database, shop.gate)
    assert not [line for line in before if line["event"] == "clock.host_skewed"]
    monkeypatch.setattr(clocks, "datetime", Ahead)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await watch.check(shop.database, shop.gate)
    (line,) = [line for line in logs if line["event"] == "clock.host_skewed"]
    assert line["ahead_s"] == pytest.approx(300, abs=1)
    assert line["log_level"] == logging.getLevelName(logging.ERROR).lower()
    assert (await shop.row(stall.sale_id)).fault is None
