"""The console as an operator's hands use it: fields by their labels, dialogs by their buttons."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.e2e.shop import PASSWORD

STREAMLITS_OWN = (
    # Its list of pages has the headers of the sections inside the `ul`, and a list in which something else stands
    # is none to axe: neither the list nor its items.
    ("list", '[data-testid="stSidebarNav"]'),
    ("listitem", '[data-testid="stSidebarNav"]'),
)
"""Serious faults that are Streamlit's and that no option of ours mends: the rule, and the part that breaks it."""
# A toast is a dialog without a name, and may be gone before axe can be asked about it by name.
_CONTEXT: Any = {"exclude": [['[data-testid="stToastContainer"]'], [".stToast"]]}
_COUNT_SOCKETS = """(() => {
    const Real = window.WebSocket;
    window.sockets = [];
    window.WebSocket = class extends Real {
        constructor(...given) { super(...given); window.sockets.push(this); }
    };
})()"""
_LOOK = """one => {
    const found = [];
    for (let part = one, up = 0; part && up < 4; part = part.parentElement, up++) {
        const look = getComputedStyle(part);
        found.push(look.outline, look.boxShadow, look.borderColor);
    }
    return found.join();
}"""
_STRIP = re.compile(r"[\d,]+")
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
        """What axe finds seriously wrong on the whole page, without what is Streamlit's own."""
        found = await Axe().run(self.page, context=_CONTEXT)
        assert found.response["passes"], "axe looked at nothing"
        return [
            f"{violation['id']}: {node['target']}"
            for violation in found.response["violations"]
            if violation["impact"] in {"serious", "critical"}
            for node in violation["nodes"]
            if not await self._is_streamlits(violation["id"], node["target"][-1])
        ]

    async def _is_streamlits(self, rule: str, target: str) -> bool:
        parts = [part for known, part in STREAMLITS_OWN if known == rule]
        inside = "([target, part]) => !!document.querySelector(target)?.closest(part)"
        return any([await self.page.evaluate(inside, [target, part]) for part in parts])

    async def equation(self) -> dict[str, int]:
        """The oversell audit as it stands: allotment, available, reserved, sold."""
        shown = await self.page.locator(".sp-equation > div:not(.sp-verdict) strong").all_inner_texts()
        figures = [int(_STRIP.findall(one)[0].replace(",", "")) for one in shown]
        return dict(zip(("allotment", "available", "reserved", "sold"), figures, strict=True))

    async def tab_to(self, element: Locator, steps_max: int = 80) -> None:
        """Reach an element by the Tab key alone, and see that it shows the focus: it or a frame close around it."""
        plain = await element.evaluate(_LOOK)
        for _ in range(steps_max):
            await self.page.keyboard.press("Tab")
            if await element.evaluate("one => one === document.activeElement"):
                break
        else:
            raise AssertionError(f"not reached by {steps_max} presses of Tab: {element}")
        assert await element.evaluate(_LOOK) != plain, f"the focus is not to be seen: {element}"

    async def cut_the_wire(self) -> None:
        """Close the page's websocket as a lost network does, and wait until there is another one."""
        before = await self.page.evaluate("window.sockets.push(null) && window.sockets.length")
        await self.page.evaluate("window.sockets.filter(Boolean).forEach(one => one.close())")
        await self.page.wait_for_function(
            "before => window.sockets.slice(before).some(one => one.readyState === 1)", arg=before
        )

    @staticmethod
    async def prepare(context: BrowserContext) -> None:
        """For a window whose websocket will be cut."""
        await context.add_init_script(_COUNT_SOCKETS)

    async def download(self, label: str) -> bytes:
        async with self.page.expect_download() as started:
            await self.page.get_by_role("link", name=label).click()
        path = await (await started.value).path()
        return path.read_bytes()
