"""Sales of the drills, made through the operator API as an operator would make them."""

import asyncio
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

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
from stack.errors import StackError
from tests.faults.crowd import Shopper
from tests.faults.platform import Platform

SHOPPERS_MAX = 300
READY_WITHIN_S = 60.0
OPENS_IN_S = 1.6
"""Loading and publishing take the clock's next tick."""


@dataclass(frozen=True, slots=True)
class Terms:
    """One sale, and who comes to it."""

    stock: int = 60
    shoppers: int = 110
    spread_s: float = 4.0
    hold_s: int | None = None
    """None: no payment is asked for. Else a quarter of the winners lets the hold end, and the units go round again."""
    pays: float = 0.75
    durability: str | None = None


@dataclass(frozen=True, slots=True)
class RunningSale:
    """A sale that is loaded and about to open."""

    id: UUID
    item_id: UUID
    slug: str
    sku: str
    opens_at_s: float
    stock: int


class Shop:
    """One merchant's owner, signed in, and a crowd's identities."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.client = Client(platform.url)
        self.operator = OperatorClient(self.client)
        self.shoppers: list[Shopper] = []

    async def open(self) -> None:
        """Make the merchant and the shoppers."""
        env = self._platform.direct_env
        settings = Settings.model_validate(
            {name.removeprefix("STAMPEDE_").lower(): value for name, value in env.items()}
        )
        database = Database(make_engine(settings, role="faults"))
        email, password = f"drills-{secrets.token_hex(3)}@stampede.example", secrets.token_urlsafe(12)
        try:
            async with database.transaction() as session:
                await add_operator(session, email, "owner", "Drills", password)
                ids = await create_shoppers(session, SHOPPERS_MAX)
        finally:
            await database.close()
        key = derive_key(settings.secret_key, SHOPPER_TOKEN_LABEL)
        expires_at_ms = now_ms() + SHOPPER_TOKEN_TTL_S * 1000
        self.shoppers = [Shopper(one, issue_shopper_token(key, one, expires_at_ms)) for one in ids]
        await self.operator.sign_in(email, password)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def sale(self, terms: Terms) -> RunningSale:
        """A sale that opens in a moment; back when the pre-flight list is complete. Raises StackError."""
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                return await self._sale(terms, deadline)
            except (Cut, StackError):
                # The fault before may still be felt, say, in an idempotent call that was cut: a new sale, then.
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)

    async def _sale(self, terms: Terms, deadline: float) -> RunningSale:
        mark = secrets.token_hex(4)
        sku = f"DRILL-{mark}"
        await self.operator.post("operator/skus", {"sku": sku, "name": sku}, expect=201)
        opens_at = datetime.now(UTC) + timedelta(seconds=OPENS_IN_S)
        body: dict[str, Any] = {
            "slug": f"drill-{mark}",
            "title": "Drill",
            "opens_at": opens_at.isoformat(),
            "closes_at": (opens_at + timedelta(hours=1)).isoformat(),
            "items": [
                {
                    "sku": sku,
                    "price": {"amount_minor": 1900, "currency": "EUR"},
                    "allotment": terms.stock,
                    "per_shopper_limit": 1,
                }
            ],
            "throttle": {"rate_per_s": 500, "burst": 1000, "wait_budget_ms": 0, "repeat_window_ms": 100},
            "link": {"ttl_s": 300},
        }
        if terms.hold_s is not None:
            body["payment"] = {"required": True, "hold_s": terms.hold_s}
        if terms.durability is not None:
            body["durability"] = terms.durability
        made = await self.operator.post("operator/sales", body, expect=201)
        await self.operator.post(f"operator/sales/{made['id']}/schedule", {"reason": "drill"})
        while not (found := await self.operator.get(f"operator/sales/{made['id']}/preflight"))["ready"]:
            if time.monotonic() > deadline:
                missing = ", ".join(check["name"] for check in found["checks"] if not check["ok"])
                raise StackError(f"the drill's sale was not ready in {READY_WITHIN_S:.0f} s; missing: {missing}")
            await asyncio.sleep(0.1)
        item = made["items"][0]
        return RunningSale(UUID(made["id"]), UUID(item["id"]), made["slug"], sku, opens_at.timestamp(), terms.stock)
