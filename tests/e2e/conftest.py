"""The whole platform, and a browser in front of it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.e2e.shop import Merchant, Platform

CHROMIUM = Path("/usr/bin/chromium")
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_TOKENS = 40
# Two cores carry the platform, the browser and another test process.
WAIT_MS = 20_000


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Pictures are taken when they are asked for by name (`make screenshots`); they test nothing."""
    if "screenshots" in config.option.markexpr:
        return
    pictures = [item for item in items if item.get_closest_marker("screenshots")]
    if pictures:
        config.hook.pytest_deselected(items=pictures)
        items[:] = [item for item in items if item not in pictures]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """The local stack, started once for all tests of this process."""
    running = await Platform.start(tmp_path_factory.mktemp("platform"))
    yield running
    await running.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def merchant(platform: Platform) -> AsyncIterator[Merchant]:
    """A merchant with an owner who is signed in."""
    joined = await Merchant.join(platform, "Northwind Supply")
    yield joined
    await joined.http.aclose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shopper_tokens(platform: Platform) -> Iterator[str]:
    """Bearer tokens of shoppers, one for each that a test sends to the page already signed in."""
    return iter((await platform.command("shopper-token", "--count", str(_TOKENS))).split())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium. Without it the browser tests are skipped, but never in CI."""
    if not CHROMIUM.exists() and "CI" not in os.environ:
        pytest.skip(f"no browser at {CHROMIUM}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(chromium: Browser) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """``await visit(url, token=…, width=…)`` opens a page as a new person; faults on it fail the test.

    ``token`` makes a shopper who is signed in already; ``prepare`` is done to the browser before the page loads.
    A fault is a script's exception, an offence against the CSP, or a request to another origin.
    """
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    async def open_page(
        url: str,
        *,
        token: str | None = None,
        width: int = 1280,
        scheme: Any = "light",
        locale: str = "en-GB",
        prepare: Callable[[BrowserContext], Awaitable[None]] | None = None,
    ) -> Page:
        context = await chromium.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
            timezone_id="Europe/Lisbon",
            reduced_motion="reduce",
            locale=locale,
        )
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        context.on("weberror", lambda error: faults.append(str(error.error)))
        context.on("console", lambda message: _note(faults, message.text))
        context.on("request", lambda request: _stay_home(faults, request.url, origin))
        if token is not None:
            await context.add_init_script(_signed_in(token))
        if prepare is not None:
            await prepare(context)
        page = await context.new_page()
        await page.goto(url)
        return page

    yield open_page
    await asyncio.gather(*(context.close() for context in contexts))
    assert faults == []


def _note(faults: list[str], text: str) -> None:
    if any(word in text for word in ("Content Security Policy", "Uncaught", "Error:")):
        faults.append(text)


def _stay_home(faults: list[str], url: str, origin: str) -> None:
    if not url.startswith((f"{origin}/", "data:", "blob:")):
        faults.append(f"asked another origin: {url}")


def _signed_in(token: str) -> str:
    """What the page's own sign-in leaves behind, unless somebody has signed in or out since."""
    session = json.dumps({"token": token, "shopperId": f"shopper-{token[-12:]}", "contact": "a•••@mail.test"})
    return (
        'if (location.protocol !== "about:" && !localStorage.getItem("stampede.test")) {'
        f' localStorage.setItem("stampede.session", {json.dumps(session)});'
        ' localStorage.setItem("stampede.test", "1"); }'
    )
