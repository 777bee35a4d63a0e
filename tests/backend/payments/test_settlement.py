"""A captured payment, an expiry and a cancellation want the same units: exactly one of them gets them."""

import asyncio
from uuid import UUID, uuid4

import pytest

from backend.core.errors import Code, Refused
from backend.models import OrderStatus
from backend.orders import cancel_order, cancel_sale
from backend.orders.settlement import Settlement, confirm_paid
from tests.backend.shop import Bought, Shop, Stall


async def pay(shop: Shop, order_id: UUID) -> Settlement:
    async with shop.database.transaction() as session:
        return await confirm_paid(session, order_id)


async def kinds(shop: Shop, bought: Bought) -> list[str]:
    rows = await shop.sql(
        "SELECT kind FROM ledger_entries WHERE reservation_id = :id ORDER BY id", id=bought.reservation_id
    )
    return [row.kind for row in rows]


async def messages(shop: Shop, order_id: UUID) -> list[str]:
    rows = await shop.sql("SELECT kind FROM notifications WHERE order_id = :id ORDER BY kind", id=order_id)
    return [row.kind for row in rows]


async def held(shop: Shop, **how: object) -> tuple[Stall, Bought, UUID]:
    stall = await shop.sale(payment_required=True, **how)  # type: ignore[arg-type]
    bought = await shop.buy(stall, quantity=1)
    await shop.drain(stall)
    return stall, bought, (await shop.order_of(bought)).id


async def test_a_payment_sells_the_units(shop: Shop) -> None:
    stall, bought, order_id = await held(shop)

    assert await pay(shop, order_id) is Settlement.CONFIRMED

    item = await shop.item(stall)
    assert (item.available, item.reserved, item.sold) == (9, 0, 1)
    order = await shop.order_of(bought)
    assert order.status is OrderStatus.CONFIRMED
    assert order.paid_at is not None
    assert await kinds(shop, bought) == ["reserve", "sell"]
    assert await messages(shop, order_id) == ["order_confirmed", "order_reserved"]


async def test_the_same_payment_twice_changes_nothing(shop: Shop) -> None:
    stall, bought, order_id = await held(shop)
    await pay(shop, order_id)
    before = await shop.item(stall)

    assert await pay(shop, order_id) is Settlement.ALREADY

    after = await shop.item(stall)
    assert (after.sold, after.version) == (before.sold, before.version)
    assert await kinds(shop, bought) == ["reserve", "sell"]


async def test_a_payment_after_the_expiry_takes_nothing_by_itself(shop: Shop) -> None:
    stall, bought, order_id = await held(shop)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 second'")
    await shop.expire()

    assert [await pay(shop, order_id) for _ in range(2)] == [Settlement.LATE] * 2

    item = await shop.item(stall)
    assert (item.available, item.reserved, item.sold) == (10, 0, 0)
    assert (await shop.order_of(bought)).status is OrderStatus.EXPIRED
    assert await kinds(shop, bought) == ["reserve", "release"]
    assert await messages(shop, order_id) == ["order_expired", "order_reserved"]


async def test_a_payment_after_the_expiry_of_a_cancelled_sale_is_refunded(shop: Shop) -> None:
    stall, bought, order_id = await held(shop)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 second'")
    await shop.expire()
    async with shop.database.transaction() as session:
        await cancel_sale(session, stall.sale_id, uuid4())

    assert await pay(shop, order_id) is Settlement.REFUND_DUE
    assert await pay(shop, order_id) is Settlement.ALREADY

    item = await shop.item(stall)
    assert (item.available, item.reserved, item.sold) == (10, 0, 0)
    assert (await shop.order_of(bought)).status is OrderStatus.REFUND_DUE
    assert await kinds(shop, bought) == ["reserve", "release"]
    assert await messages(shop, order_id) == ["order_expired", "order_reserved", "refund_due"]


async def test_a_hold_past_its_time_that_nobody_ended_can_still_be_paid(shop: Shop) -> None:
    stall, _, order_id = await held(shop)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 second'")

    assert await pay(shop, order_id) is Settlement.CONFIRMED
    assert await shop.expire() == 0
    assert (await shop.item(stall)).sold == 1


async def test_a_paid_order_cannot_be_cancelled(shop: Shop) -> None:
    _, bought, order_id = await held(shop)
    await pay(shop, order_id)

    with pytest.raises(Refused) as refused:
        async with shop.database.transaction() as session:
            await cancel_order(session, order_id, bought.shopper_id)
    assert refused.value.code is Code.WRONG_STATE


async def test_an_unknown_order_is_an_error(shop: Shop) -> None:
    with pytest.raises(LookupError):
        await pay(shop, UUID(int=1))


async def test_pay_expire_and_cancel_at_once_have_one_winner(shop: Shop) -> None:
    """Thirty orders, three parties each: every unit ends in one place, with one story in the ledger."""
    stall = await shop.sale(items={"TEE-M": 30}, payment_required=True)
    bought = [await shop.buy(stall) for _ in range(30)]
    await shop.drain(stall)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 second'")
    orders = [await shop.order_of(one) for one in bought]

    async def cancel(one: Bought, order_id: UUID) -> None:
        try:
            async with shop.database.transaction() as session:
                await cancel_order(session, order_id, one.shopper_id)
        except Refused as refused:
            assert refused.code is Code.WRONG_STATE

    limit = asyncio.Semaphore(8)

    async def bounded(work: object) -> object:
        async with limit:
            return await work  # type: ignore[misc]

    tasks: list[object] = []
    for number, (one, order) in enumerate(zip(bought, orders, strict=True)):
        both = [pay(shop, order.id), cancel(one, order.id)]
        tasks += both if number % 2 else reversed(both)
        if number % 10 == 5:
            tasks.append(shop.expire())
    await asyncio.gather(*(bounded(task) for task in tasks))
    await shop.expire()

    item = await shop.item(stall)
    statuses = [(await shop.order_of(one)).status for one in bought]
    sold = statuses.count(OrderStatus.CONFIRMED)
    assert (item.available, item.reserved, item.sold) == (30 - sold, 0, sold)
    # Each was paid: who cancelled gets the money back, for whom it expired the gate will be asked.
    assert statuses.count(OrderStatus.REFUND_DUE) + statuses.count(OrderStatus.EXPIRED) == 30 - sold
    for one, status in zip(bought, statuses, strict=True):
        last = "sell" if status is OrderStatus.CONFIRMED else "release"
        assert await kinds(shop, one) == ["reserve", last]
