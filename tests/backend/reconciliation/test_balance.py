"""The balance: exact at rest, quiet under load, loud about every unit that is not where it should be."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from backend.core.errors import Code, Refused
from backend.gate import EntryId, Gate, GateAnswer, GateUnavailable, LaneId, LaneKeys, LaneReading, Outcome
from backend.models import GateOutbox, OutboxKind, SaleItem
from backend.reconciliation import Balance, LaneState, balance
from tests.backend.shop import Shop, Stall


class Between(Gate):
    """A gate before whose reading something happens: the worst moment, every time."""

    def __init__(self, gate: Gate, happening: Any) -> None:
        super().__init__(gate.store)
        self._happening = happening

    async def read(self, lane_id: LaneId, *, cursor: EntryId | None = None, sure: bool = False) -> LaneReading:
        await self._happening()
        return await super().read(lane_id, cursor=cursor, sure=sure)


async def take(shop: Shop, stall: Stall, gate: Gate | None = None) -> Balance:
    return await balance(shop.database, gate or shop.gate, stall.sale_id)


async def top_up(shop: Shop, stall: Stall, units: int) -> None:
    """Ledger first, with its outbox row, as the command does it."""
    async with shop.database.transaction() as session:
        item = await session.get(SaleItem, stall.items["TEE-M"], with_for_update=True)
        assert item is not None
        item.allotment += units
        item.available += units
        session.add(
            GateOutbox(sale_id=stall.sale_id, item_id=item.id, kind=OutboxKind.ADJUST, quantity=units, generation=1)
        )


async def test_at_rest_both_stores_agree(shop: Shop) -> None:
    stall = await shop.sale()
    for _ in range(4):
        await shop.buy(stall)
    await shop.drain(stall)

    found = await take(shop, stall)

    (item,) = found.items
    assert (item.gate_available, item.gate_held, item.expected, item.in_flight) == (6, 4, 6, 0)
    assert (found.drift, found.stranded, found.oversold) == (0, 0, 0)
    assert [lane.state for lane in found.lanes] == [LaneState.COMPARED]
    (body,) = found.as_json()["items"]
    assert body["gate"]["available"] == 6
    assert body["ledger"] | {"read_at": ""} == {"available": 6, "reserved": 0, "sold": 4, "read_at": ""}


async def test_what_is_not_drained_yet_is_in_flight_and_no_drift(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.drain(stall)
    for _ in range(3):
        await shop.buy(stall)

    found = await take(shop, stall)

    assert found.items[0].in_flight == 3
    assert (found.items[0].ledger.available, found.items[0].gate_available) == (10, 7)
    assert found.drift == 0


async def test_before_the_first_drain_the_load_itself_is_the_cursor(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.buy(stall)
    assert (await take(shop, stall)).drift == 0


async def test_a_sale_that_is_not_loaded_has_nothing_to_compare(shop: Shop) -> None:
    stall = await shop.sale(loaded=False)
    found = await take(shop, stall)
    assert found.drift == 0
    assert found.lanes == ()


async def test_an_unknown_sale_is_not_found(shop: Shop) -> None:
    with pytest.raises(Refused) as refused:
        await balance(shop.database, shop.gate, uuid4())
    assert refused.value.code is Code.NOT_FOUND


async def test_a_gate_that_is_down_is_an_error_and_no_drift(shop: Shop) -> None:
    stall = await shop.sale()
    dead = Gate.connect("redis://127.0.0.1:1/0", timeout_s=0.5, name="dead")
    with pytest.raises(GateUnavailable):
        await take(shop, stall, dead)
    await dead.close()


# -- races: each happens exactly between the two readings -------------------------------------------


async def test_a_drain_between_the_readings(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.drain(stall)
    await shop.buy(stall)
    found = await take(shop, stall, Between(shop.gate, lambda: shop.drain(stall)))
    assert (found.drift, found.items[0].in_flight) == (0, 1)


async def test_purchases_between_the_readings(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.drain(stall)

    async def buy_and_drain() -> None:
        await shop.buy(stall)
        await shop.drain(stall)
        await shop.buy(stall)

    found = await take(shop, stall, Between(shop.gate, buy_and_drain))
    assert (found.drift, found.items[0].in_flight) == (0, 2)


@pytest.mark.parametrize("when", ["expired before", "expired between"])
@pytest.mark.parametrize("drained", [False, True])
async def test_a_release_at_any_step(shop: Shop, when: str, drained: bool) -> None:
    stall = await shop.sale(payment_required=True)
    await shop.buy(stall)
    await shop.drain(stall)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 second'")
    if when == "expired before":
        await shop.expire()
        assert (await take(shop, stall)).drift == 0, "pending, not yet told"

    async def go_on() -> None:
        await shop.expire()
        await shop.relay()
        if drained:
            await shop.drain(stall)

    found = await take(shop, stall, Between(shop.gate, go_on))
    assert found.items[0].gate_available == 10
    assert found.drift == 0
    assert (await take(shop, stall)).drift == 0, "told, perhaps not yet drained"


@pytest.mark.parametrize("relayed", ["never", "before", "between"])
async def test_a_top_up_at_any_step(shop: Shop, relayed: str) -> None:
    stall = await shop.sale()
    await shop.drain(stall)

    async def nothing() -> None: ...

    await top_up(shop, stall, 5)
    if relayed == "before":
        await shop.relay()
    found = await take(shop, stall, Between(shop.gate, shop.relay if relayed == "between" else nothing))
    assert found.drift == 0
    assert found.items[0].ledger.allotment == 15
    await shop.settle(stall)
    found = await take(shop, stall)
    assert (found.drift, found.items[0].gate_available) == (0, 15)


@pytest.mark.parametrize("drained", [False, True])
async def test_a_reduction_between_the_readings(shop: Shop, drained: bool) -> None:
    stall = await shop.sale()
    await shop.drain(stall)

    async def reduce() -> None:
        applied = await shop.gate.adjust(stall.lane(), cause=uuid4(), units=-4, generation=1)
        assert applied.answer is GateAnswer.DONE
        if drained:
            await shop.drain(stall)

    found = await take(shop, stall, Between(shop.gate, reduce))
    assert (found.drift, found.items[0].gate_available) == (0, 6)
    await shop.drain(stall)
    assert (await take(shop, stall)).drift == 0


async def test_under_load_it_never_cries_wolf(shop: Shop) -> None:
    """Buyers, drains, expiries, relays, top-ups and reductions all at once; the audit looks as fast as it can."""
    stall = await shop.sale(items={"TEE-M": 400}, payment_required=True, hold_s=900, limit=3)
    looks = wrong = 0
    over = asyncio.Event()

    async def buyers() -> None:
        for number in range(250):
            shopper = uuid4()
            await shop.attempt(stall, shopper, key=str(number), quantity=random.randint(1, 3))
            if number % 10 == 0:
                await asyncio.sleep(0.005)

    async def drains() -> None:
        while not over.is_set():
            await shop.drain(stall)
            await asyncio.sleep(0.002)

    async def endings() -> None:
        while not over.is_set():
            await shop.sql(
                "UPDATE reservations SET expires_at = now() WHERE id IN "
                "(SELECT id FROM reservations WHERE status = 'reserved' LIMIT 7)"
            )
            await shop.expire()
            await asyncio.sleep(0.01)

    async def relays() -> None:
        while not over.is_set():
            await shop.relay()
            await asyncio.sleep(0.005)

    async def operators() -> None:
        for _ in range(15):
            await top_up(shop, stall, random.randint(1, 5))
            await shop.gate.adjust(stall.lane(), cause=uuid4(), units=-random.randint(1, 3), generation=1)
            await asyncio.sleep(0.02)

    async def audit() -> None:
        nonlocal looks, wrong
        while not over.is_set():
            found = await take(shop, stall)
            looks += 1
            wrong += int(found.drift != 0 or found.oversold != 0 or found.stranded != 0)

    async with running(over, drains, endings, relays, audit):
        await asyncio.gather(buyers(), operators())

    assert looks >= 20
    assert wrong == 0
    for _ in range(3):
        await shop.settle(stall)
    final = await take(shop, stall)
    assert (final.drift, final.items[0].in_flight, final.items[0].ledger.pending_units) == (0, 0, 0)


async def test_the_other_order_would_cry_wolf(shop: Shop) -> None:
    """Negative control: the gate read first, the ledger after a purchase was drained."""
    stall = await shop.sale()
    await shop.drain(stall)
    early = await shop.gate.read(stall.lane(), cursor=EntryId(1, 0))
    await shop.buy(stall)
    await shop.drain(stall)

    class Early(Gate):
        async def read(self, lane_id: LaneId, *, cursor: EntryId | None = None, sure: bool = False) -> LaneReading:
            return early

    assert (await take(shop, stall, Early(shop.gate.store))).drift != 0
    assert (await take(shop, stall)).drift == 0


async def test_giving_without_its_outbox_row_would_show(shop: Shop) -> None:
    """Negative control: a top-up whose outbox row is not in the same transaction."""
    stall = await shop.sale()
    await shop.drain(stall)
    await shop.sql("UPDATE sale_items SET allotment = allotment + 5, available = available + 5")
    assert (await take(shop, stall)).stranded == 5


@asynccontextmanager
async def running(over: asyncio.Event, *loops: Any) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop())
        yield
        over.set()


# -- faults: what the audit is for ------------------------------------------------------------------


async def tamper(shop: Shop, stall: Stall, units: int, sku: str = "TEE-M") -> None:
    await shop.gate.store.client.hincrby(LaneKeys(stall.lane(sku)).lane, "available", units)


@pytest.mark.parametrize("units", [1, -3])
async def test_a_changed_counter_shows_although_the_journal_looks_whole(shop: Shop, units: int) -> None:
    stall = await shop.sale()
    await shop.buy(stall)
    await shop.drain(stall)
    await tamper(shop, stall, units)

    found = await take(shop, stall)

    assert found.drift == units
    assert found.stranded == max(0, -units)


async def test_a_changed_counter_shows_after_the_next_purchase_too(shop: Shop) -> None:
    """The purchase writes the wrong count into the journal; the drain stops there, and the balance says by how much."""
    stall = await shop.sale()
    await shop.drain(stall)
    await tamper(shop, stall, 2)
    _, decision = await shop.attempt(stall, await shop.shopper())
    assert decision.outcome is Outcome.RESERVED
    await shop.drain(stall)
    sale = await shop.row(stall.sale_id)
    assert sale.fault is not None


async def test_drifts_that_cancel_out_do_not_hide_each_other(shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 10, "TEE-L": 10})
    await shop.drain(stall)
    await tamper(shop, stall, 2, "TEE-M")
    await tamper(shop, stall, -2, "TEE-L")

    found = await take(shop, stall)

    assert found.drift != 0
    assert found.stranded == 2


async def test_an_empty_gate_strands_what_it_had(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.buy(stall)
    await shop.drain(stall)
    await shop.gate.store.client.unlink(*LaneKeys(stall.lane()).all())

    found = await take(shop, stall)

    assert [lane.state for lane in found.lanes] == [LaneState.LOST]
    assert (found.drift, found.stranded) == (-9, 9)


async def test_a_lost_tail_is_named(shop: Shop) -> None:
    """The journal's last entry, applied before, is gone: as after a failover to a replica that lagged."""
    stall = await shop.sale()
    bought = await shop.buy(stall)
    await shop.drain(stall)
    keys = LaneKeys(stall.lane())
    await shop.gate.store.client.xdel(keys.journal, str(bought.entry_id))
    await shop.gate.store.client.hset(keys.lane, mapping={"seq": "0", "available": "10", "held": "0"})

    found = await take(shop, stall)

    assert [lane.state for lane in found.lanes] == [LaneState.REGRESSED]
    assert not found.drained


async def test_a_replaced_entry_is_named(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.buy(stall)
    await shop.drain(stall)
    await shop.sql("UPDATE journal_cursors SET digest = :other", other="0" * 40)

    assert [lane.state for lane in (await take(shop, stall)).lanes] == [LaneState.FORKED]
