"""Callbacks over real HTTP: only genuine, fresh ones count, and each of them once."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from backend.core.signing import derive_key
from backend.models import OrderStatus
from backend.orders import settle_captured
from backend.payments import CAPTURED, SIGNATURE_HEADER, TOLERANCE_S, Callback, Sandbox, is_signed, sign
from tests.backend.server import as_shopper, free_origin, serving
from tests.backend.shop import Bought, Shop, Stall

WEBHOOK = "/api/v1/payments/webhooks/sandbox"


@pytest_asyncio.fixture(loop_scope="session")
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    shop.settings = shop.settings.model_copy(update={"public_url": free_origin()})
    async with serving(shop.settings) as opened:
        yield opened


async def held(shop: Shop) -> tuple[Stall, Bought, UUID]:
    stall = await shop.sale(payment_required=True)
    bought = await shop.buy(stall)
    await shop.drain(stall)
    return stall, bought, (await shop.order_of(bought)).id


async def open_payment(client: httpx.AsyncClient, shop: Shop, bought: Bought, order_id: UUID) -> tuple[str, UUID]:
    answer = await client.post(f"/api/v1/orders/{order_id}/pay", headers=as_shopper(shop, bought.shopper_id))
    assert answer.status_code == 200, answer.text
    url = answer.json()["payment_url"]
    match = re.search(r"/sandbox/([0-9a-f-]{36})\?t=", url)
    assert match
    return url, UUID(match[1])


def captured(payment_id: UUID, **changes: Any) -> Callback:
    fields: dict[str, Any] = {
        "event_id": f"event-{uuid4().hex}",
        "type": CAPTURED,
        "payment_id": payment_id,
        "amount_minor": 1_900,
        "currency": "EUR",
    }
    return Callback(**{**fields, **changes})


async def results(shop: Shop) -> list[str]:
    return [row.result for row in await shop.sql("SELECT result FROM payment_events ORDER BY received_at")]


async def test_pressing_pay_confirms_the_order(client: httpx.AsyncClient, shop: Shop) -> None:
    _, bought, order_id = await held(shop)
    url, _ = await open_payment(client, shop, bought, order_id)

    page = await client.get(url)
    assert page.status_code == 200
    assert "€19.00" in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"

    declined = await client.post(url, data={"action": "decline"})
    assert "declined" in declined.text
    assert (await shop.order_of(bought)).status is OrderStatus.RESERVED

    paid = await client.post(url, data={"action": "pay"})
    assert "complete" in paid.text
    assert (await shop.order_of(bought)).status is OrderStatus.CONFIRMED
    again = await client.post(url, data={"action": "pay"})
    assert again.status_code == 200
    assert await results(shop) == ["confirmed"]
    order = (await client.get(f"/api/v1/orders/{order_id}", headers=as_shopper(shop, bought.shopper_id))).json()
    assert order["status"] == "confirmed"
    assert "paid_at" in order


async def test_a_merchants_words_are_text_on_the_page(client: httpx.AsyncClient, shop: Shop) -> None:
    _, bought, order_id = await held(shop)
    await shop.sql("UPDATE sales SET title = :title", title="<script>alert(1)</script>{{7*7}}")
    url, _ = await open_payment(client, shop, bought, order_id)
    page = await client.get(url)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in page.text


async def test_paying_twice_opens_one_payment(client: httpx.AsyncClient, shop: Shop) -> None:
    _, bought, order_id = await held(shop)
    opened = await asyncio.gather(*(open_payment(client, shop, bought, order_id) for _ in range(10)))
    assert len(set(opened)) == 1
    assert len(await shop.sql("SELECT id FROM payments")) == 1


@pytest.mark.parametrize("stranger", [True, False])
async def test_only_the_shopper_herself_pays_and_only_while_it_is_reserved(
    client: httpx.AsyncClient, shop: Shop, stranger: bool
) -> None:
    _, bought, order_id = await held(shop)
    if stranger:
        answer = await client.post(f"/api/v1/orders/{order_id}/pay", headers=as_shopper(shop, uuid4()))
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    else:
        await shop.sql("UPDATE orders SET pay_by = now() - interval '1 millisecond'")
        answer = await client.post(f"/api/v1/orders/{order_id}/pay", headers=as_shopper(shop, bought.shopper_id))
        assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (409, "WRONG_STATE", "expired")
    assert await shop.sql("SELECT id FROM payments") == []


async def test_an_order_without_payment_cannot_be_paid(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale()
    bought = await shop.buy(stall)
    await shop.drain(stall)
    order_id = (await shop.order_of(bought)).id
    answer = await client.post(f"/api/v1/orders/{order_id}/pay", headers=as_shopper(shop, bought.shopper_id))
    assert (answer.status_code, answer.json()["state"]) == (409, "confirmed")


@pytest.mark.parametrize("tampered", ["no signature", "other key", "other body", "old", "future", "other stamp", "bit"])
async def test_what_is_not_genuine_and_fresh_changes_nothing(
    client: httpx.AsyncClient, shop: Shop, tampered: str
) -> None:
    _, bought, order_id = await held(shop)
    _, payment_id = await open_payment(client, shop, bought, order_id)
    body = captured(payment_id).model_dump_json().encode()
    key, now_s = derive_key(shop.settings.secret_key, "payments/sandbox/callback"), int(time.time())
    signature = {
        "no signature": "",
        "other key": sign(derive_key("x" * 32, "payments/sandbox/callback"), body, now_s),
        "other body": sign(key, body + b" ", now_s),
        "old": sign(key, body, now_s - TOLERANCE_S - 2),
        "future": sign(key, body, now_s + TOLERANCE_S + 5),
        "other stamp": sign(key, body, now_s - 10).replace(f"t={now_s - 10}", f"t={now_s}"),
        "bit": sign(key, body, now_s)[:-1] + ("0" if sign(key, body, now_s)[-1] != "0" else "1"),
    }[tampered]

    answer = await client.post(
        WEBHOOK, content=body, headers={SIGNATURE_HEADER: signature, "Content-Type": "application/json"}
    )

    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
    assert await results(shop) == []
    assert (await shop.order_of(bought)).status is OrderStatus.RESERVED


async def test_one_event_delivered_many_times_at_once_counts_once(client: httpx.AsyncClient, shop: Shop) -> None:
    stall, bought, order_id = await held(shop)
    _, payment_id = await open_payment(client, shop, bought, order_id)
    sandbox, callback = Sandbox(shop.settings), captured(payment_id)

    answers = await asyncio.gather(*(sandbox.send(callback) for _ in range(12)))

    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["result"] for answer in answers) == ["confirmed", *["duplicate"] * 11]
    assert await results(shop) == ["confirmed"]
    assert (await shop.item(stall)).sold == 1


async def test_another_event_about_the_same_payment_is_a_no_op(client: httpx.AsyncClient, shop: Shop) -> None:
    stall, bought, order_id = await held(shop)
    _, payment_id = await open_payment(client, shop, bought, order_id)
    sandbox = Sandbox(shop.settings)
    assert (await sandbox.send(captured(payment_id))).json() == {"result": "confirmed"}
    assert (await sandbox.send(captured(payment_id))).json() == {"result": "already"}
    assert (await shop.item(stall)).sold == 1


@pytest.mark.parametrize("changes", [{"amount_minor": 1}, {"currency": "USD"}])
async def test_a_wrong_amount_is_recorded_and_alarmed_and_not_applied(
    client: httpx.AsyncClient, shop: Shop, changes: dict[str, Any]
) -> None:
    _, bought, order_id = await held(shop)
    _, payment_id = await open_payment(client, shop, bought, order_id)

    answer = await Sandbox(shop.settings).send(captured(payment_id, **changes))

    assert answer.json() == {"result": "mismatch"}
    assert (await shop.order_of(bought)).status is OrderStatus.RESERVED
    (event,) = await shop.sql("SELECT kind, alarm, detail FROM sale_events WHERE alarm")
    assert (event.kind, event.detail["order_id"]) == ("payment_mismatch", str(order_id))
    (row,) = await shop.sql("SELECT status FROM payments")
    assert row.status == "open"


async def test_money_that_comes_too_late_is_taken_and_decided_by_the_gate(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    """The provider hears that it was taken; the shopper finds both orders, each saying what it is."""
    stall, bought, order_id = await held(shop)
    _, payment_id = await open_payment(client, shop, bought, order_id)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 second'")
    await shop.expire()

    assert (await Sandbox(shop.settings).send(captured(payment_id))).json() == {"result": "captured"}
    assert await settle_captured(shop.database, shop.gate) == 1
    await shop.settle(stall)

    assert await results(shop) == ["confirmed"]
    headers = as_shopper(shop, bought.shopper_id)
    orders = (await client.get("/api/v1/orders", headers=headers)).json()["orders"]
    assert [(one["status"], "paid_at" in one, "pay_by" in one) for one in orders] == [
        ("confirmed", True, False), ("expired", False, True),
    ]  # fmt: skip
    claims = (await client.get(f"/api/v1/me/claims?sale={stall.slug}", headers=headers)).json()["claims"]
    assert sorted(claim["status"] for claim in claims) == ["confirmed", "expired"]
    for claim in claims:
        ticket = (await client.get(claim["ticket_path"], headers=headers)).json()
        assert ticket["status"] == claim["status"]
    again = await client.post(f"/api/v1/orders/{order_id}/pay", headers=headers)
    assert (again.status_code, again.json()["state"]) == (409, "expired")


async def test_other_types_and_unknown_payments_are_recorded_only(client: httpx.AsyncClient, shop: Shop) -> None:
    _, bought, order_id = await held(shop)
    _, payment_id = await open_payment(client, shop, bought, order_id)
    sandbox = Sandbox(shop.settings)
    assert (await sandbox.send(captured(payment_id, type="payment.declined"))).json() == {"result": "ignored"}
    assert (await sandbox.send(captured(uuid4()))).json() == {"result": "unknown_payment"}
    assert await results(shop) == ["ignored", "unknown_payment"]
    assert (await shop.order_of(bought)).status is OrderStatus.RESERVED


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"event_id": "\\ud800"}', 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"event_id":"e","type":"payment.captured","payment_id":"x","amount_minor":1,"currency":"EUR"}', 422),
        (b'{"event_id":"e","type":"payment.captured","payment_id":"%s","amount_minor":true,"currency":"EUR"}', 422),
        (b'{"event_id":"e","type":"payment.captured","payment_id":"%s","amount_minor":1,"currency":"EUR","a":1}', 422),
    ],
)
async def test_a_signed_body_that_is_no_callback_is_refused(
    client: httpx.AsyncClient, shop: Shop, body: bytes, status: int
) -> None:
    body = body.replace(b"%s", str(uuid4()).encode())
    key = derive_key(shop.settings.secret_key, "payments/sandbox/callback")
    answer = await client.post(
        WEBHOOK,
        content=body,
        headers={SIGNATURE_HEADER: sign(key, body, int(time.time())), "Content-Type": "application/json"},
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await results(shop) == []


@pytest.mark.parametrize("provider", ["nobody", "SANDBOX", "x" * 40])
async def test_an_unknown_provider_is_not_found(client: httpx.AsyncClient, provider: str) -> None:
    answer = await client.post(f"/api/v1/payments/webhooks/{provider}", json={})
    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_page_needs_its_signature(client: httpx.AsyncClient, shop: Shop, method: str) -> None:
    _, bought, order_id = await held(shop)
    url, payment_id = await open_payment(client, shop, bought, order_id)
    other = Sandbox(shop.settings).payment_url(uuid4()).rpartition("=")[2]
    for signature in ("", "x", other, url.rpartition("=")[2][:-1]):
        answer = await client.request(
            method, f"/api/v1/payments/sandbox/{payment_id}", params={"t": signature}, data={"action": "pay"}
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert (await shop.order_of(bought)).status is OrderStatus.RESERVED


async def test_beyond_the_local_stack_there_is_no_sandbox(shop: Shop) -> None:
    settings = shop.settings.model_copy(update={"environment": "production", "public_url": free_origin()})
    payment_id = uuid4()
    async with serving(settings) as client:
        page = await client.get(Sandbox(settings).payment_url(payment_id))
        callback = await Sandbox(settings).send(captured(payment_id))
    assert (page.status_code, callback.status_code) == (404, 404)


def test_a_signature_is_read_strictly() -> None:
    key, body, now_s = b"k" * 32, json.dumps({"a": 1}).encode(), 1_000
    good = sign(key, body, now_s)
    assert is_signed(key, good, body, now_s + TOLERANCE_S)
    assert not is_signed(key, good, body, now_s + TOLERANCE_S + 1)
    for bad in (good.upper(), f" {good}", good + "\n", good.replace("t=1000", "t=01000"), good.replace(",v1", ", v1")):
        assert not is_signed(key, bad, body, now_s), bad
