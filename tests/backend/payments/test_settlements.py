"""Capturing and settling are two transactions: whatever comes in between, money ends as one sale or one refund."""

import asyncio
from uuid import UUID, uuid4

import pytest

from backend.core.errors import Code, Refused
from backend.models import OrderStatus
from backend.orders import Settlement, Settlements, cancel_order, cancel_sale, expire_due, settle_captured
from tests.backend.shop import Bought, Shop, Stall


async def held(shop: Shop, stall: Stall) -> tuple[Bought, UUID]:
    bought = await shop.buy(stall)
    await shop.drain(stall)
    return bought, (await shop.order_of(bought)).id


async def capture(shop: Shop, order_id: UUID) -> None:
    """What the callback's transaction leaves behind, by a process that then dies."""
    await shop.sql(
        "INSERT INTO payments (id, order_id, provider, status, amount_minor, currency, captured_at)"
        " VALUES (:id, :order, 'sandbox', 'captured', 1900, 'EUR', now())",
        id=uuid4(),
        order=order_id,
    )


async def test_a_hold_whose_money_has_come_in_does_not_expire_before_it_is_settled(shop: Shop) -> None:
    stall = await shop.sale(payment_required=True)
    bought, order_id = await held(shop, stall)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 minute'")
    await capture(shop, order_id)

    async with asyncio.timeout(10):
        assert await expire_due(shop.database) == 0
    assert (await shop.order_of(bought)).status is OrderStatus.RESERVED

    assert await settle_captured(shop.database, shop.gate) == 1
    assert await settle_captured(shop.database, shop.gate) == 0
    assert (await shop.order_of(bought)).status is OrderStatus.CONFIRMED
    item = await shop.item(stall)
    assert (item.reserved, item.sold) == (0, 1)
    assert await expire_due(shop.database) == 0


async def test_a_hold_without_money_still_expires(shop: Shop) -> None:
    stall = await shop.sale(payment_required=True)
    bought, _ = await held(shop, stall)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 minute'")
    assert await expire_due(shop.database) == 1
    assert (await shop.order_of(bought)).status is OrderStatus.EXPIRED


async def test_a_captured_order_cannot_be_cancelled_any_more(shop: Shop) -> None:
    stall = await shop.sale(payment_required=True)
    bought, order_id = await held(shop, stall)
    await capture(shop, order_id)
    with pytest.raises(Refused) as refused:
        async with shop.database.transaction() as session:
            await cancel_order(session, order_id, bought.shopper_id)
    assert refused.value.code is Code.WRONG_STATE
    assert await settle_captured(shop.database, shop.gate) == 1
    assert (await shop.order_of(bought)).status is OrderStatus.CONFIRMED


async def test_a_capture_whose_sale_is_cancelled_meanwhile_is_owed_a_refund(shop: Shop) -> None:
    stall = await shop.sale(payment_required=True)
    paid, paid_order = await held(shop, stall)
    late, late_order = await held(shop, stall)
    await capture(shop, paid_order)
    async with shop.database.transaction() as session:
        await cancel_sale(session, stall.sale_id, uuid4())
    await capture(shop, late_order)
    await settle_captured(shop.database, shop.gate)
    assert (await shop.order_of(paid)).status is OrderStatus.REFUND_DUE
    assert (await shop.order_of(late)).status is OrderStatus.REFUND_DUE
    item = await shop.item(stall)
    assert item.available + item.reserved + item.sold == item.allotment
    assert item.reserved == 0


async def test_a_payment_after_the_expiry_waits_for_the_gate_and_buys_again(shop: Shop) -> None:
    """Settling takes nothing; the sweep asks the gate; the drain makes the new order, with the release still due."""
    stall = await shop.sale(payment_required=True, items={"TEE-M": 1})
    bought, order_id = await held(shop, stall)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 minute'")
    assert await expire_due(shop.database) == 1
    await capture(shop, order_id)

    assert await Settlements(shop.database).settle(order_id) is Settlement.LATE
    item = await shop.item(stall)
    assert (item.available, item.reserved, item.sold) == (1, 0, 0)

    assert await settle_captured(shop.database, shop.gate) == 1
    assert await settle_captured(shop.database, shop.gate) == 0
    await shop.settle(stall)
    item = await shop.item(stall)
    assert (item.available, item.reserved, item.sold) == (0, 0, 1)
    rows = await shop.sql("SELECT status FROM orders WHERE shopper_id = :s ORDER BY created_at", s=bought.shopper_id)
    assert [row.status for row in rows] == ["expired", "confirmed"]
    assert await Settlements(shop.database).settle(order_id) is Settlement.ALREADY


async def test_a_late_payment_that_bought_again_is_owed_once_when_the_sale_is_cancelled(shop: Shop) -> None:
    stall = await shop.sale(payment_required=True, items={"TEE-M": 1})
    _, order_id = await held(shop, stall)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 minute'")
    await expire_due(shop.database)
    await capture(shop, order_id)
    await settle_captured(shop.database, shop.gate)
    await shop.settle(stall)
    async with shop.database.transaction() as session:
        assert await cancel_sale(session, stall.sale_id, uuid4()) == 0
    assert await Settlements(shop.database).settle(order_id) is Settlement.ALREADY
    await settle_captured(shop.database, shop.gate)
    rows = await shop.sql("SELECT status FROM orders ORDER BY created_at")
    assert [row.status for row in rows] == ["expired", "refund_due"]


async def test_payments_that_arrive_together_are_settled_together(shop: Shop) -> None:
    stall = await shop.sale(payment_required=True, items={"TEE-M": 60})
    orders = []
    for _ in range(40):
        bought = await shop.buy(stall)
        orders.append(bought)
    await shop.drain(stall)
    ids = [(await shop.order_of(bought)).id for bought in orders]
    for one in ids:
        await capture(shop, one)
    before = (await shop.item(stall)).version

    settlements = Settlements(shop.database)
    got = await asyncio.gather(*(settlements.settle(one) for one in (*ids, *ids)))

    assert got == [Settlement.CONFIRMED] * 80, "who asks twice for one order gets the same answer"
    item = await shop.item(stall)
    assert (item.reserved, item.sold) == (0, 40)
    assert item.version - before <= 3, "a transaction each would have counted forty"
    assert await settlements.settle(ids[0]) is Settlement.ALREADY
    assert await shop.sql("SELECT id FROM payments WHERE settled_at IS NULL") == []
