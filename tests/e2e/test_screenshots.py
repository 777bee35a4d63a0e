"""`make screenshots`: the pictures of README and docs, taken from a real sale while it sells."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from stack.demo.http import Client
from stack.demo.shoppers import Crowd, Sample
from stack.demo.witness import Witness
from stack.state import PROJECT_ROOT
from tests.e2e.room import Room
from tests.e2e.shop import Merchant, Platform, wait_until

pytestmark = pytest.mark.screenshots

PICTURES = PROJECT_ROOT / "docs" / "images"
PICTURE_MAX_BYTES = 200_000
OPERATOR = "m.ortega@northwind.test"
SKU = "EMBER-PARKA-M"
STOCK = 200
SHOPPERS = 320
SPREAD_S = 30.0
OPENS_IN_S = 25.0
"""Two pages and the console have to be open by then, and the charts to have a little quiet before the rush."""
LOOK_AT = 130
"""Units taken when the pictures are made."""

Visit = Callable[..., Awaitable[Page]]


def _sale(slug: str, title: str, sku: str, opens_at: datetime, stock: int) -> dict[str, Any]:
    return {
        "slug": slug,
        "title": title,
        "opens_at": opens_at.isoformat(timespec="seconds"),
        "closes_at": (opens_at + timedelta(hours=1)).isoformat(timespec="seconds"),
        "time_zone": "Europe/Berlin",
        "items": [
            {
                "sku": sku,
                "price": {"amount_minor": 11900, "currency": "EUR"},
                "allotment": stock,
                "per_shopper_limit": 1,
            }
        ],
        "throttle": {"rate_per_s": 5, "burst": 5, "wait_budget_ms": 0, "repeat_window_ms": 5_000},
        "payment": {"required": True, "hold_s": 900},
    }


async def _shop(merchant: Merchant) -> tuple[str, float]:
    """Products and sales as a merchant has them. Returns the sale that will sell, and its opening."""
    for sku, name, description in (
        (SKU, "Ember parka, size M", "First run, sewn in Porto. Waxed cotton, wool lining."),
        ("HARBOUR-TOTE", "Harbour tote", "Sailcloth, one size."),
        ("LANTERN-S", "Winter lantern", "Brass and glass, 18 cm."),
    ):
        price = {"amount_minor": 21900, "currency": "EUR"}
        await merchant.call("skus", {"sku": sku, "name": name, "description": description, "usual_price": price})
    now = datetime.now(UTC).replace(microsecond=0)
    await merchant.call("sales", _sale("harbour-tote", "Harbour tote, restock", "HARBOUR-TOTE", _evening(now, 12), 80))
    lantern = await merchant.call(
        "sales", _sale("winter-lantern", "Winter lantern", "LANTERN-S", _evening(now, 5), 1_500)
    )
    await merchant.call(f"sales/{lantern['id']}/schedule")
    opens_at = now + timedelta(seconds=OPENS_IN_S)
    parka = await merchant.call("sales", _sale("ember-parka", "Ember parka, first run", SKU, opens_at, STOCK))
    await merchant.call(f"sales/{parka['id']}/schedule")
    return parka["id"], opens_at.timestamp()


def _evening(now: datetime, days: int) -> datetime:
    return now.replace(hour=19, minute=0, second=0) + timedelta(days=days)


async def _take(page: Page, name: str, height: int = 800) -> None:
    width = (page.viewport_size or {"width": 1280})["width"]
    await page.set_viewport_size({"width": width, "height": height})
    path = PICTURES / name
    await page.screenshot(path=path)
    assert path.stat().st_size < PICTURE_MAX_BYTES, path


async def test_pictures_of_a_sale_that_sells(platform: Platform, visit: Visit) -> None:
    await asyncio.to_thread(Path.mkdir, PICTURES, parents=True, exist_ok=True)
    merchant = await Merchant.join(platform, "Northwind Supply", OPERATOR)
    *crowd_tokens, token, phone_token = (await platform.command("shopper-token", "--count", str(SHOPPERS + 2))).split()
    sale_id, opens_at_s = await _shop(merchant)

    async def taken() -> int:
        items = (await merchant.http.get(f"operator/sales/{sale_id}/live")).json()["items"]
        return sum(item["reserved"] + item["sold"] for item in items)

    async def published() -> bool:
        return bool((await merchant.http.get(f"{platform.url}/s/ember-parka/")).is_success)

    client = Client(platform.url)
    sample = Sample("ember-parka", SKU, opens_at_s, pays=0.75, waits=0.0, spread_s=SPREAD_S)
    crowd = Crowd(client, Witness(opens_at_s), sample, crowd_tokens, seed=20)
    shopping = asyncio.create_task(crowd.run())
    try:
        await wait_until("the page", published)
        room = Room(await visit(f"{platform.url}/console/", width=1360))
        await room.sign_in(OPERATOR)
        await room.page.get_by_role("link", name="Ember parka, first run").click()
        await room.open_tab("Control room")
        page = await visit(f"{platform.url}/s/ember-parka/", token=token)
        phone = await visit(f"{platform.url}/s/ember-parka/", token=phone_token, width=390)

        await asyncio.sleep(max(0.0, opens_at_s + 8 - time.time()))
        await merchant.call(f"sales/{sale_id}/throttle", {"rate_per_s": 9, "reason": "queue calmer than rehearsal"})

        async def selling() -> bool:
            return await taken() >= LOOK_AT

        await wait_until(f"{LOOK_AT} units taken", selling, 90)
        for one, name in ((page, "sale-page-live.png"), (phone, "sale-page-phone.png")):
            await expect(one.locator("#buy")).to_be_enabled()
            await _take(one, name, height=640 if one is page else 800)
        run = await merchant.http.post(f"audit/sales/{sale_id}/reconciliations", headers={"Idempotency-Key": "picture"})
        assert run.json()["findings"] == []
        await expect(room.page.locator(".sp-equation")).to_contain_text("Drift 0")
        await _take(room.page, "console-live.png")
        await room.page.get_by_role("link", name="Sales", exact=True).click()
        await expect(room.page.get_by_text("Winter lantern")).to_be_visible()
        await expect(room.page.get_by_label("Search")).to_be_visible()
        await _take(room.page, "console-sales.png", height=560)
    finally:
        crowd.over.set()
        shopping.cancel()
        await asyncio.gather(shopping, return_exceptions=True)
        await client.close()
        await merchant.http.aclose()
