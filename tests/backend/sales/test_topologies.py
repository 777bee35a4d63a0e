"""A whole sale on each topology of the gate store: loaded, sold, drained, given back, and nothing missing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from backend.gate import Admission, Attempt, Decision, EntryId, LaneId, Outcome, reservation_id
from backend.models import Durability
from backend.orders import Recovery
from backend.reconciliation import balance
from backend.settings import Settings
from stack.servers import GateServer
from tests.backend.shop import SECRET_KEY, Shop, Stall
from tests.support.topologies import SERVERS, cluster_gate, sentinel_gate

__all__ = ["cluster_gate", "sentinel_gate"]

ITEMS = {"TEE-S": 3, "TEE-M": 6, "TEE-L": 1}
"""Three lanes: on a cluster most likely on several nodes."""


@pytest.fixture(params=list(SERVERS))
def store(request: pytest.FixtureRequest) -> Any:
    """The gate store's servers."""
    return request.getfixturevalue(SERVERS[request.param])


@pytest_asyncio.fixture(loop_scope="session")
async def shop(
    store: Any, database_url: str, owner_database_url: str, broker_url: str, tmp_path: Path
) -> AsyncIterator[Shop]:
    """A shop on that store; its broker stays on a server of its own."""
    await store.flush()
    settings = Settings(
        _env_file=None,
        environment="local",
        secret_key=SECRET_KEY,
        database_url=database_url,
        gate_url=store.url,
        broker_url=broker_url,
        pages_dir=tmp_path / "pages",
    )
    shop = Shop(settings, owner_database_url)
    yield shop
    await shop.close()


async def _crowd(shop: Shop, stall: Stall, admission: Admission, sku: str, count: int) -> list[Decision]:
    """That many new shoppers at once."""
    lane_id = stall.lane(sku)
    shoppers = [await shop.shopper() for _ in range(count)]
    attempts = [
        Attempt(reservation_id(shopper, lane_id.item_id, "one").bytes, shopper.bytes, 1, 1) for shopper in shoppers
    ]
    return list(await asyncio.gather(*(admission.lane(lane_id).submit(one) for one in attempts)))


async def _drain_what_comes(shop: Shop, stall: Stall) -> None:
    """As the drain job does: wait on every lane, apply what came, until nothing comes."""
    after: dict[LaneId, EntryId] = {stall.lane(sku): EntryId(1, -1) for sku in stall.items}
    while grown := await shop.gate.wait_for_entries(after, block_ms=100):
        for lane_id in grown:
            await shop.drain_worker.drain_lane(lane_id)
            applied = await shop.gate.applied(lane_id)
            assert applied is not None
            after[lane_id] = applied


@pytest.mark.parametrize("durability", list(Durability))
async def test_a_whole_sale(shop: Shop, durability: Durability) -> None:
    stall = await shop.sale(items=ITEMS, payment_required=True, hold_s=900, durability=durability)
    admission = Admission(shop.gate)
    sold = await asyncio.gather(*(_crowd(shop, stall, admission, sku, 2 * units) for sku, units in ITEMS.items()))
    for decisions, units in zip(sold, ITEMS.values(), strict=True):
        outcomes = [one.outcome for one in decisions]
        assert (outcomes.count(Outcome.RESERVED), outcomes.count(Outcome.SOLD_OUT)) == (units, units)
    await _drain_what_comes(shop, stall)
    assert {sku: (await shop.item(stall, sku)).reserved for sku in ITEMS} == ITEMS

    # Every hold ends: the units come back by the relay and are sold again.
    await shop.sql(
        "UPDATE reservations SET expires_at = now() - interval '1 second' WHERE sale_id = :s", s=stall.sale_id
    )
    assert await shop.expire() == sum(ITEMS.values())
    await shop.settle(stall)
    assert {sku: (await shop.gate.read(stall.lane(sku))).available for sku in ITEMS} == ITEMS
    again = await _crowd(shop, stall, admission, "TEE-M", 9)
    assert [one.outcome for one in again].count(Outcome.RESERVED) == 6
    await shop.settle(stall)

    seen = await balance(shop.database, shop.gate, stall.sale_id)
    assert (seen.oversold, seen.stranded, seen.drift) == (0, 0, 0)
    item = await shop.item(stall, "TEE-M")
    assert (item.available, item.reserved, item.sold) == (0, 6, 0)
    assert (await shop.row(stall.sale_id)).fault is None
    series = await shop.gate.series(stall.lane("TEE-M"), since_s=0)
    assert sum(second.get("RESERVED", 0) for _, second in series) == 12


async def test_a_store_that_lost_everything_is_rebuilt_and_sells_the_rest(store: Any, shop: Shop) -> None:
    """With a release on its way, which the ledger knows of and the new gate must not be given twice."""
    stall = await shop.sale(items=ITEMS, payment_required=True, hold_s=900)
    admission = Admission(shop.gate)
    await asyncio.gather(*(_crowd(shop, stall, admission, sku, 2) for sku in ("TEE-S", "TEE-M")))
    await _drain_what_comes(shop, stall)
    await shop.sql(
        "UPDATE reservations SET expires_at = now() - interval '1 second' WHERE item_id = :i",
        i=stall.lane("TEE-M").item_id,
    )
    assert await shop.expire() == 2
    await store.flush()

    recovery = Recovery(shop.database, shop.gate, shop.settings)
    await recovery.tick()
    await recovery.tick()
    sale = await shop.row(stall.sale_id)
    assert (sale.fault, sale.paused_at) == (None, None)
    left = {"TEE-S": 1, "TEE-M": 6, "TEE-L": 1}
    assert {sku: (await shop.gate.read(stall.lane(sku))).available for sku in ITEMS} == left
    await shop.settle(stall)
    assert {sku: (await shop.gate.read(stall.lane(sku))).available for sku in ITEMS} == left, "nothing given twice"
    for sku, units in left.items():
        # The process's own view of the lane is of the generation that was lost: its first batch learns the new one.
        decisions = await _crowd(shop, stall, Admission(shop.gate), sku, 2 * units)
        assert [one.outcome for one in decisions].count(Outcome.RESERVED) == units
    await shop.settle(stall)
    seen = await balance(shop.database, shop.gate, stall.sale_id)
    assert (seen.oversold, seen.stranded, seen.drift) == (0, 0, 0)
    assert (await shop.item(stall, "TEE-S")).reserved == 3


async def test_an_entry_is_applied_only_if_the_store_that_takes_writes_has_it(store: Any, shop: Shop) -> None:
    """Also of a sale that asks for no more than ``everysec``: where another server may have been elected."""
    stall = await shop.sale(items={"TEE-M": 3})
    lane_id = stall.lane()
    reading = await shop.gate.read(lane_id)
    (last,) = await shop.gate.entries(lane_id, start=reading.last, count=1)
    for safe in (False, True):
        assert await shop.gate.vouches(lane_id, last, safe=safe)
        lone = isinstance(store, GateServer) and not safe  # nobody can have been put in its place
        assert await shop.gate.vouches(lane_id, replace(last, digest="0" * 40), safe=safe) is lone
