"""The shoppers' slower routes over real HTTP: clock, sign-in, sales, orders."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from backend.pages import publish
from tests.backend.server import as_shopper, free_origin, serving
from tests.backend.shop import Bought, Shop, Stall


@pytest_asyncio.fixture(loop_scope="session")
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    shop.settings = shop.settings.model_copy(update={"public_url": free_origin()})
    async with serving(shop.settings) as opened:
        yield opened


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def test_the_clock_is_the_gates(client: httpx.AsyncClient, shop: Shop) -> None:
    before = await shop.gate.now_ms()
    answer = await client.get("/api/v1/clock")
    assert before <= answer.json()["now_ms"] <= await shop.gate.now_ms()
    assert answer.headers["cache-control"] == "no-store"


async def test_without_the_gate_there_is_no_clock_but_sales_and_orders_stay_up(shop: Shop) -> None:
    stall = await shop.sale()
    await publish(shop.database, stall.sale_id, shop.settings)
    settings = shop.settings.model_copy(
        update={"public_url": free_origin(), "gate_url": "redis://127.0.0.1:1/0", "gate_timeout_s": 0.5}
    )
    async with serving(settings) as client:
        clock = await client.get("/api/v1/clock")
        assert problem(clock) == (503, "DEGRADED")
        assert clock.headers["retry-after"]
        sale = await client.get(f"/api/v1/sales/{stall.slug}")
        assert (sale.status_code, sale.json()["phase"]) == (200, "live")
        orders = await client.get("/api/v1/orders", headers=as_shopper(shop, uuid4()))
        assert (orders.status_code, orders.json()) == (200, {"orders": []})


async def test_a_published_sale_as_shoppers_see_it(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 1, "TEE-L": 5})
    assert problem(await client.get(f"/api/v1/sales/{stall.slug}")) == (404, "NOT_FOUND")
    await shop.buy(stall)
    await shop.drain(stall)
    await publish(shop.database, stall.sale_id, shop.settings)
    shop.settings = shop.settings.model_copy(update={"public_url": free_origin()})
    async with serving(shop.settings) as fresh:
        body = (await fresh.get(f"/api/v1/sales/{stall.slug}")).json()
        listed = (await fresh.get("/api/v1/sales")).json()
    assert {"slug", "title", "phase", "opens_at", "closes_at", "time_zone", "now_ms", "items"} <= body.keys()
    assert (body["slug"], body["phase"], body["time_zone"]) == (stall.slug, "live", "Europe/Berlin")
    assert body["opens_at"].endswith("Z")
    assert abs(body["now_ms"] - await shop.gate.now_ms()) < 5_000
    assert [(item["sku"], item["phase"]) for item in body["items"]] == [("TEE-M", "sold_out"), ("TEE-L", "live")]
    assert body["items"][0]["price"] == {"amount_minor": 1_900, "currency": "EUR"}
    assert body["items"][0]["usual_price"] == {"amount_minor": 4_900, "currency": "EUR"}
    assert body["items"][0]["per_shopper_limit"] == 1
    assert not any("available" in item for item in body["items"]), "shoppers see no numbers"
    assert [sale["slug"] for sale in listed["sales"]] == [stall.slug]


@pytest.mark.parametrize("slug", ["nothing-here", "UPPER", "a%2Fb", "x" * 64])
async def test_a_sale_that_is_not_there(client: httpx.AsyncClient, slug: str) -> None:
    assert problem(await client.get(f"/api/v1/sales/{slug}")) == (404, "NOT_FOUND")


async def code_of(shop: Shop, contact: str) -> str:
    rows = await shop.sql(
        "SELECT payload FROM notifications WHERE recipient = :to ORDER BY created_at DESC LIMIT 1", to=contact
    )
    return str(rows[0].payload["code"])


async def test_a_code_buys_a_token_that_names_the_same_shopper_each_time(client: httpx.AsyncClient, shop: Shop) -> None:
    ids = set()
    for _ in range(2):
        asked = await client.post("/api/v1/shoppers/codes", json={"contact": "Ada@mail.example"})
        assert (asked.status_code, asked.content) == (202, b"")
        made = await client.post(
            "/api/v1/shoppers/sessions",
            json={"contact": "ada@mail.example", "code": await code_of(shop, "ada@mail.example")},
        )
        assert made.status_code == 201
        session = made.json()
        assert session.keys() == {"access_token", "shopper_id", "expires_at"}
        ids.add(session["shopper_id"])
        orders = await client.get("/api/v1/orders", headers={"Authorization": f"Bearer {session['access_token']}"})
        assert orders.status_code == 200
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("codes", {"contact": "no address"}, 422),
        ("codes", {"contact": "ada@mail.example", "role": "owner"}, 422),
        ("codes", {}, 422),
        ("sessions", {"contact": "ada@mail.example", "code": "000000"}, 401),
        ("sessions", {"contact": "ada@mail.example", "code": 123456}, 422),
        ("sessions", {"contact": "ada@mail.example", "code": "12345"}, 422),
    ],
)
async def test_sign_in_refuses_what_is_wrong(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int
) -> None:
    answer = await client.post(f"/api/v1/shoppers/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert "mail.example" not in answer.text


async def bought_order(shop: Shop, **how: Any) -> tuple[Stall, Bought, UUID]:
    stall = await shop.sale(**{"payment_required": True, **how})
    bought = await shop.buy(stall)
    await shop.drain(stall)
    return stall, bought, (await shop.order_of(bought)).id


async def test_an_order_as_its_shopper_sees_it(client: httpx.AsyncClient, shop: Shop) -> None:
    stall, bought, order_id = await bought_order(shop)
    headers = as_shopper(shop, bought.shopper_id)

    (order,) = (await client.get("/api/v1/orders", headers=headers)).json()["orders"]

    assert {"id", "sku", "quantity", "status", "price", "pay_by", "created_at"} <= order.keys()
    assert (order["id"], order["sku"], order["status"]) == (str(order_id), "TEE-M", "reserved")
    assert order["price"] == {"amount_minor": 1_900, "currency": "EUR"}
    assert order["sale"]["slug"] == stall.slug
    assert "paid_at" not in order, "absent, never null"
    assert (await client.get(f"/api/v1/orders/{order_id}", headers=headers)).json() == order


async def test_lists_are_paged_by_the_oldest_order_seen(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 250}, limit=250)
    shopper = await shop.shopper()
    for number in range(130):
        await shop.attempt(stall, shopper, key=str(number))
    await shop.drain(stall)  # all of one transaction: the same time stamp
    headers = as_shopper(shop, shopper)
    first = (await client.get("/api/v1/orders", headers=headers)).json()["orders"]
    rest = (await client.get("/api/v1/orders", params={"before": first[-1]["id"]}, headers=headers)).json()["orders"]
    assert (len(first), len(rest)) == (100, 30)
    assert len({order["id"] for order in (*first, *rest)}) == 130
    foreign = await client.get("/api/v1/orders", params={"before": first[-1]["id"]}, headers=as_shopper(shop, uuid4()))
    assert foreign.json() == {"orders": []}


async def test_cancelling_gives_the_unit_back_once(client: httpx.AsyncClient, shop: Shop) -> None:
    stall, bought, order_id = await bought_order(shop)
    headers = as_shopper(shop, bought.shopper_id)

    cancelled = await client.post(f"/api/v1/orders/{order_id}/cancel", headers=headers)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    again = await client.post(f"/api/v1/orders/{order_id}/cancel", headers=headers)
    assert problem(again) == (409, "WRONG_STATE")
    assert again.json()["state"] == "cancelled"

    await shop.settle(stall)
    assert (await shop.gate.read(stall.lane())).available == 10
    item = await shop.item(stall)
    assert (item.available, item.reserved, item.sold) == (10, 0, 0)


@pytest.mark.parametrize("call", ["", "/cancel", "/pay"])
@pytest.mark.parametrize("who", ["nobody", "stranger", "garbage"])
async def test_nobody_else_sees_or_moves_an_order(client: httpx.AsyncClient, shop: Shop, call: str, who: str) -> None:
    _, bought, order_id = await bought_order(shop)
    headers = {
        "nobody": {},
        "stranger": as_shopper(shop, uuid4()),
        "garbage": {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
    }[who]

    answer = await client.request("POST" if call else "GET", f"/api/v1/orders/{order_id}{call}", headers=headers)

    assert problem(answer) == ((404, "NOT_FOUND") if who == "stranger" else (401, "UNAUTHENTICATED"))
    assert (await shop.order_of(bought)).status.value == "reserved"


@pytest.mark.parametrize("order_id", ["01a203eb-433b-7671-92c9-3a18691c189c", "1", "../1", "%00"])
async def test_an_order_that_is_not_there(client: httpx.AsyncClient, shop: Shop, order_id: str) -> None:
    answer = await client.get(f"/api/v1/orders/{order_id}", headers=as_shopper(shop, uuid4()))
    assert problem(answer) == (404, "NOT_FOUND")
