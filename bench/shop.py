"""Sales on the platform, made through the operator API as an operator would; and the check of their books."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from backend.accounts import add_operator
from backend.gate import EntryId, Gate, LaneId
from backend.models import Database, Verdict, make_engine
from backend.reconciliation import TRIGGER_COMMAND_LINE
from backend.reconciliation import run as reconcile
from backend.settings import Settings
from bench.crowd import Crowd, Item
from bench.platform import Platform
from stack.demo.http import Client
from stack.demo.operator import OperatorClient
from stack.errors import StackError

_T = TypeVar("_T")
READY_WITHIN_S = 30.0
DRAINED_WITHIN_S = 300.0
RECONCILED_WITHIN_S = 120.0
POLL_S = 0.02
SETTLE_S = 0.3
"""After a sale is open, before it is measured: pages are published and states written meanwhile."""
UNITS_MAX = 1_000_000
FINDINGS_SHOWN = 5
GENEROUS = {"rate_per_s": 100_000, "burst": 1_000_000, "wait_budget_ms": 0, "repeat_window_ms": 0}
"""A bucket that is asked each time and never refuses: what is measured is the platform, not the throttle."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What differs between the sales of the scenarios."""

    units: int = UNITS_MAX
    items: int = 1
    limit: int = 1
    opens_in_s: float = 1.5
    throttle: dict[str, Any] = field(default_factory=lambda: dict(GENEROUS))


@dataclass(slots=True)
class OpenSale:
    """A sale that is open, or about to be."""

    sale_id: UUID
    items: list[Item]
    opens_at_s: float
    """Seconds since the epoch."""

    @property
    def item(self) -> Item:
        return self.items[0]


class Shop:
    """An owner of one merchant, signed in, with the gate and the ledger in reach for checks."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.settings = Settings.model_validate(
            {key.removeprefix("STAMPEDE_").lower(): value for key, value in platform.env.items()}
        )
        self.crowd = Crowd(self.settings.secret_key)
        self.gate = Gate.connect(self.settings.gate_url, timeout_s=10.0, name="bench")
        self._database = Database(make_engine(self.settings, role="bench"))
        self._client = Client(platform.url)
        self._operator = OperatorClient(self._client)

    async def open(self) -> None:
        """Make the merchant and sign in."""
        email, password = f"bench-{secrets.token_hex(3)}@stampede.example", secrets.token_urlsafe(12)
        async with self._database.transaction() as session:
            await add_operator(session, email, "owner", "Bench", password)
        await self._operator.sign_in(email, password)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
        await self.gate.close()
        await self._database.close()

    async def ledger(self) -> asyncpg.Connection:
        """A plain connection to the ledger, as the product's role. The caller closes it."""
        return await asyncpg.connect(self.settings.database_url.replace("+asyncpg", ""))

    async def sale(self, terms: Terms = Terms()) -> OpenSale:
        """Make a sale, and wait until its stock is loaded; ``until_open`` waits on."""
        mark = secrets.token_hex(4)
        skus = [f"BENCH-{mark}-{number}" for number in range(1, terms.items + 1)]
        for sku in skus:
            await self._operator.post("operator/skus", {"sku": sku, "name": sku}, expect=201)
        opens_at = datetime.now(UTC) + timedelta(seconds=terms.opens_in_s)
        price = {"amount_minor": 1900, "currency": "EUR"}
        sale = await self._operator.post(
            "operator/sales",
            {
                "slug": f"bench-{mark}",
                "title": "Bench",
                "opens_at": opens_at.isoformat(),
                "closes_at": (opens_at + timedelta(hours=6)).isoformat(),
                "items": [
                    {"sku": sku, "price": price, "allotment": terms.units, "per_shopper_limit": terms.limit}
                    for sku in skus
                ],
                "throttle": terms.throttle,
                "link": {"ttl_s": 3_600},
            },
            expect=201,
        )
        await self._operator.post(f"operator/sales/{sale['id']}/schedule", {"reason": "bench"})
        items = await self._loaded(UUID(sale["id"]), [UUID(item["id"]) for item in sale["items"]])
        return OpenSale(UUID(sale["id"]), items, opens_at.timestamp())

    async def opened(self, terms: Terms = Terms()) -> OpenSale:
        """``sale``, and wait until it is open."""
        sale = await self.sale(terms)
        await self.until_open(sale)
        return sale

    async def until_open(self, *sales: OpenSale) -> None:
        """Wait for the last of their openings, and a moment longer."""
        opens_at_s = max(sale.opens_at_s for sale in sales)
        await asyncio.sleep(max(0.0, opens_at_s - time.time()) + SETTLE_S)

    async def _loaded(self, sale_id: UUID, item_ids: Sequence[UUID]) -> list[Item]:
        async def look() -> list[Item] | None:
            directory = await self.gate.directory()
            if not all(one in directory for one in item_ids):
                return None
            return [await self._item(sale_id, directory[one].slug, directory[one].sku, one) for one in item_ids]

        return await until(f"stock of sale {sale_id} is loaded", look, READY_WITHIN_S)

    async def _item(self, sale_id: UUID, slug: str, sku: str, item_id: UUID) -> Item:
        lane_id = LaneId(item_id)
        reading, known = await self.gate.read(lane_id), await self.gate.secrets(lane_id)
        return Item(sale_id, item_id, slug, sku, reading.link_epoch, known[reading.link_epoch])

    async def end(self, sale: OpenSale) -> None:
        """End it: an open sale is audited every five seconds, at a cost that grows with what it has sold."""
        await self._operator.post(f"operator/sales/{sale.sale_id}/end", {"reason": "bench"})

    async def until_reconciled(self, *sales: OpenSale) -> None:
        """Wait until the audit has closed the books of these sales: from then on they cost nothing any more."""
        for sale in sales:

            async def look(sale_id: UUID = sale.sale_id) -> bool:
                found = await self._operator.get(f"operator/sales/{sale_id}")
                return bool(found["status"] == "reconciled")

            await until(f"sale {sale.sale_id} is reconciled", look, RECONCILED_WITHIN_S)

    async def drop(self, sale: OpenSale) -> None:
        """Take its lanes out of the gate, as after retention. The sale is of no use any more."""
        directory = await self.gate.directory()
        for item in sale.items:
            await self.gate.drop(directory[item.item_id])

    async def drained(self, sale: OpenSale, *, within_s: float = DRAINED_WITHIN_S) -> None:
        """Wait until the ledger has applied all that the gate has written. Raises StackError."""

        async def look() -> bool:
            return not await self.backlog(sale)

        await until(f"sale {sale.sale_id} is drained", look, within_s)

    async def backlog(self, sale: OpenSale) -> int:
        """Journal entries that the ledger has not applied yet."""
        waiting = 0
        for item in sale.items:
            reading = await self.gate.read(LaneId(item.item_id))
            applied = reading.applied or EntryId(reading.generation, -1)
            waiting += reading.seq - applied.seq
        return waiting

    async def faults(self, *sales: OpenSale, sold: int, reservations: Sequence[UUID]) -> list[str]:
        """What is wrong with the books of these sales; empty when every unit and every 202 is explained.

        ``sold`` is what all runs on them were promised together, ``reservations`` are those of the newest run: each
        must have exactly one confirmed order.
        """
        found, booked = [], 0
        for sale in sales:
            faults, units = await self._reconciled(sale)
            found += faults
            booked += units
        if booked != sold:
            found.append(f"{sold} units were promised, {booked} are booked")
        ordered = await self._ordered(reservations)
        if ordered != len(reservations):
            found.append(f"{len(reservations)} attempts were accepted, {ordered} of them have an order")
        return found

    async def _reconciled(self, sale: OpenSale) -> tuple[list[str], int]:
        """The auditor's findings, and the units that the ledger says are sold.

        As ``stampede reconcile`` does it: over HTTP the run of a million orders takes longer than a client waits.
        """
        run = await reconcile(self._database, self.gate, sale.sale_id, trigger=TRIGGER_COMMAND_LINE)
        figures = {"oversold": run.oversold, "stranded": run.stranded, "drift": run.drift, "duplicates": run.duplicates}
        found = [f"{name} is {value}" for name, value in figures.items() if value]
        if run.verdict is not Verdict.CLEAN:
            found += [f"finding: {finding}" for finding in run.findings[:FINDINGS_SHOWN]]
        return found, sum(item["ledger"]["sold"] for item in run.balance["items"])

    async def _ordered(self, reservations: Sequence[UUID]) -> int:
        connection = await self.ledger()
        try:
            return int(
                await connection.fetchval(
                    "SELECT count(*) FROM orders WHERE status = 'confirmed' AND reservation_id = ANY($1::uuid[])",
                    list(reservations),
                )
            )
        finally:
            await connection.close()


async def until(what: str, look: Callable[[], Awaitable[_T | None]], within_s: float) -> _T:
    """The first true answer of ``look``. Raises StackError when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (found := await look()):
        if time.monotonic() > deadline:
            raise StackError(f"{what}: not within {within_s:.0f} s")
        await asyncio.sleep(POLL_S)
    return found


async def gate_bytes(shop: Shop) -> int:
    """What the gate store's data takes, without its buffers for clients and file."""
    client: Redis = Redis.from_url(shop.settings.gate_url)
    try:
        return int((await client.info("memory"))["used_memory_dataset"])
    finally:
        await client.aclose()
