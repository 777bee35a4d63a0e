"""What the page is held to in every phase, theme, width and language: axe finds nothing, and nothing is lost.

axe-core comes with axe-playwright-python; it sees what a rule can see of WCAG 2.2 AA and of good practice.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from uuid import uuid4

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, Page, Response, Route, expect

from tests.e2e.drawings import EMBER, HARBOUR, drawing
from tests.e2e.shop import Merchant, Plan, Platform

expect.set_options(timeout=20_000)

Visit = Callable[..., Awaitable[Page]]
_KINDS = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]
_TWO_KINDS = _KINDS[1:3]
_WORDS = """First run, **sewn in Porto**.

### Made of

- waxed cotton
- wool

| Size | Chest |
|---|---|
| S | 104 cm |

[How to care](https://northwind.test/care)"""
_PAGE_MAX_BYTES = 60_000


def _options(colour: str, size: str) -> list[dict[str, str]]:
    return [{"name": "Colour", "value": colour}, {"name": "Size", "value": size}]


def _parka(**changes: object) -> Plan:
    """Two colours in two sizes, with pictures, words and everything else a page can carry."""
    plan: dict[str, object] = {
        "title": "Ember parka, first run",
        "items": {"es": 1, "em": 3, "hs": 3},
        "options": {"es": _options("Ember", "S"), "em": _options("Ember", "M"), "hs": _options("Harbour", "S")},
        "pictures": {
            "es": (drawing(*EMBER), "The parka in ember"),
            "hs": (drawing(*HARBOUR), "The parka in harbour"),
        },
        "page": {"description": _WORDS, "delivery_required": True},
        "payment": True,
    }
    return Plan(**{**plan, **changes})  # type: ignore[arg-type]


async def _faults(page: Page) -> list[str]:
    """Rules that axe finds broken, each with the first element that breaks it."""
    found = await Axe().run(page)
    assert found.response["passes"], "axe looked at nothing"
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found.response["violations"]]


async def _check(pages: list[Page], phase: str) -> None:
    for page in pages:
        await expect(page.locator("#phase")).to_have_attribute("data-phase", phase)
        await expect(page.locator("#phase")).to_have_attribute("data-known", "yes")
        assert await _faults(page) == [], phase
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, phase


@pytest.fixture
def token(shopper_tokens: Iterator[str]) -> str:
    return next(shopper_tokens)


async def test_axe_finds_nothing_while_a_sale_runs_and_after_it(
    merchant: Merchant, visit: Visit, shopper_tokens: Iterator[str]
) -> None:
    sale = await merchant.sell(_parka(items={"es": 1}, opens_in_s=2))
    pages = [await visit(sale.url, scheme=scheme, width=width) for scheme, width in _KINDS]
    buyers = [
        await visit(sale.url, token=next(shopper_tokens), scheme=scheme, width=390) for scheme in ("light", "dark")
    ]
    await _check(pages, "live")
    await sale.command("pause", reason="a test")
    await _check(pages, "paused")
    await sale.command("resume", reason="a test")
    await expect(buyers[0].locator("#buy")).to_be_enabled()
    await buyers[0].locator("#buy").click()
    await expect(buyers[0].locator("#claim-title")).to_have_text("A piece is set aside for you")
    assert await _faults(buyers[0]) == []
    await _check([*pages, *buyers], "sold_out")
    await sale.command("end", reason="a test")
    await _check([*pages, *buyers], "ended")


async def test_axe_finds_nothing_before_it_in_any_language_nor_when_it_is_cancelled(
    platform: Platform, merchant: Merchant, visit: Visit, token: str
) -> None:
    sale = await merchant.sell(_parka(opens_in_s=600))
    await _check([await visit(sale.url, scheme=scheme, width=width) for scheme, width in _TWO_KINDS], "upcoming")
    # Colours and widths are the style sheet's, words the catalogue's: each language once as a phone, once as a desktop.
    for locale in ("en", "de", "ar"):
        for scheme, width in _TWO_KINDS:
            page = await visit(sale.url, token=token, scheme=scheme, width=width, locale=locale)
            await expect(page.locator("#delivery-form")).to_be_visible()
            await _check([page], "upcoming")
            await page.close()
    for scheme, width in _TWO_KINDS:
        assert await _faults(await visit(f"{platform.url}/", scheme=scheme, width=width)) == []
    await sale.command("cancel", reason="a test")
    await _check([await visit(sale.url, scheme=scheme, width=width) for scheme, width in _TWO_KINDS], "cancelled")


async def test_axe_would_find_a_fault(merchant: Merchant, visit: Visit, token: str) -> None:
    sale = await merchant.sell(_parka(opens_in_s=600))
    page = await visit(sale.url, token=token)
    await expect(page.locator("#delivery-form")).to_be_visible()
    await page.evaluate("""() => {
        document.querySelector("#pictures img").removeAttribute("alt");
        document.querySelector("label[for=delivery-city]").remove();
        document.querySelector("h1").style.color = "#dddddd";
    }""")
    assert {one.partition(":")[0] for one in await _faults(page)} >= {"image-alt", "label", "color-contrast"}


async def test_a_page_is_light(merchant: Merchant, visit: Visit, token: str) -> None:
    sale = await merchant.sell(_parka(opens_in_s=600))
    answers: list[Response] = []

    async def note(context: BrowserContext) -> None:
        context.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - it takes no builtin

    page = await visit(sale.url, token=token, prepare=note)
    await expect(page.locator("#delivery-form")).to_be_visible()
    sizes: dict[str, int] = {}
    for answer in answers:
        if "/picture." not in answer.url and "/api/" not in answer.url:
            took = await answer.request.sizes()
            sizes[answer.url] = took["responseBodySize"] + took["responseHeadersSize"]
    assert len(sizes) > 10
    assert sum(sizes.values()) < _PAGE_MAX_BYTES, sizes


@pytest.mark.parametrize("width", [1280, 390])
async def test_nothing_jumps_when_a_picture_arrives(merchant: Merchant, visit: Visit, width: int) -> None:
    sale = await merchant.sell(_parka(opens_in_s=600))
    arrived = asyncio.Event()

    async def hold_back(context: BrowserContext) -> None:
        async def later(route: Route) -> None:
            await arrived.wait()
            await route.continue_()

        await context.route("**/assets/picture.*", later)

    # An empty page first: "visit" waits for all of a page, and this one is never whole before the event.
    page = await visit(f"{sale.url}state.json", width=width, prepare=hold_back)
    await page.goto(sale.url, wait_until="commit")
    await expect(page.locator("#phase")).to_have_attribute("data-known", "yes")
    before = [await page.locator(one).first.bounding_box() for one in ("#title", "#buy", "#pictures img")]
    arrived.set()
    await page.wait_for_function("() => document.querySelector('#pictures img').naturalWidth > 0")
    assert [await page.locator(one).first.bounding_box() for one in ("#title", "#buy", "#pictures img")] == before


async def test_variants_are_one_choice_with_one_button(
    merchant: Merchant, visit: Visit, shopper_tokens: Iterator[str]
) -> None:
    sale = await merchant.sell(_parka(opens_in_s=2, payment=False))
    page = await visit(sale.url, token=next(shopper_tokens))
    await expect(page.locator("#buy")).to_have_text("Buy Ember, S")
    await expect(page.locator("#buy")).to_be_enabled()
    await page.get_by_role("radio", name="Ember, S").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#buy")).to_have_text("Buy Ember, M")
    await page.get_by_role("radio", name="Harbour, S").check()
    await expect(page.get_by_role("img", name="The parka in harbour")).to_be_in_viewport(ratio=0.9)
    # The choice is kept, also for the opening.
    await page.reload()
    await expect(page.get_by_role("radio", name="Harbour, S")).to_be_checked()
    await page.locator("#buy").click()
    await expect(page.locator("#claim-title")).to_have_text("It is yours")

    other = await visit(sale.url, token=next(shopper_tokens))
    await expect(other.locator("#buy")).to_be_enabled()
    await other.locator("#buy").click()
    await expect(other.locator("#claim-title")).to_have_text("It is yours")
    late = await visit(sale.url, token=next(shopper_tokens))
    sold_out = late.locator(f".chip[data-sku='{sale.skus['es']}']")
    await expect(sold_out).to_have_attribute("data-sold-out", "")
    await expect(sold_out).to_contain_text("Sold out")
    await expect(late.locator("#buy")).to_have_text("Sold out")
    await late.get_by_role("radio", name="Ember, M").check()
    await expect(late.locator("#buy")).to_be_enabled()


async def test_a_language_is_the_browsers_until_the_shopper_chooses(
    platform: Platform, merchant: Merchant, visit: Visit, token: str
) -> None:
    sale = await merchant.sell(_parka(opens_in_s=600, page={"description": _WORDS, "language": "de"}))
    page = await visit(sale.url, token=token, locale="ar")
    html = page.locator("html")
    await expect(html).to_have_attribute("lang", "ar")
    await expect(html).to_have_attribute("dir", "rtl")
    await expect(page.locator("#phase")).to_have_text("يبدأ قريبًا")
    await expect(page.locator("#clock-words")).to_contain_text("(Europe/Lisbon)")
    title, gallery = [await page.locator(one).bounding_box() for one in ("#title", ".gallery")]
    assert title is not None
    assert gallery is not None
    assert gallery["x"] > title["x"]  # the picture comes first, and first is right

    await page.get_by_role("link", name="English").click()
    await expect(html).to_have_attribute("lang", "en")
    await expect(page.locator("#phase")).to_have_text("Opens soon")
    # Chosen once, it holds for all pages of this browser, without the address saying so.
    await page.goto(f"{platform.url}/")
    await expect(html).to_have_attribute("lang", "en")
    await page.goto(sale.url)
    await expect(page.locator("#phase")).to_have_text("Opens soon")

    # A browser whose languages we do not have gets the merchant's own.
    other = await visit(sale.url, locale="fr")
    await expect(other.locator("html")).to_have_attribute("lang", "de")
    await expect(other.locator("#phase")).to_have_text("Beginnt bald")
    await expect(other.locator("#price")).to_have_text("19,00\u00a0€")
    assert re.findall(r"\{[a-z_]+\}|undefined|NaN|null", await other.locator("body").inner_text()) == []


async def test_an_address_is_given_before_the_opening_and_kept_by_the_shop_alone(
    platform: Platform, merchant: Merchant, visit: Visit, shopper_tokens: Iterator[str]
) -> None:
    sale = await merchant.sell(_parka(opens_in_s=600))
    token = next(shopper_tokens)
    page = await visit(sale.url, token=token)
    await page.get_by_role("button", name="Save the address").click()
    await expect(page.locator("#delivery-error")).to_have_text("Please fill in every field.")
    await expect(page.get_by_label("Name")).to_be_focused()
    street = f"{uuid4().hex[:6]} Rua das Flores <b>"
    for label, words in (
        ("Name", "Ada Byron"),
        ("Street and number", street),
        ("Postal code", "4050-262"),
        ("City", "Porto"),
    ):
        await page.get_by_label(label).fill(words)
    await page.get_by_label("Country").select_option("PT")
    await page.get_by_role("button", name="Save the address").click()
    await expect(page.locator("#delivery-text")).to_have_text(f"Ada Byron, {street}, 4050-262 Porto, Portugal")
    assert street not in await page.evaluate("() => JSON.stringify({...localStorage, ...sessionStorage})")

    again = await visit(sale.url, token=token, width=390)
    await expect(again.locator("#delivery-text")).to_contain_text(street)
    await again.get_by_role("button", name="Change").click()
    await expect(again.get_by_label("City")).to_have_value("Porto")
    await again.get_by_role("button", name="Sign out").click()
    await expect(again.locator("#delivery")).to_be_hidden()
    assert street not in await again.content()
    assert await again.get_by_label("City").input_value() == ""
    other = await visit(sale.url, token=next(shopper_tokens))
    await expect(other.locator("#delivery-form")).to_be_visible()
    assert street not in await other.content()


async def test_a_draft_is_looked_at_on_phone_and_desktop(merchant: Merchant, visit: Visit) -> None:
    made = await merchant.call("skus", {"sku": f"D-{uuid4().hex[:6]}", "name": "Draft tee"})
    sale = await merchant.call(
        "sales",
        {
            "slug": f"draft-{uuid4().hex[:8]}",
            "title": "Draft sale",
            "opens_at": "2999-01-01T00:00:00Z",
            "closes_at": "2999-01-02T00:00:00Z",
            "items": [{"sku": made["sku"], "price": {"amount_minor": 900, "currency": "EUR"}, "allotment": 1}],
        },
    )
    preview = await merchant.call(f"sales/{sale['id']}/preview")
    frame = await visit(merchant.platform.url + preview["path"])
    for name, width in (("The page on a phone", 390), ("The page on a desktop", 1280)):
        inside = frame.frame_locator(f"iframe[title='{name}']")
        await expect(inside.locator("h1")).to_have_text("Draft sale")
        await expect(inside.locator("#buy")).to_be_disabled()
        assert await inside.locator("body").evaluate("() => innerWidth") == width
    answer = await frame.request.get(merchant.platform.url + preview["path"])
    assert answer.headers["x-robots-tag"] == "noindex"
    assert (await frame.request.get(f"{merchant.platform.url}/preview/{'A' * 32}/")).status == 404
    assert (await frame.request.get(f"{merchant.platform.url}/s/{sale['slug']}/")).status == 404
