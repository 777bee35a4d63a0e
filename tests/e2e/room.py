"""The console as an operator's hands use it: fields by their labels, dialogs by their buttons."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Page, expect

from tests.e2e.shop import PASSWORD

_OURS: Any = {"exclude": [['[data-testid="stSidebarNav"]'], ['[data-testid="stToastContainer"]'], [".stToast"]]}
_AGE = re.compile(r"view ([\d.]+) s old")


@dataclass(frozen=True)
class Room:
    """A browser window with the console in it."""

    page: Page

    async def sign_in(self, address: str) -> None:
        await self.page.get_by_label("E-mail").fill(address)
        await self.page.get_by_label("Password").fill(PASSWORD)
        await self.press("Sign in")
        await self.is_at("Home")

    async def is_at(self, heading: str) -> None:
        await expect(self.page.get_by_role("heading", name=heading, exact=True)).to_be_visible()

    async def press(self, label: str) -> None:
        await self.page.get_by_role("button", name=label, exact=True).click()

    async def open_tab(self, name: str) -> None:
        await self.page.get_by_role("tab", name=name).click()

    async def fill(self, label: str, value: str, inside: Locator | None = None) -> None:
        """Type into a field and leave it, which is when Streamlit takes the value."""
        field = (inside or self.page).get_by_label(label, exact=True)
        await field.fill(value)
        await field.press("Tab")

    async def choose(self, label: str, option: str) -> None:
        await self.page.get_by_label(label).first.click()
        # A long list shows only the options in view; typing narrows it down, as a person would.
        await self.page.keyboard.type(option, delay=10)
        await self.page.get_by_role("option", name=option).click()

    async def set_moment(self, word: str, moment: datetime) -> None:
        """Day and time of "Opens" or "Closes", on the clocks of the form's zone."""
        await self.page.get_by_role("spinbutton", name=f"year, {word} on").click()
        await self.page.keyboard.type(f"{moment:%Y%m%d}", delay=10)
        await self.page.keyboard.press("Tab")
        await self.fill(f"{word} at", f"{moment:%H:%M:%S}")

    async def ask(self, action: str, reason: str, **values: str) -> None:
        """An action that asks first: its values, the reason, the button of the same name."""
        await self.press(f"{action} …")
        dialog = self.page.get_by_role("dialog")
        for label, value in values.items():
            await self.fill(label, value, dialog)
        await self.fill("Reason", reason, dialog)
        await dialog.get_by_role("button", name=action, exact=True).click()
        await expect(dialog).to_be_hidden()

    async def said(self, words: str) -> None:
        """A notice that an action has been done."""
        await expect(self.page.get_by_text(words)).to_be_visible()

    async def age_s(self) -> float:
        """How old the live view says it is."""
        found = _AGE.search(await self.page.locator(".sp-facts").first.inner_text())
        assert found
        return float(found[1])

    async def faults_of_craft(self) -> list[str]:
        """What axe finds seriously wrong. Streamlit's own list of pages and its toasts are left out: a header inside
        a ``ul``, and a dialog without a name, are nothing we could mend."""
        found = await Axe().run(self.page, context=_OURS)
        assert found.response["passes"], "axe looked at nothing"
        return [
            f"{violation['id']}: {node['target']}"
            for violation in found.response["violations"]
            if violation["impact"] in {"serious", "critical"}
            for node in violation["nodes"]
        ]

    async def download(self, label: str) -> bytes:
        async with self.page.expect_download() as started:
            await self.page.get_by_role("link", name=label).click()
        path = await (await started.value).path()
        return path.read_bytes()
