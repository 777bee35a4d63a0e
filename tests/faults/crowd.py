"""Shoppers of a drill: they buy, ask, pay or walk away, and never send anything twice but under the same key."""

import asyncio
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

from stack.demo.http import Answer, Client, Cut
from tests.faults.witness import FINAL, Attempt, Witness

PATIENCE_S = 6.0
"""A shopper's browser gives up a request after this and asks again: shorter than nginx's 30 s for a frozen API."""
POLL_S = 0.25
ASK_AGAIN_S = 0.4
"""Waited after an answer that says neither yes nor when."""
WAIT_MAX_S = 1.0
"""A drill is short: nobody stays away for longer, whatever ``Retry-After`` says (the gate refuses who is too early)."""


@dataclass(frozen=True, slots=True)
class Shopper:
    """Who it is, and her bearer token."""

    id: UUID
    token: str


@dataclass(frozen=True, slots=True)
class Manners:
    """How a crowd behaves."""

    spread_s: float
    """Over how many seconds after the opening it arrives."""
    pays: float = 1.0
    """The share that pays what it holds; the others let their holds end and go home. Whoever gets a unit that came
    back pays: else a drill would take one hold after the other."""


class Crowd:
    """All shoppers of one drill on one item."""

    def __init__(
        self,
        client: Client,
        witness: Witness,
        *,
        slug: str,
        sku: str,
        shoppers: list[Shopper],
        manners: Manners,
        seed: int,
    ) -> None:
        self._client, self._witness = client, witness
        self._link_path = f"/api/v1/sales/{slug}/items/{quote(sku)}/link"
        self._shoppers = {one.id: one for one in shoppers}
        self._manners = manners
        self._random = random.Random(seed)
        self._links: dict[UUID, str] = {}
        self._came_s = 0.0
        self.over = asyncio.Event()
        """Set when nobody needs to try any more."""

    async def run(self) -> None:
        """Everybody comes, and goes home with an order, without hope, or when ``over`` is set."""
        self._came_s = time.monotonic()
        async with asyncio.TaskGroup() as everybody:
            for shopper in self._shoppers.values():
                late_s = self._random.random() * self._manners.spread_s
                pays = self._random.random() < self._manners.pays
                everybody.create_task(self._shop(shopper, late_s, pays=pays))

    async def ask_everybody(self, *, within_s: float) -> None:
        """The reckoning, with the platform at rest: the same key once more for whoever has no answer, and every
        ticket until it is decided (and, where it is held, as it stands)."""
        unsure = [one for one in self._witness.attempts.values() if one.unknown and not one.accepted]
        async with asyncio.timeout(within_s):
            await asyncio.gather(*(self._find_out(one) for one in unsure))
        try:
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(self._until_decided(one) for one in self._witness.tickets()))
        except TimeoutError:
            return  # the judge counts who is left

    async def _find_out(self, attempt: Attempt) -> None:
        for _ in range(20):
            if await self._attempt(self._shoppers[attempt.shopper], attempt.key) not in ("cut", "DEGRADED"):
                return
            await asyncio.sleep(ASK_AGAIN_S)

    async def _until_decided(self, attempt: Attempt) -> None:
        while True:
            document = await self._look(attempt)
            if document is not None and document.get("status", "queued") != "queued":
                return
            await asyncio.sleep(POLL_S)

    async def _request(self, method: str, path: str, shopper: Shopper, **more: Any) -> Answer | None:
        """None when there is no answer."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._client.request(method, path, token=shopper.token, **more)
        except (Cut, TimeoutError):
            return None

    async def _shop(self, shopper: Shopper, late_s: float, *, pays: bool) -> None:
        await asyncio.sleep(late_s)
        key = uuid.uuid4().hex
        while not self.over.is_set():
            code = await self._attempt(shopper, key)
            attempt = self._witness.attempts.get((shopper.id, key))
            if attempt is not None and attempt.accepted:
                pays = pays or time.monotonic() - self._came_s > self._manners.spread_s + ASK_AGAIN_S
                status = await self._follow(shopper, attempt, pays=pays)
                if status == "confirmed" or not pays:
                    return
                key = uuid.uuid4().hex  # expired before she could pay, or lost: she tries anew
            elif code == "ENDED":
                return
            await asyncio.sleep(self._pause_s(code))

    def _pause_s(self, code: str) -> float:
        longest = WAIT_MAX_S if code in ("SOLD_OUT", "NOT_ENOUGH", "LIMIT_REACHED") else ASK_AGAIN_S
        return longest * (0.5 + 0.5 * self._random.random())

    async def _attempt(self, shopper: Shopper, key: str) -> str:
        """One try. Its code; ``cut`` when there was no answer, or the link's own refusal when there is no link."""
        path = self._links.get(shopper.id)
        if path is None:
            sent_s = time.monotonic()
            answer = await self._request("POST", self._link_path, shopper)
            document = _object(answer)
            code = self._witness.link_answered(shopper.id, sent_s, answer.status if answer else 0, document)
            if answer is None or answer.status != 201:
                return code
            path = self._links[shopper.id] = str(document["buy_path"])
        attempt = self._witness.asked(shopper.id, key)
        answer = await self._request("POST", path, shopper, headers={"Idempotency-Key": key})
        code = self._witness.answered(attempt, answer.status if answer else 0, _object(answer))
        if code == "LINK_INVALID":
            del self._links[shopper.id]
        return code

    async def _follow(self, shopper: Shopper, attempt: Attempt, *, pays: bool) -> str:
        """Ask for the ticket until it has ended; when nobody needs to try any more, until it has a verdict."""
        paid = False
        while not self.over.is_set() or attempt.verdict_s is None:
            document = await self._look(attempt)
            if attempt.status in FINAL:
                break
            # While the database is away a ticket says "queued" again, and there is no order to pay for.
            if document is not None and document["status"] == "reserved" and pays and not paid:
                paid = await self._pay(shopper, str(document["order_id"]))
                continue
            await asyncio.sleep(POLL_S)
        return attempt.status

    async def _look(self, attempt: Attempt) -> Mapping[str, Any] | None:
        """The ticket as it stands; None without an answer of substance."""
        shopper = self._shoppers[attempt.shopper]
        answer = await self._request("GET", f"/api/v1/tickets/{attempt.ticket}", shopper)
        if answer is None or answer.status >= 500:
            return None
        document = _object(answer)
        if answer.status != 200:
            complaint = f"a ticket of {attempt.shopper} was answered {answer.status} {document.get('code')}"
            if complaint not in self._witness.broken:
                self._witness.broken.append(complaint)
            return None
        self._witness.verdict(attempt, document)
        return document

    async def _pay(self, shopper: Shopper, order_id: str) -> bool:
        """Press the provider's button; False asks to try again."""
        answer = await self._request("POST", f"/api/v1/orders/{order_id}/pay", shopper)
        if answer is not None and answer.status == 200:
            page = urlsplit(str(_object(answer)["payment_url"]))
            answer = await self._request("POST", f"{page.path}?{page.query}", shopper, form="action=pay")
        if answer is None or answer.status >= 500:
            await asyncio.sleep(ASK_AGAIN_S)
            return False
        return True


def _object(answer: Answer | None) -> dict[str, Any]:
    document = answer.json() if answer is not None else {}
    return document if isinstance(document, dict) else {}
