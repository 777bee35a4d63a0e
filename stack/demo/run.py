"""The sample sale from end to end, on a stack that is ready."""

import asyncio
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backend.accounts import (
    SHOPPER_TOKEN_LABEL,
    SHOPPER_TOKEN_TTL_S,
    add_operator,
    create_shoppers,
    issue_shopper_token,
)
from backend.core.clock import now_ms
from backend.core.signing import derive_key
from backend.models import Database, make_engine
from backend.settings import Settings
from stack.demo.http import Client, Cut
from stack.demo.operator import OperatorClient
from stack.demo.report import Report, Screen
from stack.demo.shoppers import Crowd, Sample
from stack.demo.witness import Witness
from stack.errors import StackError
from stack.local import LocalStack

SKU = "EMBER-PARKA-M"
LIMIT = 1
READY_WITHIN_S = 20.0
SETTLE_WITHIN_S = 60.0
MAILS_WITHIN_S = 20.0
SHOPPERS_A_TRANSACTION = 5_000


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How large, and what happens afterwards."""

    shoppers: int = 2_000
    stock: int = 200
    seed: int = 20

    @property
    def hold_s(self) -> int:
        """Short, so that unpaid holds end and are bought by others within the demo; longer for a crowd that keeps
        these same cores busy while its winners pay."""
        return 10 + self.shoppers // 1_000

    @property
    def opens_in_s(self) -> float:
        """Time to preload and publish, and for the early birds to be too early."""
        return 6.0


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a person needs to look around in the console afterwards."""

    email: str
    password: str


async def run_sample_sale(stack: LocalStack, options: DemoOptions, screen: Screen) -> tuple[Report, SignIn]:
    """Make the sale, let the crowd loose, wait until everything is decided, reconcile."""
    settings = Settings.model_validate(
        {key.removeprefix("STAMPEDE_").lower(): value for key, value in stack.env.items()}
    )
    database = Database(make_engine(settings, role="demo"))
    client = Client(stack.url)
    try:
        who, tokens = await _people(database, settings, options.shoppers)
        operator = OperatorClient(client)
        await operator.sign_in(who.email, who.password)
        opens_at = datetime.now(UTC) + timedelta(seconds=options.opens_in_s)
        sale = await _schedule(operator, options, opens_at)
        screen.scheduled(sale["slug"], opens_at, options.shoppers, options.stock)
        await _until_ready(operator, sale["id"], screen)
        report = await _sell(client, operator, sale, options, tokens, opens_at, screen)
        report.mails = await _mails(stack.maildir)
        return report, who
    finally:
        await client.close()
        await database.close()


async def _people(database: Database, settings: Settings, count: int) -> tuple[SignIn, list[str]]:
    """An owner for the sample merchant, and a bearer token for each shopper."""
    who = SignIn(f"demo-{secrets.token_hex(3)}@stampede.example", secrets.token_urlsafe(12))
    async with database.transaction() as session:
        await add_operator(session, who.email, "owner", "Northwind Supply", who.password)
    key = derive_key(settings.secret_key, SHOPPER_TOKEN_LABEL)
    expires_at_ms = now_ms() + SHOPPER_TOKEN_TTL_S * 1000
    tokens: list[str] = []
    while len(tokens) < count:
        async with database.transaction() as session:
            ids = await create_shoppers(session, min(SHOPPERS_A_TRANSACTION, count - len(tokens)))
        tokens += [issue_shopper_token(key, one, expires_at_ms) for one in ids]
    return who, tokens


async def _schedule(operator: OperatorClient, options: DemoOptions, opens_at: datetime) -> Any:
    """What an operator does in the console, through the same API."""
    mark = secrets.token_hex(3)
    sku = f"{SKU}-{mark}"
    await operator.post(
        "operator/skus",
        {
            "sku": sku,
            "name": "Ember parka, size M",
            "description": "First run, sewn in Porto. Waxed cotton, wool lining.",
            "usual_price": {"amount_minor": 21900, "currency": "EUR"},
        },
        expect=201,
    )
    # A fifth of the stock at once and a fifth each second: the crowd meets the throttle before it meets "sold out".
    rate = max(10, options.stock // 5)
    sale = await operator.post(
        "operator/sales",
        {
            "slug": f"ember-parka-{mark}",
            "title": "Ember parka, first run",
            "opens_at": opens_at.isoformat(),
            "closes_at": (opens_at + timedelta(hours=1)).isoformat(),
            "time_zone": "Europe/Lisbon",
            "items": [
                {
                    "sku": sku,
                    "price": {"amount_minor": 11900, "currency": "EUR"},
                    "allotment": options.stock,
                    "per_shopper_limit": LIMIT,
                }
            ],
            "throttle": {
                "rate_per_s": rate,
                "burst": rate,
                "wait_budget_ms": 200,
                # Short, so that a person and a script can be seen to get the same number of tries within the demo.
                "repeat_window_ms": 2_000,
            },
            "link": {"ttl_s": 60, "overlap_s": 0},
            "payment": {"required": True, "hold_s": options.hold_s},
        },
        expect=201,
    )
    return await operator.post(f"operator/sales/{sale['id']}/schedule", {"reason": "sample sale"})


async def _until_ready(operator: OperatorClient, sale_id: str, screen: Screen) -> None:
    """The clock preloads, rotates and publishes by itself; the pre-flight list says when that is done."""
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        preflight = await operator.get(f"operator/sales/{sale_id}/preflight")
        missing = [check["name"] for check in preflight["checks"] if not check["ok"]]
        if preflight["ready"]:
            screen.preflight([check["name"] for check in preflight["checks"]])
            return
        if time.monotonic() > deadline:
            raise StackError(f"the sale was not ready in {READY_WITHIN_S:.0f} s; missing: {', '.join(missing)}")
        await asyncio.sleep(0.25)


async def _sell(
    client: Client,
    operator: OperatorClient,
    sale: Any,
    options: DemoOptions,
    tokens: list[str],
    opens_at: datetime,
    screen: Screen,
) -> Report:
    witness = Witness(opens_at.timestamp())
    sample = Sample(
        slug=sale["slug"],
        sku=sale["items"][0]["sku"],
        opens_at_s=opens_at.timestamp(),
        pays=0.85,
        # Enough people wait for pieces that come back to take all of them several times over.
        waits=min(1.0, 2.0 * options.stock / options.shoppers),
        spread_s=max(1.0, options.shoppers / 2_500),
    )
    crowd = Crowd(client, witness, sample, tokens, options.seed)
    started_s = time.monotonic()
    shopping = asyncio.create_task(crowd.run())
    demand_s = sample.spread_s + 2 * options.hold_s + SETTLE_WITHIN_S
    deadline = time.monotonic() + options.opens_in_s + demand_s
    try:
        while not shopping.done() and time.monotonic() < deadline:
            try:
                live = await operator.get(f"operator/sales/{sale['id']}/live")
            except (Cut, StackError) as error:
                screen.no_view(str(error))
            else:
                screen.live(live, witness)
                if live["items"] and all(item["sold"] == item["allotment"] for item in live["items"]):
                    crowd.over.set()
            await asyncio.wait({shopping}, timeout=1.0)
    finally:
        crowd.over.set()
        shopping.cancel()
        await asyncio.gather(shopping, return_exceptions=True)
    if not shopping.cancelled() and shopping.exception() is not None:
        raise StackError("the crowd stumbled") from shopping.exception()
    elapsed_s = time.monotonic() - started_s
    await crowd.ask_again()
    witness.check(stock=options.stock, limit=LIMIT)
    run = await _reconcile(operator, sale["id"])
    balance = await operator.get(f"audit/sales/{sale['id']}/balance")
    return Report(sale, options.stock, witness, run, balance, elapsed_s)


async def _mails(maildir: Path) -> int:
    """How many messages the mail server has taken, once no more come (at most ``MAILS_WITHIN_S``)."""
    deadline = time.monotonic() + MAILS_WITHIN_S
    count, before = await asyncio.to_thread(_files, maildir), -1
    while count != before and time.monotonic() < deadline:
        await asyncio.sleep(2.5)  # longer than the pause between two deliveries
        before, count = count, await asyncio.to_thread(_files, maildir)
    return count


def _files(folder: Path) -> int:
    return sum(1 for found in folder.rglob("*") if found.is_file())


async def _reconcile(operator: OperatorClient, sale_id: str) -> Any:
    """The auditor's verdict, once nothing is under way any more (at most ten seconds after the last ticket)."""
    deadline = time.monotonic() + 10
    while True:
        balance = await operator.get(f"audit/sales/{sale_id}/balance")
        if all(item["in_flight"] == 0 for item in balance["items"]) or time.monotonic() > deadline:
            return await operator.post(f"audit/sales/{sale_id}/reconciliations", {}, expect=201)
        await asyncio.sleep(0.25)
