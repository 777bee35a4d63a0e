"""The audit by the clock: stops what drifts, closes the book of what is over, and keeps its table small."""

import asyncio
from uuid import uuid4

import pytest

from backend.gate import EntryId, Gate, LaneId, LaneKeys, LaneReading, Outcome
from backend.models import Fault, SaleStage
from backend.orders import cancel_sale
from backend.reconciliation import audit_tick, run
from backend.reconciliation.audit import CLEAN_KEPT
from tests.backend.shop import Shop, Stall


async def alarms(shop: Shop, stall: Stall) -> list[str]:
    rows = await shop.sql(
        "SELECT kind FROM sale_events WHERE sale_id = :sale AND alarm ORDER BY at", sale=stall.sale_id
    )
    return [row.kind for row in rows]


async def tamper(shop: Shop, stall: Stall, units: int) -> None:
    await shop.gate.store.client.hincrby(LaneKeys(stall.lane()).lane, "available", units)


async def test_a_sound_sale_is_left_alone(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.buy(stall)

    tick = await audit_tick(shop.database, shop.gate)

    assert (tick.sales, tick.runs, tick.faults, tick.reconciled) == (1, 1, 0, 0)
    assert (await shop.row(stall.sale_id)).fault is None
    assert await alarms(shop, stall) == []


async def test_rules_are_asked_every_few_seconds_and_not_at_every_tick(shop: Shop) -> None:
    stall = await shop.sale()
    runs = [(await audit_tick(shop.database, shop.gate)).runs for _ in range(3)]
    assert runs == [1, 0, 0]
    await shop.sql("UPDATE reconciliation_runs SET started_at = now() - interval '6 seconds', finished_at = now() - "
                   "interval '6 seconds'")  # fmt: skip
    assert (await audit_tick(shop.database, shop.gate)).runs == 1
    assert len(await shop.sql("SELECT 1 FROM reconciliation_runs WHERE sale_id = :sale", sale=stall.sale_id)) == 2


async def test_drift_stops_every_lane_of_the_sale_with_one_alarm(shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 10, "TEE-L": 10})
    await shop.drain(stall)
    await tamper(shop, stall, 2)

    tick = await audit_tick(shop.database, shop.gate)
    again = await audit_tick(shop.database, shop.gate)

    assert (tick.faults, again.faults) == (1, 0)
    assert (await shop.row(stall.sale_id)).fault is Fault.DRIFT
    assert sorted(await alarms(shop, stall)) == ["fault.drift", "reconciliation.findings"]
    for sku in stall.items:
        _, decision = await shop.attempt(stall, await shop.shopper(), sku=sku)
        assert decision.outcome is Outcome.PAUSED
    (event,) = await shop.sql("SELECT detail FROM sale_events WHERE kind = 'fault.drift'")
    assert (event.detail["drift"], event.detail["found_by"]) == (2, "audit")


async def test_a_gate_that_lost_everything_stops_the_sale_as_regressed(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.buy(stall)
    await shop.drain(stall)
    await shop.gate.store.client.unlink(*LaneKeys(stall.lane()).all())

    await audit_tick(shop.database, shop.gate)

    assert (await shop.row(stall.sale_id)).fault is Fault.REGRESSED


async def test_a_single_odd_reading_stops_nothing(shop: Shop) -> None:
    """The second look finds the equation in order, so the first was the observer's fault."""
    stall = await shop.sale()
    await shop.drain(stall)

    class Blinking(Gate):
        looks = 0

        async def read(self, lane_id: LaneId, *, cursor: EntryId | None = None, sure: bool = False) -> LaneReading:
            type(self).looks += 1
            if self.looks == 1:
                await tamper(shop, stall, 1)
                reading = await super().read(lane_id, cursor=cursor, sure=sure)
                await tamper(shop, stall, -1)
                return reading
            return await super().read(lane_id, cursor=cursor, sure=sure)

    tick = await audit_tick(shop.database, Blinking(shop.gate.store))

    assert Blinking.looks >= 2
    assert tick.faults == 0
    assert (await shop.row(stall.sale_id)).fault is None


async def test_a_gate_that_is_down_is_no_fault_of_the_sale(shop: Shop) -> None:
    stall = await shop.sale()
    dead = Gate.connect("redis://127.0.0.1:1/0", timeout_s=0.5, name="dead")

    tick = await audit_tick(shop.database, dead)

    await dead.close()
    assert (tick.sales, tick.faults, tick.runs) == (0, 0, 0)
    assert (await shop.row(stall.sale_id)).fault is None


async def test_two_audits_at_once_raise_one_alarm(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.drain(stall)
    await tamper(shop, stall, -1)

    ticks = await asyncio.gather(*(audit_tick(shop.database, shop.gate) for _ in range(3)))

    assert sum(tick.faults for tick in ticks) == 1
    assert (await alarms(shop, stall)).count("fault.drift") == 1


async def close_all(shop: Shop, stall: Stall) -> None:
    """The next run by the clock is due at once."""
    await shop.sql("DELETE FROM reconciliation_runs WHERE sale_id = :sale", sale=stall.sale_id)
    await audit_tick(shop.database, shop.gate)


async def test_a_sale_is_reconciled_when_it_is_over_and_everything_has_arrived(shop: Shop) -> None:
    stall = await shop.sale(payment_required=True)
    await shop.buy(stall)
    await shop.drain(stall)
    await shop.buy(stall)
    await close_all(shop, stall)
    assert (await shop.row(stall.sale_id)).stage is SaleStage.SCHEDULED, "still open"

    await shop.end(stall)
    await close_all(shop, stall)
    assert (await shop.row(stall.sale_id)).stage is SaleStage.SCHEDULED, "an entry is not drained"

    await shop.drain(stall)
    await close_all(shop, stall)
    assert (await shop.row(stall.sale_id)).stage is SaleStage.SCHEDULED, "two holds are open"

    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 second'")
    await shop.expire()
    await close_all(shop, stall)
    assert (await shop.row(stall.sale_id)).stage is SaleStage.SCHEDULED, "units are still to go back"

    await shop.settle(stall)
    await close_all(shop, stall)
    sale = await shop.row(stall.sale_id)
    assert sale.stage is SaleStage.RECONCILED
    assert sale.reconciled_at is not None
    assert sale.cancelled_at is None
    assert await shop.sql("SELECT 1 FROM sale_events WHERE kind = 'sale.reconciled'") != []
    assert (await audit_tick(shop.database, shop.gate)).sales == 0
    assert await alarms(shop, stall) == []


async def test_a_sale_with_findings_is_not_reconciled(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.buy(stall)
    await shop.drain(stall)
    await shop.end(stall)
    await shop.sql("UPDATE orders SET status = 'expired'")

    await close_all(shop, stall)

    assert (await shop.row(stall.sale_id)).stage is SaleStage.SCHEDULED
    assert await alarms(shop, stall) == ["reconciliation.findings"]


async def test_a_sale_with_a_standing_fault_is_not_reconciled(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.drain(stall)
    await shop.end(stall)
    await shop.sql("UPDATE sales SET fault = 'clock' WHERE id = :sale", sale=stall.sale_id)

    await close_all(shop, stall)

    assert (await shop.row(stall.sale_id)).stage is SaleStage.SCHEDULED


async def test_a_cancelled_sale_is_reconciled_and_still_known_as_cancelled(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.buy(stall)
    await shop.drain(stall)
    async with shop.database.transaction() as session:
        await cancel_sale(session, stall.sale_id, uuid4())
    await shop.change(stall, lead_s=600)  # the gate is told that it is paused for good
    await shop.settle(stall)

    await close_all(shop, stall)

    sale = await shop.row(stall.sale_id)
    assert sale.stage is SaleStage.RECONCILED
    assert sale.cancelled_at is not None


async def test_a_sale_that_never_had_stock_in_the_gate_can_be_closed(shop: Shop) -> None:
    stall = await shop.sale(loaded=False)
    await shop.sql("UPDATE sales SET opens_at = now() - interval '2 hours', closes_at = now() - interval '1 hour'")
    await audit_tick(shop.database, shop.gate)
    assert (await shop.row(stall.sale_id)).stage is SaleStage.RECONCILED


@pytest.mark.parametrize("trigger", ["clock", "operator"])
async def test_only_clean_runs_by_the_clock_are_thinned_out(shop: Shop, trigger: str) -> None:
    stall = await shop.sale()
    await shop.sql(
        """
        INSERT INTO reconciliation_runs (id, sale_id, trigger, verdict, oversold, stranded, drift, duplicates, findings,
                                         balance, started_at, finished_at)
        SELECT gen_random_uuid(), :sale, :trigger, CASE WHEN n % 10 = 0 THEN 'findings' ELSE 'clean' END, 0, 0, 0, 0,
               '[]', '{}', now() - make_interval(mins => n), now() - make_interval(mins => n)
        FROM generate_series(1, 200) AS n
        """,
        sale=stall.sale_id,
        trigger=trigger,
    )

    await audit_tick(shop.database, shop.gate)

    rows = await shop.sql(
        "SELECT verdict, count(*) AS n FROM reconciliation_runs WHERE trigger = :trigger GROUP BY verdict",
        trigger=trigger,
    )
    counts = {row.verdict: row.n for row in rows}
    expected = {"clean": CLEAN_KEPT, "findings": 20} if trigger == "clock" else {"clean": 180, "findings": 20}
    assert counts == expected


async def test_a_run_by_a_person_is_kept_with_its_operator(shop: Shop) -> None:
    stall = await shop.sale()
    stored = await run(shop.database, shop.gate, stall.sale_id, trigger="operator")
    (row,) = await shop.sql("SELECT id, trigger, findings, balance FROM reconciliation_runs")
    assert (row.id, row.trigger, row.findings) == (stored.id, "operator", [])
    assert row.balance["drift"] == 0
