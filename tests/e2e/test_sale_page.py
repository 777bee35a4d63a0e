"""The buying path as a shopper walks it: Chromium, the real edge, API, gate, workers and mail.

Where a network fault is needed, Playwright cuts the wire between browser and edge: the request arrives, the answer
does not. For refusals that a healthy platform does not give, the wire carries the problem document of DESIGN 7.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import BrowserContext, Page, Request, Route, expect

from tests.e2e.shop import Merchant, Plan, Platform, RunningSale, wait_until

expect.set_options(timeout=20_000)

Visit = Callable[..., Awaitable[Page]]
_HOSTILE = '<img src=x onerror="document.title=1"> {{7*7}} </h1><script>document.title=1</script>'


@pytest.fixture
def token(shopper_tokens: Iterator[str]) -> str:
    return next(shopper_tokens)


@pytest.fixture(scope="module")
def is_open() -> Callable[[Page], Awaitable[None]]:
    async def wait(page: Page) -> None:
        await expect(page.locator("#phase")).to_have_text("Live now")
        await expect(page.locator("#buy")).to_be_enabled()

    return wait


def _keys(page: Page) -> list[str]:
    """The idempotency key of each buy that leaves the page from now on."""
    keys: list[str] = []

    def note(request: Request) -> None:
        if "/api/v1/buy/" in request.url:
            keys.append(request.headers["idempotency-key"])

    page.context.on("request", note)
    return keys


async def _kept_attempts(page: Page) -> list[Any]:
    kept: dict[str, str] = await page.evaluate("() => ({...localStorage})")
    return [json.loads(value) for name, value in kept.items() if name.startswith("stampede.attempt.")]


async def _orders(page: Page) -> list[dict[str, Any]]:
    """The signed-in shopper's orders, asked as the page asks."""
    session = json.loads(await page.evaluate("() => localStorage.getItem('stampede.session')"))
    answer = await page.request.get(
        page.url.split("/s/")[0] + "/api/v1/orders", headers={"Authorization": f"Bearer {session['token']}"}
    )
    assert answer.ok, await answer.text()
    return list((await answer.json())["orders"])


async def test_from_signing_in_to_the_order(
    platform: Platform, merchant: Merchant, visit: Visit, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(opens_in_s=15))
    page = await visit(sale.url)
    keys = _keys(page)
    await expect(page.locator("#phase")).to_have_text("Opens soon")
    await expect(page.locator("#buy")).to_be_disabled()
    await expect(page.locator("#clock-words")).to_contain_text("your time (Europe/Lisbon)")

    address = f"ada-{uuid4().hex[:8]}@mail.test"
    await page.get_by_label("E-mail address").fill(address)
    await page.get_by_role("button", name="Send me a code").click()
    code = await platform.code_for(address)
    field = page.get_by_label("The code from the message")
    await field.fill("000000" if code != "000000" else "000001")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.locator("#signin-error")).to_contain_text("That code is not right")
    await field.fill(f"{code[:3]} {code[3:]}")
    await field.press("Enter")
    await expect(page.locator("#account-name")).to_have_text("Signed in · a•••@mail.test")
    await expect(page.locator("#signin")).to_be_hidden()

    await is_open(page)
    assert datetime.now(UTC) >= sale.opens_at
    await page.locator("#buy").click()
    await expect(page.locator("#claim-title")).to_have_text("It is yours")
    await expect(page.locator("#buy")).to_be_hidden()
    await expect(page.locator("#orders-list .order")).to_have_count(1)
    await expect(page.locator("#orders-list")).to_contain_text("€19.00")
    await expect(page.locator(".order-status")).to_have_text("Yours")
    assert [order["status"] for order in await _orders(page)] == ["confirmed"]
    assert len(keys) == 1
    # The key's life ends with its ticket, and nothing of the link was ever kept.
    assert await _kept_attempts(page) == []
    assert "buy" not in await page.evaluate("() => JSON.stringify(localStorage)")

    await page.reload()
    await expect(page.locator("#claim-title")).to_have_text("It is yours")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator("#claim")).to_be_hidden()
    await expect(page.locator("#orders")).to_be_hidden()
    assert await page.evaluate("() => localStorage.getItem('stampede.session')") is None


async def test_by_keyboard_alone(
    merchant: Merchant, visit: Visit, token: str, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(items={"m": 5, "l": 5}, opens_in_s=2))
    page = await visit(sale.url, token=token)
    await is_open(page)
    await page.locator("body").press("Tab")
    await expect(page.get_by_text("Skip to the content")).to_be_focused()
    for _ in range(8):
        if await page.evaluate("() => document.activeElement.name === 'sku'"):
            break
        await page.keyboard.press("Tab")
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(f"input[value='{sale.skus['l']}']")).to_be_checked()
    await page.keyboard.press("Tab")
    await expect(page.locator("#buy")).to_be_focused()
    assert await page.locator("#buy").evaluate("(node) => getComputedStyle(node).outlineStyle") == "solid"
    await page.keyboard.press("Enter")
    await expect(page.locator("#claim-title")).to_have_text("It is yours")
    assert [order["sku"] for order in await _orders(page)] == [sale.skus["l"]]


async def _cut_answers(page: Page, count: int) -> None:
    """The next ``count`` buys reach the platform; their answers do not reach the page."""
    left = count

    async def cut(route: Route) -> None:
        nonlocal left
        if left == 0:
            await route.continue_()
            return
        left -= 1
        await route.fetch()
        await route.abort()

    await page.context.route("**/api/v1/buy/**", cut)


async def test_a_lost_answer_buys_once(
    merchant: Merchant, visit: Visit, token: str, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(limit=3, opens_in_s=2))
    page = await visit(sale.url, token=token)
    keys = _keys(page)
    await is_open(page)
    await _cut_answers(page, 2)
    await page.locator("#buy").click()
    await expect(page.locator("#claim-title")).to_have_text("We do not know yet whether you are in")
    await expect(page.locator("#claim-text")).to_contain_text("may have got through")
    await expect(page.locator("#buy")).to_be_disabled()
    await expect(page.locator("#claim-title")).to_have_text("It is yours")
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len(await _orders(page)) == 1
    assert await sale.taken() == 1


async def test_a_closed_tab_loses_nothing(
    merchant: Merchant, visit: Visit, token: str, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(items={"m": 5, "l": 5}, limit=3, payment=True, opens_in_s=2))
    page = await visit(sale.url, token=token)
    keys = _keys(page)
    await is_open(page)
    await page.get_by_text("Tee, size l").click()
    await _cut_answers(page, 100)
    await page.locator("#buy").click()
    await expect(page.locator("#claim-title")).to_have_text("We do not know yet whether you are in")
    await page.close()

    # The API is out of reach when she comes back: the page neither forgets nor says that it failed.
    await page.context.route("**/api/v1/**", lambda route: route.abort())
    page = await page.context.new_page()
    await page.goto(sale.url)
    await expect(page.locator("#claim-title")).to_have_text("We do not know yet whether you are in")
    await expect(page.locator(f"input[value='{sale.skus['l']}']")).to_be_checked()
    await page.context.unroute("**/api/v1/**")
    await expect(page.locator("#claim-title")).to_have_text("A piece is set aside for you")
    # Looking was enough: nothing was bought by loading a page.
    assert len(set(keys)) == 1
    assert [order["sku"] for order in await _orders(page)] == [sale.skus["l"]]
    assert await sale.taken() == 1


async def test_sold_out_given_back_bought_and_paid(
    merchant: Merchant,
    visit: Visit,
    shopper_tokens: Iterator[str],
    is_open: Callable[[Page], Awaitable[None]],
) -> None:
    sale = await merchant.sell(Plan(items={"m": 1}, payment=True, opens_in_s=2))
    first = await visit(sale.url, token=next(shopper_tokens))
    second = await visit(sale.url, token=next(shopper_tokens), width=360)
    await is_open(first)
    await first.locator("#buy").click()
    await expect(first.locator("#claim-title")).to_have_text("A piece is set aside for you")
    await expect(first.locator("#claim-pay-left")).to_have_text(re.compile(r"^00:1[45]:\d\d$"))

    await expect(second.locator("#buy")).to_have_text("Sold out")
    await expect(second.locator("#buy")).to_be_disabled()
    await expect(second.locator("#phase-note")).to_contain_text("Pieces come back when a hold ends")

    give_back = first.locator("#claim").get_by_role("button", name="Give it back")
    await give_back.click()
    await first.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    assert [order["status"] for order in await _orders(first)] == ["reserved"]
    await give_back.click()
    await first.get_by_role("dialog").get_by_role("button", name="Give it back").click()
    await expect(first.locator("#claim-title")).to_have_text("Your order was cancelled")
    assert [order["status"] for order in await _orders(first)] == ["cancelled"]

    await expect(second.locator("#buy")).to_be_enabled()
    await second.locator("#buy").click()
    await expect(second.locator("#claim-title")).to_have_text("A piece is set aside for you")
    await second.locator("#claim").get_by_role("button", name="Pay now").click()
    await second.wait_for_url(lambda url: url != sale.url)
    await second.get_by_role("button").first.click()
    await second.goto(sale.url)
    await expect(second.locator("#claim-title")).to_have_text("It is yours")
    assert [order["status"] for order in await _orders(second)] == ["confirmed"]
    assert [(item["available"], item["sold"]) for item in await sale.units()] == [(0, 1)]


async def test_a_paused_sale_says_so_and_comes_back(
    merchant: Merchant, visit: Visit, token: str, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(opens_in_s=2))
    page = await visit(sale.url, token=token)
    await is_open(page)
    await sale.command("pause", reason="a test")
    await expect(page.locator("#phase")).to_have_text("Paused")
    await expect(page.locator("#buy")).to_be_disabled()
    await expect(page.locator("#phase-note")).to_contain_text("Nothing you have is lost")
    await sale.command("resume", reason="a test")
    await is_open(page)
    await sale.command("end", reason="a test")
    await expect(page.locator("#phase")).to_have_text("Ended")
    await expect(page.locator("#buy")).to_be_hidden()


_REFUSALS = [
    (429, "THROTTLED", 7000, "Not through this time", r"^Trying again in [78]\ss$"),
    (429, "REPEATED", 9000, "One try at a time", r"^Trying again in (9|10)\ss$"),
    (429, "RATE_LIMITED", 1000, "A little too fast", r"^Trying again in [56]\ss$"),
    (503, "BACKLOG", 3000, "The line is full for a moment", r"^Trying again in [56]\ss$"),
    (403, "NOT_OPEN", 9000, "Not open yet", r"^Trying again in (9|10)\ss$"),
    (409, "SOLD_OUT", None, "Sold out", r"^Sold out$"),
    (409, "NOT_ENOUGH", None, "Fewer pieces are left than you asked for", r"^Try again in [56]\ss$"),
    (409, "LIMIT_REACHED", None, "You have all that one person can have", r"^All yours already$"),
    (409, "PAUSED", None, "Paused for a moment", r"^Paused$"),
    (410, "ENDED", None, "The sale has ended", r"^Ended$"),
    (404, "LINK_INVALID", None, "That one did not count", r"^Try again in [56]\ss$"),
    (422, "KEY_REUSED", None, "That one did not count", r"^Try again in [56]\ss$"),
    (503, "DEGRADED", 2000, "We do not know yet whether you are in", r"^Asking again…$"),
    (500, "INTERNAL", None, "We do not know yet whether you are in", r"^Asking again…$"),
    (401, "UNAUTHENTICATED", None, "Please sign in again", r"^Sign in to buy$"),
]


async def test_each_refusal_has_its_words(
    merchant: Merchant, visit: Visit, token: str, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(opens_in_s=2))
    page = await visit(sale.url, token=token)
    for status, code, retry_after_ms, title, label in _REFUSALS:
        refuse = partial(_refuse, status=status, code=code, retry_after_ms=retry_after_ms)
        await page.context.route("**/api/v1/buy/**", refuse)
        await is_open(page)
        await page.locator("#buy").click()
        await expect(page.locator("#claim-title"), code).to_have_text(title)
        await expect(page.locator("#buy"), code).to_have_text(re.compile(label))
        shown = await page.locator("#claim, #buy, #hint").all_inner_texts()
        for jargon in (str(status), "_", "throttled", "ticket", "token", "failed", "error", "null", "undefined", "{"):
            assert jargon not in " ".join(shown).lower(), code
        # A script's own tries end with the page: what is loaded anew waits for a tap.
        await page.reload()
        await page.context.unroute("**/api/v1/buy/**", refuse)
    assert await sale.taken() == 0


async def _refuse(route: Route, status: int, code: str, retry_after_ms: int | None) -> None:
    body = {"type": "about:blank", "title": "Refused", "status": status, "code": code}
    await route.fulfill(
        status=status, json=body | ({"retry_after_ms": retry_after_ms} if retry_after_ms is not None else {})
    )


async def test_the_button_rests_and_the_page_tries_again_with_the_same_key(
    merchant: Merchant, visit: Visit, token: str, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(opens_in_s=2))
    page = await visit(sale.url, token=token)
    keys = _keys(page)
    await page.context.route("**/api/v1/buy/**", lambda route: _refuse(route, 429, "THROTTLED", 1000), times=1)
    await is_open(page)
    await page.locator("#buy").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#announce")).to_have_text(
        re.compile(r"^Not through this time. Trying again by itself in [56] seconds.$")
    )
    started = asyncio.get_running_loop().time()
    # Neither the keyboard nor a script of an eager shopper gets a try out of a resting button.
    await page.keyboard.press("Enter")
    await page.locator("#buy").dispatch_event("click")
    await expect(page.locator("#claim-title")).to_have_text("It is yours")
    assert asyncio.get_running_loop().time() - started > 4
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def test_who_stops_the_tries_gets_the_button_back(
    merchant: Merchant, visit: Visit, token: str, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(opens_in_s=2))
    page = await visit(sale.url, token=token)
    keys = _keys(page)
    await page.context.route("**/api/v1/buy/**", lambda route: _refuse(route, 429, "THROTTLED", 1000), times=1)
    await is_open(page)
    await page.locator("#buy").click()
    await page.get_by_role("button", name="Stop trying").click()
    await expect(page.locator("#buy")).to_have_text(re.compile(r"^Try again in \d\ss$"))
    await expect(page.get_by_role("button", name="Stop trying")).to_be_hidden()
    await expect(page.locator("#announce")).to_have_text("You can try again now.")
    await expect(page.locator("#buy")).to_be_enabled()
    assert len(keys) == 1
    assert await sale.taken() == 0
    await page.locator("#buy").click()
    await expect(page.locator("#claim-title")).to_have_text("It is yours")
    assert len(set(keys)) == 1


async def test_a_token_that_ended_keeps_the_try(
    platform: Platform, merchant: Merchant, visit: Visit, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(opens_in_s=2))
    page = await visit(sale.url)
    keys = _keys(page)
    address = f"eve-{uuid4().hex[:8]}@mail.test"

    async def sign_in() -> None:
        await page.get_by_label("E-mail address").fill(address)
        await page.get_by_role("button", name="Send me a code").click()
        await page.get_by_label("The code from the message").fill(await platform.code_for(address))
        await page.get_by_role("button", name="Sign in", exact=True).click()

    await sign_in()
    await is_open(page)
    await page.context.route("**/api/v1/buy/**", lambda route: _refuse(route, 401, "UNAUTHENTICATED", None), times=1)
    await page.locator("#buy").click()
    await expect(page.locator("#claim-title")).to_have_text("Please sign in again")
    platform.forget_mail()
    await sign_in()
    await expect(page.locator("#claim-title")).to_have_text("It is yours")
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def test_the_page_stands_without_the_api(
    merchant: Merchant, visit: Visit, token: str, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(opens_in_s=15))

    async def without_api(context: BrowserContext) -> None:
        await context.route("**/api/v1/**", lambda route: route.abort())

    page = await visit(sale.url, token=token, prepare=without_api)
    await expect(page.locator("#phase")).to_have_text("Opens soon")
    await is_open(page)
    await page.locator("#buy").click()
    await expect(page.locator("#claim-title")).to_have_text("No answer from the shop yet")
    assert await sale.taken() == 0
    await page.context.unroute("**/api/v1/**")
    await expect(page.locator("#claim-title")).to_have_text("It is yours")
    assert await sale.taken() == 1


async def test_a_wrong_clock_changes_nothing(
    merchant: Merchant, visit: Visit, shopper_tokens: Iterator[str], is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(opens_in_s=15))

    async def seven_minutes(sign: str, context: BrowserContext) -> None:
        await context.add_init_script(f"const now = Date.now.bind(Date); Date.now = () => now() {sign} 420_000;")

    pages = [await visit(sale.url, token=next(shopper_tokens), prepare=partial(seven_minutes, sign)) for sign in "-+"]
    for page in pages:
        await expect(page.locator("#phase")).to_have_text("Opens soon")
        await expect(page.locator("#count")).to_have_text(re.compile(r"^00:00:\d\d$"))
        await expect(page.locator("#buy")).to_be_disabled()
    for page in pages:
        await is_open(page)
        assert 0 <= (datetime.now(UTC) - sale.opens_at).total_seconds() < 60


async def test_a_slow_network_never_opens_early(
    merchant: Merchant, visit: Visit, token: str, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    sale = await merchant.sell(Plan(opens_in_s=15))

    async def slow(context: BrowserContext) -> None:
        async def late(route: Route) -> None:
            await asyncio.sleep(1.5)
            await route.continue_()

        # Late on the way there: the answer is fresh, the middle of its round trip is 0.75 s ahead.
        await context.route(re.compile(r"/api/v1/clock|/state\.json"), late)

    page = await visit(sale.url, token=token, prepare=slow)
    await expect(page.locator("#phase")).to_have_text("Opens soon")
    await is_open(page)
    assert datetime.now(UTC) >= sale.opens_at


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_small_phone_shows_all_of_it(
    merchant: Merchant, visit: Visit, token: str, scheme: str, is_open: Callable[[Page], Awaitable[None]]
) -> None:
    long = "Ein sehr langer Name mit Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen, größenverstellbar"
    sale = await merchant.sell(Plan(items={"m": 5, "l": 5}, names={"l": long}, title=long, payment=True, opens_in_s=2))
    page = await visit(sale.url, width=360, scheme=scheme)
    await expect(page.locator("#signin")).to_be_visible()
    await _fits(page)
    page = await visit(sale.url, token=token, width=360, scheme=scheme)
    await is_open(page)
    await page.locator("#buy").click()
    await expect(page.locator("#claim-title")).to_have_text("A piece is set aside for you")
    await expect(page.locator("#orders-list .order")).to_have_count(1)
    await _fits(page)


async def _fits(page: Page) -> None:
    """Nothing runs out at the side, and everything to tap is at least 44 px high."""
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= 360
    for target in await page.locator("button:visible, label.item:visible, .brand, .signin input:visible").all():
        box = await target.bounding_box()
        assert box is not None
        assert box["height"] >= 44, await target.evaluate("(node) => node.outerHTML")
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360


async def test_merchants_words_stay_words(merchant: Merchant, visit: Visit, token: str) -> None:
    plan = Plan(title=_HOSTILE, description=_HOSTILE, names={"m": _HOSTILE}, opens_in_s=2)
    sale = await merchant.sell(plan)
    page = await visit(sale.url, token=token)
    await expect(page.locator("h1")).to_have_text(_HOSTILE)
    await expect(page.locator("#buy")).to_have_text(f"Buy {_HOSTILE}")
    assert await page.locator("main img, main script").count() == 0
    assert await page.title() == f"{_HOSTILE} · Northwind Supply"
    index = await visit(merchant.platform.url + "/")
    card = index.locator(f"a[href='/s/{sale.slug}/']")
    await expect(card.locator(".card-title")).to_have_text(_HOSTILE)
    await expect(card.locator("[data-label]")).to_have_text("Live now")


async def test_no_link_is_in_any_file(merchant: Merchant, visit: Visit, token: str) -> None:
    sale: RunningSale = await merchant.sell(Plan(opens_in_s=2))
    page = await visit(sale.url, token=token)
    await expect(page.locator("#buy")).to_be_enabled()

    async def bought() -> bool:
        return await sale.taken() == 1

    async with page.expect_request("**/api/v1/buy/**") as asked:
        await page.locator("#buy").click()
    secret = (await asked.value).url.rpartition("/")[2]
    assert (await asked.value).headers.get("referer", "") == ""
    await wait_until("the order", bought)
    assert secret not in await page.content()
    assert secret not in await page.evaluate("() => JSON.stringify({...localStorage, ...sessionStorage})")
    for path in (merchant.platform.data_dir / "pages").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()
    for path in (merchant.platform.data_dir / "logs").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
