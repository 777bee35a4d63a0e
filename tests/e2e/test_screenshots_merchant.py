"""`make screenshots`: what a merchant sets up before a sale, on a desktop and on a phone, for docs/tour.md."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page, expect

from stack.state import PROJECT_ROOT
from tests.e2e.drawings import EMBER, HARBOUR, drawing
from tests.e2e.room import Room
from tests.e2e.shop import Merchant, Platform, wait_until

pytestmark = pytest.mark.screenshots

PICTURES = PROJECT_ROOT / "docs" / "images"
PICTURE_MAX_BYTES = 250_000
OPERATOR = "l.costa@northwind.test"
WORDS = """First run, **sewn in Porto**: waxed cotton outside, wool inside.

| Size | Chest |
|---|---|
| S | 104 cm |
| M | 110 cm |
"""

Visit = Callable[..., Awaitable[Page]]

expect.set_options(timeout=60_000)

SCREENS = (
    ("products", "products", 1000, False),
    ("pictures", "products", 1080, True),
    ("new-sale", "edit-sale?sale={draft}&step=what", 860, True),
    ("when", "edit-sale?sale={draft}&step=when", 760, False),
    ("units", "edit-sale?sale={draft}&step=units", 700, False),
    ("rules", "edit-sale?sale={draft}&step=rules", 900, False),
    ("words", "edit-sale?sale={draft}&step=page", 1080, True),
    ("review", "edit-sale?sale={draft}&step=review", 1160, True),
    ("preview", "sale?sale={draft}&tab=Page", 900, False),
    ("page", "sale?sale={published}&tab=Page", 1160, True),
)
"""Every screen: its picture's name, its address, its height, and whether a phone's picture is taken, too."""


async def _set_up(merchant: Merchant) -> dict[str, str]:
    """Three sizes with pictures; a draft of them, and a sale whose page went back to its first version."""
    skus = []
    for size in "SML":
        made = await merchant.call(
            "skus",
            {
                "sku": f"EMBER-PARKA-{size}",
                "name": f"Ember parka, size {size}",
                "description": "Waxed cotton, wool lining.",
                "usual_price": {"amount_minor": 21900, "currency": "EUR"},
                "options": [{"name": "Size", "value": size}],
            },
        )
        skus.append(made)
    await merchant.send_picture(skus[2]["id"], drawing(*HARBOUR), "The parka in harbour, from the front")
    for sku in skus[1:]:
        await merchant.send_picture(sku["id"], drawing(*EMBER), "The parka in ember, from the front")
    opens_at = datetime.now(UTC).replace(hour=19, minute=0, second=0, microsecond=0) + timedelta(days=7)
    sales = {}
    for name, title in (("draft", "Ember parka, second run"), ("published", "Ember parka, first run")):
        sale = await merchant.call("sales", _terms(f"parka-{name}", title, opens_at, [one["sku"] for one in skus]))
        sales[name] = sale["id"]
    published = sales["published"]
    await merchant.call(f"sales/{published}/schedule")
    await merchant.call(f"sales/{published}/publish")
    await _shown(merchant, published, 1)
    read = await merchant.http.get(f"operator/sales/{published}")
    changed = await merchant.http.patch(
        f"operator/sales/{published}",
        json={"title": "Ember parka, first rum"},
        headers={"Idempotency-Key": uuid4().hex, "If-Match": read.headers["ETag"]},
    )
    assert changed.is_success, changed.text
    await _shown(merchant, published, 2)
    await merchant.call(f"pages/{published}/rollback", {"version": 1, "reason": "a slip in the title"})
    return sales


def _terms(slug: str, title: str, opens_at: datetime, skus: list[str]) -> dict[str, Any]:
    return {
        "slug": slug,
        "title": title,
        "opens_at": opens_at.isoformat(),
        "closes_at": (opens_at + timedelta(hours=1)).isoformat(),
        "time_zone": "Europe/Berlin",
        "items": [
            {
                "sku": sku,
                "price": {"amount_minor": 11900, "currency": "EUR"},
                "allotment": units,
                "per_shopper_limit": 1,
            }
            for sku, units in zip(skus, (60, 100, 40), strict=True)
        ],
        "payment": {"required": True, "hold_s": 900},
        "description": WORDS,
        "delivery_required": True,
    }


async def _shown(merchant: Merchant, sale_id: str, version: int) -> None:
    async def shown() -> bool:
        found = (await merchant.http.get(f"operator/sales/{sale_id}/pages")).json()["versions"]
        return any(one["version"] == version and one["current"] for one in found)

    await wait_until(f"version {version}", shown)


async def _take(page: Page, name: str, height: int) -> None:
    await page.mouse.move(5, 5)
    # Tables draw themselves on a canvas some frames after their element is there; toasts go.
    await asyncio.sleep(1)
    path = PICTURES / name
    await page.screenshot(path=path)
    assert path.stat().st_size < PICTURE_MAX_BYTES, path


async def _open(room: Room, name: str) -> None:
    """Wait until the screen is whole."""
    page = room.page
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    if name == "pictures":
        await room.open_tab("Pictures and changes")
        await expect(page.get_by_role("img", name="The parka in harbour, from the front").first).to_be_visible()
    if name == "preview":
        await page.get_by_text("Desktop", exact=True).click()
        await expect(page.locator(".st-key-preview-desktop iframe")).to_be_visible()
    if name in {"review", "page", "preview"}:
        frame = page.frame_locator("iframe")
        await expect(frame.locator("#count:not(:empty)")).to_be_visible()
    if name == "words":
        await expect(page.locator(".sp-prose table")).to_be_visible()
    await expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    await expect(page.get_by_test_id("stToast")).to_have_count(0)


async def test_pictures_of_what_a_merchant_sets_up(platform: Platform, visit: Visit) -> None:
    await asyncio.to_thread(Path.mkdir, PICTURES, parents=True, exist_ok=True)
    merchant = await Merchant.join(platform, "Northwind Supply", OPERATOR)
    sales = await _set_up(merchant)
    for scheme in ("light", "dark"):
        for width, phone in ((1280, False), (390, True)):
            room = Room(await visit(f"{platform.url}/console/", width=width, scheme=scheme))
            await room.sign_in(OPERATOR)
            for name, path, height, on_phone in SCREENS:
                if phone and not on_phone:
                    continue
                await room.page.set_viewport_size({"width": width, "height": 1400 if phone else height})
                await room.page.goto(f"{platform.url}/console/{path.format(**sales)}")
                await _open(room, name)
                await _take(room.page, f"tour-{name}{'-phone' if phone else ''}-{scheme}.png", height)
            await room.page.context.close()
    await merchant.http.aclose()
