"""Where to deliver: given for one sale, by one shopper, seen by nobody else."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from backend.pages import publish
from tests.backend.server import as_shopper, free_origin, serving
from tests.backend.shop import Shop

ADDRESS = {
    "name": "Ada Byron",
    "address": "Rua das Flores 7",
    "postal_code": "4050-262",
    "city": "Porto",
    "country": "PT",
}


@pytest_asyncio.fixture(loop_scope="session")
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    shop.settings = shop.settings.model_copy(update={"public_url": free_origin()})
    async with serving(shop.settings) as opened:
        yield opened


def _path(slug: str) -> str:
    return f"/api/v1/me/delivery?sale={slug}"


async def _delivering(shop: Shop) -> str:
    stall = await shop.sale(delivery_required=True)
    await publish(shop.database, stall.sale_id, shop.settings)
    return stall.slug


async def test_an_address_is_kept_changed_and_ones_own(client: httpx.AsyncClient, shop: Shop) -> None:
    slug, other_sale = await _delivering(shop), await _delivering(shop)
    ada, eve = as_shopper(shop, uuid4()), as_shopper(shop, uuid4())
    first = await client.get(_path(slug), headers=ada)
    assert (first.status_code, first.json()) == (200, {})
    assert (await client.put(_path(slug), json=ADDRESS, headers=ada)).json() == ADDRESS
    moved = {**ADDRESS, "city": "Lisboa"}
    assert (await client.put(_path(slug), json=moved, headers=ada)).status_code == 200
    assert (await client.get(_path(slug), headers=ada)).json() == moved
    assert (await client.get(_path(slug), headers=eve)).json() == {}
    assert (await client.get(_path(other_sale), headers=ada)).json() == {}
    rows = await shop.sql("SELECT city FROM delivery_details")
    assert [row.city for row in rows] == ["Lisboa"]


async def test_who_is_not_signed_in_has_no_address(client: httpx.AsyncClient, shop: Shop) -> None:
    slug = await _delivering(shop)
    for answer in (await client.get(_path(slug)), await client.put(_path(slug), json=ADDRESS)):
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
    assert await shop.sql("SELECT 1 FROM delivery_details") == []


async def test_a_sale_that_asks_for_none_takes_none(client: httpx.AsyncClient, shop: Shop) -> None:
    plain = await shop.sale()
    await publish(shop.database, plain.sale_id, shop.settings)
    unpublished = await shop.sale(delivery_required=True)
    ada = as_shopper(shop, uuid4())
    for slug in (plain.slug, unpublished.slug, "no-such-sale"):
        for answer in (
            await client.get(_path(slug), headers=ada),
            await client.put(_path(slug), json=ADDRESS, headers=ada),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert await shop.sql("SELECT 1 FROM delivery_details") == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "   "},
        {"name": "a\nb"},
        {"address": "x" * 501},
        {"city": "a\u2028b"},
        {"country": "Portugal"},
        {"country": "pt"},
        {"postal_code": 4050},
        {"shopper_id": "7"},
        {"city": None},
    ],
)
async def test_a_bad_address_is_refused(client: httpx.AsyncClient, shop: Shop, change: dict[str, Any]) -> None:
    slug = await _delivering(shop)
    refused = await client.put(_path(slug), json={**ADDRESS, **change}, headers=as_shopper(shop, uuid4()))
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_FIELD")
    assert await shop.sql("SELECT 1 FROM delivery_details") == []
