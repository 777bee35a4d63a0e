"""The crowd: people, and those who try it on. Each is one coroutine that speaks to the edge alone."""

import asyncio
import random
import time
import uuid
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, urlsplit

from stack.demo.http import Answer, Client, Cut
from stack.demo.witness import FINAL, Accepted, Witness

ASK_MAX = 60
"""Seconds in which every ticket must have its verdict."""
CLICKS = 5
"""What a repeat clicker sends at once, each with another key, and again with the same."""


class Kind(StrEnum):
    """How somebody behaves."""

    PERSON = "person"
    REPEAT_CLICKER = "repeat clicker"
    EARLY_BIRD = "early bird"
    FORGER = "forger"
    THIEF = "thief"


SHARES: dict[Kind, float] = {
    Kind.PERSON: 0.70,
    Kind.REPEAT_CLICKER: 0.12,
    Kind.EARLY_BIRD: 0.08,
    Kind.FORGER: 0.05,
    Kind.THIEF: 0.05,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """The sale they are after, and how patient they are."""

    slug: str
    sku: str
    opens_at_s: float
    pays: float
    """The share of winners who pay before their hold ends."""
    waits: float
    """The share of the crowd that stays for pieces that come back."""
    spread_s: float
    """Over how many seconds after the opening the crowd arrives."""


class Crowd:
    """All shoppers of a demo; ``over`` is set when nobody needs to try any more."""

    def __init__(self, client: Client, witness: Witness, sample: Sample, tokens: list[str], seed: int) -> None:
        self._client = client
        self._witness = witness
        self._sample = sample
        self._tokens = tokens
        self._random = random.Random(seed)  # noqa: S311 behaviour, not secrets
        self.over = asyncio.Event()
        self._stolen: list[str] = []

    async def run(self) -> None:
        """Let everybody loose; returns when the last one has gone home."""
        kinds = list(SHARES)
        weights = list(SHARES.values())
        async with asyncio.TaskGroup() as everybody:
            for number, token in enumerate(self._tokens):
                kind = self._random.choices(kinds, weights)[0]
                everybody.create_task(self._shopper(number, token, kind))

    async def ask_again(self) -> None:
        """Ask once more for every ticket that had no final answer when its shopper went home."""
        unfinished = [one for one in self._witness.tickets.values() if one.status not in FINAL]
        await asyncio.gather(*(self._ask(one) for one in unfinished))

    async def _ask(self, accepted: Accepted) -> None:
        for _ in range(ASK_MAX):
            try:
                answer = await self._client.request(
                    "GET", f"/api/v1/tickets/{accepted.ticket}", token=self._tokens[accepted.shopper]
                )
            except Cut:
                self._witness.unknown += 1
            else:
                accepted.status = answer.json().get("status", accepted.status)
            if accepted.status != "queued":
                return
            await asyncio.sleep(1.0)

    async def _shopper(self, number: int, token: str, kind: Kind) -> None:
        try:
            if kind is Kind.EARLY_BIRD:
                await self._early(token)
            await self._until_open()
            if kind is Kind.FORGER:
                await self._forge(token)
            elif kind is Kind.THIEF:
                await self._steal(token)
            else:
                await self._buy(number, token, kind)
        except Cut:
            self._witness.unknown += 1

    async def _until_open(self) -> None:
        late_s = self._random.random() * self._sample.spread_s
        await asyncio.sleep(max(0.0, self._sample.opens_at_s + late_s - time.time()))

    async def _early(self, token: str) -> None:
        """Tries in the last seconds before the opening, with a clock that runs ahead."""
        await asyncio.sleep(max(0.0, self._sample.opens_at_s - 0.2 - 2 * self._random.random() - time.time()))
        sent_at_s = time.time()
        headers = {"Date": "Fri, 31 Dec 2100 23:59:59 GMT", "X-Now": "9999999999999"}
        answer = await self._link(token, headers)
        code = self._witness.answered("early link", answer)
        if sent_at_s < self._sample.opens_at_s - 0.1:
            self._witness.refused_as_expected("a link before opening", code, "NOT_OPEN", "DEGRADED")

    async def _link(self, token: str, headers: dict[str, str] | None = None) -> Answer:
        path = f"/api/v1/sales/{self._sample.slug}/items/{quote(self._sample.sku)}/link"
        return await self._client.request("POST", path, token=token, headers=headers)

    async def _attempt(self, token: str, buy_path: str, key: str) -> Answer:
        return await self._client.request("POST", buy_path, token=token, headers={"Idempotency-Key": key})

    async def _forge(self, token: str) -> None:
        """Flips a character of a real link, or invents one."""
        answer = await self._link(token)
        self._witness.answered("link", answer)
        if answer.status != 201:
            return
        path = answer.json()["buy_path"]
        at = self._random.randrange(len("/api/v1/buy/"), len(path))
        forged = path[:at] + ("A" if path[at] != "A" else "B") + path[at + 1 :]
        code = self._witness.answered("forged link", await self._attempt(token, forged, uuid.uuid4().hex))
        self._witness.refused_as_expected("a forged link", code, "LINK_INVALID", "DEGRADED")

    async def _steal(self, token: str) -> None:
        """Uses somebody else's link with an own token."""
        if not self._stolen:
            return
        path = self._random.choice(self._stolen)
        code = self._witness.answered("foreign link", await self._attempt(token, path, uuid.uuid4().hex))
        self._witness.refused_as_expected("a foreign link", code, "LINK_INVALID", "DEGRADED")

    async def _buy(self, number: int, token: str, kind: Kind) -> None:
        """Link, attempt, and again as told, until there is a ticket that holds or nothing more to hope for."""
        stays = self._random.random() < self._sample.waits
        key = uuid.uuid4().hex
        while not self.over.is_set():
            try:
                wait_s, accepted = await self._try(number, token, kind, key)
            except Cut:
                # Nobody knows whether it got through: the same key again finds the ticket if it did.
                self._witness.unknown += 1
                wait_s, accepted = 1.0, None
            if accepted is not None:
                pays = self._random.random() < self._sample.pays
                status = await self._follow(token, accepted, pays=pays)
                # Who walked away from a hold does not come back; who meant to pay and was too slow does.
                if status == "confirmed" or not pays:
                    return
                key = uuid.uuid4().hex
            elif wait_s is None or (wait_s < 0 and not stays):
                return
            await asyncio.sleep(abs(wait_s or 0.5))

    async def _try(self, number: int, token: str, kind: Kind, key: str) -> tuple[float | None, Accepted | None]:
        """One link and one attempt. Seconds to wait (negative: only if one stays for returns), and the ticket."""
        answer = await self._link(token)
        code = self._witness.answered("link", answer)
        if answer.status != 201:
            return self._patience(code, answer), None
        path = answer.json()["buy_path"]
        if len(self._stolen) < 50:
            self._stolen.append(path)
        sent_at_s = time.time()
        keys = [key]
        if kind is Kind.REPEAT_CLICKER:
            keys = [key, *(uuid.uuid4().hex for _ in range(CLICKS)), key, key]
        answers = await asyncio.gather(*(self._attempt(token, path, one) for one in keys), return_exceptions=True)
        accepted: Accepted | None = None
        for one in answers:
            if isinstance(one, BaseException):
                continue
            code = self._witness.answered("buy", one)
            if one.status == 202:
                accepted = self._witness.accepted(number, one.json()["ticket"], sent_at_s=sent_at_s)
        if accepted is None and isinstance(answers[0], BaseException):
            raise answers[0]
        return self._patience(code, answers[0] if isinstance(answers[0], Answer) else answer), accepted

    def _patience(self, code: str, answer: Answer) -> float | None:
        retry_ms = answer.json().get("retry_after_ms")
        if code in ("ENDED", "LIMIT_REACHED", "UNAUTHENTICATED"):
            return None
        if code in ("SOLD_OUT", "NOT_ENOUGH"):
            return -(2.0 + 2.0 * self._random.random())
        return (retry_ms or 500) / 1000 + 0.3 * self._random.random()

    async def _follow(self, token: str, accepted: Accepted, *, pays: bool) -> str:
        """Polls the ticket until it is decided, pays or walks away, and sees it to its end."""
        paid = False
        while True:
            wait_s = 0.5
            try:
                answer = await self._client.request("GET", f"/api/v1/tickets/{accepted.ticket}", token=token)
                ticket = answer.json()
                accepted.status = ticket.get("status", accepted.status)
                if accepted.status in FINAL:
                    return accepted.status
                if accepted.status == "reserved" and pays and not paid:
                    paid = await self._pay(token, ticket["order_id"])
                    continue
                wait_s = ticket.get("poll_after_ms", 500) / 1000
            except Cut:
                self._witness.unknown += 1
            await asyncio.sleep(wait_s)

    async def _pay(self, token: str, order_id: str) -> bool:
        """Press the provider's button. Whether there is nothing left to press: False asks to try again."""
        answer = await self._client.request("POST", f"/api/v1/orders/{order_id}/pay", token=token)
        if answer.status != 200:
            await asyncio.sleep(0.5)
            return answer.status < 500
        page = urlsplit(answer.json()["payment_url"])
        answer = await self._client.request("POST", f"{page.path}?{page.query}", form="action=pay")
        if answer.status >= 500:
            await asyncio.sleep(0.5)
        return answer.status < 500
