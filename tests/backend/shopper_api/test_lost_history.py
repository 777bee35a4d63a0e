"""What shoppers are told when the gate loses its history, over the real API: never a second unit, never silence."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest_asyncio

from backend.gate import LaneKeys
from backend.gate.views import VIEW_MAX_AGE_S
from backend.orders import Recovery
from tests.backend.server import as_shopper, free_origin, serving
from tests.backend.shop import Shop, Stall


@pytest_asyncio.fixture(loop_scope="session")
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    shop.settings = shop.settings.model_copy(update={"public_url": free_origin()})
    async with serving(shop.settings) as opened:
        yield opened


class Buyer:
    """One shopper with one key and one link."""

    def __init__(self, client: httpx.AsyncClient, shop: Shop, stall: Stall) -> None:
        self._client = client
        self._stall = stall
        self.id: UUID = uuid4()
        self._headers = as_shopper(shop, self.id)
        self._link = ""
        self.ticket = ""

    async def buy(self, key: str = "one") -> tuple[int, Any]:
        if not self._link:
            address = f"/api/v1/sales/{self._stall.slug}/items/TEE-M/link"
            made = await self._client.post(address, headers=self._headers)
            assert made.status_code == 201, made.text
            self._link = made.json()["buy_path"]
        answer = await self._client.post(self._link, headers={**self._headers, "Idempotency-Key": key})
        body = answer.json()
        self.ticket = body.get("ticket_path", self.ticket)
        return answer.status_code, body

    async def look(self) -> dict[str, Any]:
        answer = await self._client.get(self.ticket, headers=self._headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def claims(self) -> list[tuple[str, str]]:
        answer = await self._client.get("/api/v1/me/claims", params={"sale": self._stall.slug}, headers=self._headers)
        return [(one["ticket_path"], one["status"]) for one in answer.json()["claims"]]


async def _recover(shop: Shop) -> None:
    await Recovery(shop.database, shop.gate, shop.settings).tick()


async def test_a_key_finds_its_ticket_in_a_rebuilt_gate(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 2})
    winner, other = Buyer(client, shop, stall), Buyer(client, shop, stall)
    status, won = await winner.buy()
    assert (status, won["outcome"]) == (202, "RESERVED")
    await other.buy()
    await shop.drain(stall)
    await shop.gate.store.client.unlink(*LaneKeys(stall.lane()).all(), "stampede:lanes")
    assert (await winner.buy())[0] == 503
    assert (await winner.look())["status"] == "confirmed"
    await _recover(shop)
    await asyncio.sleep(2 * VIEW_MAX_AGE_S)  # until this process looks at the lane again
    status, again = await winner.buy()
    assert (status, again["outcome"], again["ticket"]) == (202, "REPLAYED", won["ticket"])
    assert await winner.claims() == [(winner.ticket, "confirmed")]
    status, refused = await winner.buy("two")
    assert (status, refused["code"]) == (409, "LIMIT_REACHED")
    await shop.drain(stall)
    assert (await shop.item(stall)).sold == 2


async def test_a_place_that_was_lost_is_said_to_be_lost_and_can_be_had_again(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    stall = await shop.sale(items={"TEE-M": 2})
    await shop.drain(stall)
    loser = Buyer(client, shop, stall)
    assert (await loser.buy())[0] == 202
    assert (await loser.look())["status"] == "queued"
    # The store comes back as it was before her attempt: one entry shorter, her claim not in it.
    await _take_back(shop, stall)
    await asyncio.sleep(2 * VIEW_MAX_AGE_S)
    # Nothing new was written: her own ticket is what tells.
    assert (await loser.look())["status"] == "queued"
    reading = await shop.gate.read(stall.lane())
    assert (reading.seq, reading.fault) == (0, "regressed")
    await _recover(shop)
    await asyncio.sleep(2 * VIEW_MAX_AGE_S)
    lost = await loser.look()
    assert (lost["status"], lost["reason"]) == ("rejected", "lost_in_failover")
    assert await loser.claims() == []
    status, again = await loser.buy("two")
    assert (status, again["outcome"]) == (202, "RESERVED")
    await shop.drain(stall)
    assert (await loser.look())["status"] == "confirmed"
    assert (await shop.item(stall)).sold == 1


async def test_the_sales_other_items_are_left_as_they_are(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 2, "TEE-L": 2})
    buyer = Buyer(client, shop, stall)
    await buyer.buy()
    await shop.drain(stall)
    await shop.gate.store.client.unlink(*LaneKeys(stall.lane("TEE-L")).all())
    await _recover(shop)
    assert (await shop.row(stall.sale_id)).fault is None
    readings = [await shop.gate.read(stall.lane(sku)) for sku in ("TEE-M", "TEE-L")]
    assert [(one.generation, one.available, one.fault) for one in readings] == [(1, 1, ""), (2, 2, "")]
    closed = await shop.sql("SELECT item_id FROM closed_generations")
    assert [row.item_id for row in closed] == [stall.items["TEE-L"]]


async def _take_back(shop: Shop, stall: Stall) -> None:
    """Undo the lane's one reservation, in every key of it."""
    keys = LaneKeys(stall.lane())
    client = shop.gate.store.client
    ((_, genesis),) = await client.xrange(keys.journal, count=1)
    await client.unlink(keys.journal, keys.claims, keys.shoppers)
    await client.xadd(keys.journal, genesis, id="1-0")
    units = genesis["left"]
    await client.hset(keys.lane, mapping={"seq": 0, "digest": genesis["digest"], "available": units, "held": 0})
