"""`make screenshots`: the page in each of its states, light on a desktop and dark on a phone, for docs/tour.md."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Page, Route, expect

from stack.state import PROJECT_ROOT
from tests.e2e.drawings import EMBER, HARBOUR, drawing
from tests.e2e.shop import Merchant, Plan, Platform, RunningSale

pytestmark = pytest.mark.screenshots
expect.set_options(timeout=20_000)

PICTURES = PROJECT_ROOT / "docs" / "images" / "page"
PICTURE_MAX_BYTES = 120_000
KINDS: list[dict[str, Any]] = [{"scheme": "light", "width": 1280}, {"scheme": "dark", "width": 390}]

Visit = Callable[..., Awaitable[Page]]
_WORDS = """First run, **sewn in Porto**: waxed cotton outside, wool inside, and a hood that stays up in wind.

### Made of

- Shell: waxed cotton
- Lining: recycled wool
- Buttons: corozo

| Size | Chest | Length |
|---|---|---|
| S | 104 cm | 78 cm |
| M | 110 cm | 80 cm |
| L | 116 cm | 82 cm |
"""


def _parka(**changes: Any) -> Plan:
    options = {
        f"{colour[0].lower()}{size.lower()}": [{"name": "Colour", "value": colour}, {"name": "Size", "value": size}]
        for colour in ("Ember", "Harbour")
        for size in "SML"
    }
    plan: dict[str, Any] = {
        "title": "Ember parka, first run",
        "items": dict.fromkeys(options, 40),
        "names": {name: f"Ember parka, {', '.join(one['value'] for one in of)}" for name, of in options.items()},
        "options": options,
        "pictures": {
            "es": (drawing(*EMBER), "The parka in ember, from the front"),
            "hs": (drawing(*HARBOUR), "The parka in harbour, from the front"),
        },
        "page": {"description": _WORDS, "delivery_required": True},
        "payment": True,
        "opens_in_s": 2,
    }
    return Plan(**{**plan, **changes})


async def _take(page: Page, name: str) -> None:
    width = (page.viewport_size or {"width": 1280})["width"]
    await page.set_viewport_size({"width": width, "height": 900})
    shot = Image.open(io.BytesIO(await page.screenshot()))
    out = io.BytesIO()
    shot.convert("RGB").save(out, "WEBP", quality=86, method=6)
    path = PICTURES / f"{name}-{'desktop' if width > 800 else 'phone'}.webp"
    assert out.tell() < PICTURE_MAX_BYTES, path
    await asyncio.to_thread(path.write_bytes, out.getvalue())


@pytest.fixture(scope="module", autouse=True)
def folder() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)


async def _open(page: Page) -> None:
    await expect(page.locator("#phase")).to_have_attribute("data-phase", "live")
    await expect(page.locator("#buy")).to_be_enabled()


async def test_before_the_opening(merchant: Merchant, visit: Visit, shopper_tokens: Iterator[str]) -> None:
    sale = await merchant.sell(_parka(opens_in_s=590))
    for kind in KINDS:
        page = await visit(sale.url, **kind)
        await expect(page.locator("#signin")).to_be_visible()
        await _take(page, "upcoming")
        page = await visit(sale.url, token=next(shopper_tokens), **kind)
        await expect(page.locator("#delivery-form")).to_be_visible()
        await page.locator("#delivery-title").evaluate("(node) => node.scrollIntoView({block: 'center'})")
        await _take(page, "delivery")
        for locale, name in (("de", "german"), ("ar", "arabic")):
            page = await visit(sale.url, token=next(shopper_tokens), locale=locale, **kind)
            await expect(page.locator("html")).to_have_attribute("lang", locale)
            await expect(page.locator("#delivery-form")).to_be_visible()
            await _take(page, name)
    await sale.command("cancel", reason="a rehearsal")
    for kind in KINDS:
        page = await visit(sale.url, **kind)
        await expect(page.locator("#phase")).to_have_attribute("data-phase", "cancelled")
        await _take(page, "cancelled")


async def _refuse(route: Route) -> None:
    await route.fulfill(status=429, json={"status": 429, "code": "THROTTLED", "retry_after_ms": 9_000})


async def test_while_it_sells(merchant: Merchant, visit: Visit, shopper_tokens: Iterator[str]) -> None:
    sale = await merchant.sell(_parka())
    for kind in KINDS:
        page = await visit(sale.url, token=next(shopper_tokens), **kind)
        await _open(page)
        await _take(page, "live")
        await page.context.route("**/api/v1/buy/**", _refuse, times=1)
        await page.locator("#buy").click()
        await expect(page.locator("#claim-stop")).to_be_visible()
        await _show_claim(page, "again")
        await expect(page.locator("#claim-title")).to_have_text("A piece is set aside for you")
        await _show_claim(page, "reserved")
        await page.locator("#claim-pay").click()
        await page.wait_for_url(lambda url: url != sale.url)
        await page.get_by_role("button").first.click()
        await page.goto(sale.url)
        await expect(page.locator("#claim-title")).to_have_text("It is yours")
        await expect(page.locator("#orders-list .order")).to_have_count(1)
        await _show_claim(page, "bought")

        page = await visit(sale.url, token=next(shopper_tokens), **kind)
        await _open(page)
        await page.context.route("**/api/v1/**", lambda route: route.abort())
        await page.locator("#buy").click()
        await expect(page.locator("#claim-title")).to_have_text("No answer from the shop yet")
        await _show_claim(page, "out-of-touch")


async def _show_claim(page: Page, name: str) -> None:
    await page.locator("#claim").evaluate("(node) => node.scrollIntoView({block: 'center'})")
    await _take(page, name)


async def _take_phase(visit: Visit, sale: RunningSale, phase: str, name: str) -> None:
    for kind in KINDS:
        page = await visit(sale.url, **kind)
        await expect(page.locator("#phase")).to_have_attribute("data-phase", phase)
        await expect(page.locator("#phase-note")).to_be_visible()
        await _take(page, name)


async def test_when_it_stops(merchant: Merchant, visit: Visit, shopper_tokens: Iterator[str]) -> None:
    sale = await merchant.sell(_parka(items={"es": 1}, options={}))
    await sale.command("pause", reason="a rehearsal")
    await _take_phase(visit, sale, "paused", "paused")
    await sale.command("resume", reason="a rehearsal")
    buyer = await visit(sale.url, token=next(shopper_tokens))
    await _open(buyer)
    await buyer.locator("#buy").click()
    await expect(buyer.locator("#claim-title")).to_have_text("A piece is set aside for you")
    await _take_phase(visit, sale, "sold_out", "sold-out")
    await sale.command("end", reason="a rehearsal")
    await _take_phase(visit, sale, "ended", "ended")


async def test_the_list_of_sales_and_the_preview(platform: Platform, merchant: Merchant, visit: Visit) -> None:
    for kind in KINDS:
        page = await visit(f"{platform.url}/", **kind)
        await expect(page.locator("[data-count]").first).not_to_be_empty()
        await _take(page, "list")
    sale = await merchant.sell(_parka(opens_in_s=590))
    made = await merchant.call(f"sales/{sale.id}/preview")
    frame = await visit(platform.url + made["path"], width=1360)
    for inside in frame.frames[1:]:
        await inside.locator("#count:not(:empty)").wait_for()
    await _take(frame, "preview")
