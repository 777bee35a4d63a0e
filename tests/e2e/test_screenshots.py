"""`make screenshots`: the pictures of README and docs, taken from a real sale while it sells."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

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
OPENS_IN_S = 40.0
"""Two pages and the console have to be open by then, and the charts to have a little quiet before the rush."""
LOOK_AT = 130
"""Units taken when the pictures are made."""

Visit = Callable[..., Awaitable[Page]]

expect.set_options(timeout=60_000)


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


async def _shop(merchant: Merchant) -> tuple[dict[str, str], float]:
    """Products and sales as a merchant has them: the one that will sell with its opening, one ahead, one over."""
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
    quick = _sale("harbour-preview", "Harbour tote, preview", "HARBOUR-TOTE", now + timedelta(seconds=3), 12)
    quick |= {"closes_at": (now + timedelta(seconds=QUICK_LASTS_S)).isoformat(), "payment": {"required": False}}
    over = await merchant.call("sales", quick)
    await merchant.call(f"sales/{over['id']}/schedule")
    return {"live": parka["id"], "next": lantern["id"], "over": over["id"]}, opens_at.timestamp()


def _evening(now: datetime, days: int) -> datetime:
    return now.replace(hour=19, minute=0, second=0) + timedelta(days=days)


async def _take(page: Page, name: str, height: int = 800) -> None:
    width = (page.viewport_size or {"width": 1280})["width"]
    await page.set_viewport_size({"width": width, "height": height})
    path = PICTURES / name
    await page.screenshot(path=path)
    assert path.stat().st_size < PICTURE_MAX_BYTES, path


TOUR = (
    ("home", "", "", 620),
    ("sales", "sales", "", 620),
    ("control-room", "sale?sale={live}", "", 1180),
    ("preparation", "sale?sale={next}", "", 900),
    ("orders", "sale?sale={live}&tab=Orders", "", 760),
    ("notifications", "sale?sale={live}&tab=Notifications", "", 640),
    ("reconciliation", "sale?sale={live}&tab=Reconciliation", "", 880),
    ("ledger", "sale?sale={live}&tab=Ledger", "", 640),
    ("replay", "sale?sale={over}", "", 1180),
    ("activity", "activity", "", 640),
    ("settings", "settings", "", 700),
    ("messages", "settings", "Messages", 760),
)
"""A picture's name, the screen's address, the tab to open, the height. What a merchant sets up before a sale has its
own file, `test_screenshots_merchant.py`."""
QUICK_BUYERS = 7
QUICK_LASTS_S = 30
"""A sale that is over and reconciled by the time the tour comes to it."""


async def _quick_sale(merchant: Merchant, tokens: list[str]) -> None:
    """A few shoppers in the short sale, one after the other."""
    for token in tokens:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex}
        path = "sales/harbour-preview/items/HARBOUR-TOTE/link"

        async def bought(path: str = path, headers: dict[str, str] = headers) -> bool:
            link = await merchant.http.post(path, headers=headers)
            if link.status_code != 201:
                return False
            buy = await merchant.http.post(merchant.platform.url + link.json()["buy_path"], headers=headers)
            return buy.status_code == 202

        await wait_until("a unit of the short sale", bought, 25)


async def _tour(visit: Visit, platform: Platform, sales: dict[str, str]) -> None:
    """A picture of every screen in both themes, for docs/tour.md."""
    for scheme in ("light", "dark"):
        room = Room(await visit(f"{platform.url}/console/", width=1280, scheme=scheme))
        page = room.page
        await page.wait_for_load_state("networkidle")
        await _take(page, f"tour-sign-in-{scheme}.png", height=560)
        await room.sign_in(OPERATOR)
        for name, path, tab, height in TOUR:
            # Before the page loads: a chart that is resized at the moment of the picture is an empty card.
            await page.set_viewport_size({"width": 1280, "height": height})
            await page.goto(f"{platform.url}/console/{path.format(**sales)}")
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            if tab:
                await room.open_tab(tab)
            await expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
            await expect(page.locator(".js-plotly-plot .main-svg").first if name in {"control-room", "replay"}
                         else page.get_by_role("heading", level=1)).to_be_visible()  # fmt: skip
            await page.mouse.move(5, 5)
            # Tables draw themselves on a canvas some frames after their element is there.
            await asyncio.sleep(1)
            await _take(page, f"tour-{name}-{scheme}.png", height=height)


async def test_pictures_of_a_sale_that_sells(platform: Platform, visit: Visit) -> None:
    await asyncio.to_thread(Path.mkdir, PICTURES, parents=True, exist_ok=True)
    merchant = await Merchant.join(platform, "Northwind Supply", OPERATOR)
    *crowd_tokens, token, phone_token = (await platform.command("shopper-token", "--count", str(SHOPPERS + 2))).split()
    sales, opens_at_s = await _shop(merchant)
    sale_id = sales["live"]

    async def taken() -> int:
        items = (await merchant.http.get(f"operator/sales/{sale_id}/live")).json()["items"]
        return sum(item["reserved"] + item["sold"] for item in items)

    async def published() -> bool:
        return bool((await merchant.http.get(f"{platform.url}/s/ember-parka/")).is_success)

    await _quick_sale(merchant, crowd_tokens[:QUICK_BUYERS])
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
        await expect(room.page.get_by_role("link", name="Winter lantern")).to_be_visible()
        await expect(room.page.get_by_label("Search")).to_be_visible()
        await _take(room.page, "console-sales.png", height=560)

        async def reconciled() -> bool:
            return (await merchant.http.get(f"operator/sales/{sales['over']}")).json()["status"] == "reconciled"

        await wait_until("the short sale reconciled", reconciled, 90)
        await _tour(visit, platform, sales)
    finally:
        crowd.over.set()
        shopping.cancel()
        await asyncio.gather(shopping, return_exceptions=True)
        await client.close()
        await merchant.http.aclose()
