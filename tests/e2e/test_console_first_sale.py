"""A merchant's first sale, made from an empty account by the screens alone, to the page that shoppers see."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from playwright.async_api import Page, expect

from tests.e2e.drawings import EMBER, drawing
from tests.e2e.room import Room
from tests.e2e.shop import Merchant, Platform

Visit = Callable[..., Awaitable[Page]]

expect.set_options(timeout=20_000)

ALT = "The parka in ember, from the front"


async def _add_variant(room: Room, sku: str, size: str) -> None:
    await room.fill("SKU", sku)
    form = room.page.locator(".st-key-card-add-product")
    await room.fill("Name", f"Ember parka, size {size}", form)
    await room.fill("Usual price", "219,00", form)
    await room.fill("Option", "Size", form)
    await room.fill("Value", size, form)
    await room.press("Add product")
    await room.said(f"{sku} added.")
    # The next form is another one, and for a moment both are there.
    await expect(room.page.get_by_text(f"{sku} is added.")).to_be_visible()
    await expect(room.page.locator("input[aria-label=SKU]:not([value=''])")).to_have_count(0)


async def _add_picture(room: Room) -> None:
    await room.press("Add its pictures")
    card = room.page.locator(".st-key-card-pictures")
    await expect(card.get_by_text("No pictures yet.")).to_be_visible()
    file = {"name": "front.jpg", "mimeType": "image/jpeg", "buffer": drawing(*EMBER)}
    await card.locator("input[type=file]").set_input_files([file])  # type: ignore[list-item]
    await expect(card.get_by_text("front.jpg")).to_be_visible()
    await room.fill("What it shows", ALT, card)
    await room.press("Add picture")
    await room.said("Picture added.")
    shown = card.get_by_role("img", name=ALT)
    await expect(shown).to_be_visible()
    assert await shown.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 480


async def test_a_first_sale_from_nothing_to_a_scheduled_page(platform: Platform, visit: Visit) -> None:
    address, mark = f"first-{uuid4().hex[:8]}@merchant.test", uuid4().hex[:6]
    merchant = await Merchant.join(platform, f"Newcomer {mark}", address)
    room = Room(await visit(f"{platform.url}/console/"))
    page = room.page
    await room.sign_in(address)
    # The first steps are on the first screen.
    await expect(page.get_by_text("Your first sale")).to_be_visible()
    await page.get_by_role("link", name="Products", exact=True).click()
    for size in "ML":
        await _add_variant(room, f"PARKA-{mark}-{size}", size)
    await _add_picture(room)
    assert await room.faults_of_craft() == []

    await page.get_by_role("link", name="New sale", exact=True).click()
    await room.fill("Title", f"Parka {mark}")
    await room.choose("Product", f"PARKA-{mark}-M")
    await room.fill("Price", "119,999")
    await expect(page.get_by_text("EUR has 2 decimals")).to_be_visible()
    await room.fill("Price", "119,00")
    await expect(page.get_by_text("EUR has 2 decimals")).to_be_hidden()
    # A reload loses nothing, though nothing has been saved yet.
    await page.reload()
    await expect(page.get_by_label("Title", exact=True)).to_have_value(f"Parka {mark}")
    await expect(page.get_by_label("Price", exact=True)).to_have_value("119,00")
    await room.press("Add another item")
    await expect(page.get_by_label("Price", exact=True)).to_have_count(2)
    await page.get_by_label("Product", exact=True).last.click()
    await page.get_by_role("option", name=f"PARKA-{mark}-L").click()
    await page.get_by_label("Price", exact=True).last.fill("119,00")
    await page.get_by_label("Price", exact=True).last.press("Tab")
    await room.press("Save and go on")
    await room.is_at("When")
    await expect(page.get_by_text("Suggested: in a week")).to_be_visible()
    await room.fill("Opens at", "19:30")
    await page.keyboard.press("Escape")  # the tabulator has opened the next field's calendar
    await room.press("Save and go on")
    await room.is_at("How many")
    await page.get_by_label("Allotment", exact=True).last.fill("20")
    await page.get_by_label("Allotment", exact=True).last.press("Tab")
    await expect(page.get_by_text("120 units", exact=True)).to_be_visible()
    await room.press("Save and go on")
    await room.is_at("Rules")
    await room.press("Use the suggested pace")
    await expect(page.locator("input[aria-label=Burst]:not([value='2'])")).to_have_count(0)
    await room.press("Save and go on")
    await room.is_at("Page")
    await room.fill("Description", "Sewn in **Porto**.\n\n- Waxed cotton\n- Wool lining")
    await expect(page.locator(".sp-prose strong")).to_have_text("Porto")
    await expect(page.locator(".sp-prose li")).to_have_count(2)
    await expect(page.get_by_role("img", name=ALT)).to_be_visible()
    assert await room.faults_of_craft() == []
    await room.press("Save and go on")
    await room.is_at("Review")
    preview = page.frame_locator("iframe")
    await expect(preview.get_by_role("img", name=ALT).first).to_be_visible()
    await expect(preview.get_by_text("Sewn in Porto.").first).to_be_visible()
    await page.get_by_text("Desktop", exact=True).click()
    await expect(page.locator(".st-key-preview-desktop iframe")).to_be_visible()
    assert await room.faults_of_craft() == []
    await room.press("Schedule")
    await room.said("Scheduled. It opens by itself at the stored time.")

    sale_id = page.url.rpartition("sale=")[2]
    sale = (await merchant.http.get(f"operator/sales/{sale_id}")).json()
    assert (sale["status"], sale["throttle"]["rate_per_s"]) == ("scheduled", 2)
    assert [item["allotment"] for item in sale["items"]] == [100, 20]
    await room.open_tab("Page")
    await expect(page.get_by_text("Not yet.")).to_be_visible()
    await room.press("Publish page")
    await room.said("The page is being published.")
    await page.goto(f"{platform.url}/console/sale?sale={sale_id}&tab=Page")
    await _wait_for_version(room, 1)

    # What shoppers see: picture, words and the sizes as one choice.
    shop = await visit(f"{platform.url}/s/{sale['slug']}/")
    await expect(shop.get_by_role("heading", level=1)).to_contain_text(f"Parka {mark}")
    await expect(shop.get_by_role("img", name=ALT).first).to_be_visible()
    await expect(shop.locator("strong", has_text="Porto")).to_be_visible()
    for size in "ML":
        await expect(shop.get_by_text(size, exact=True).first).to_be_visible()

    await _change_and_go_back(room, sale_id, f"Parka {mark}")
    await merchant.http.aclose()


async def _wait_for_version(room: Room, number: int) -> None:
    """The page's job has done its work when the tab says so; looking again is a person's way, too."""
    page = room.page
    for _ in range(30):
        await page.reload()
        await expect(page.get_by_role("heading", name="Published", exact=True)).to_be_visible()
        if await page.get_by_text(f"version {number}", exact=True).count():
            return
        await page.wait_for_timeout(500)
    pytest.fail(f"version {number} is not shown")


async def _change_and_go_back(room: Room, sale_id: str, title: str) -> None:
    """A change is published by itself; the version before it comes back with a reason, and says what it leaves out."""
    page = room.page
    base = page.url.partition("/console/")[0]
    await page.goto(f"{base}/console/edit-sale?sale={sale_id}")
    await room.fill("Title", f"{title}, wrong")
    await room.press("Save changes")
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"{title}, wrong")
    await page.goto(f"{base}/console/sale?sale={sale_id}&tab=Page")
    await _wait_for_version(room, 2)
    await room.press("Go back to a version …")
    await room.press("Go back to version 1")
    await expect(page.get_by_text("Give a reason; it is recorded.")).to_be_visible()
    await room.fill("Reason to go back", "the title was wrong")
    await room.press("Go back to version 1")
    await room.said("Version 1 is shown again.")
    await expect(page.get_by_text("Changed since:")).to_be_visible()
    await expect(page.get_by_text(f"Title: {title} → {title}, wrong")).to_be_visible()
    assert await room.faults_of_craft() == []
