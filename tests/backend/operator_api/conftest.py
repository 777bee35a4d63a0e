"""The API in this process, on this test's database and gate, and operators signed in to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from sqlalchemy import text

from backend.accounts import Hashing, add_operator
from backend.api import AppState
from backend.app import Platform, create_app
from backend.core.clock import rfc3339
from backend.gate import LaneId
from backend.models import Role
from backend.orders import Drain, Drained
from backend.sales import configure_lanes
from backend.settings import Settings

PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
"""A sign-in in each test must not cost 124 ms of both cores."""
_keys = count(1)


@dataclass
class Operator:
    """An operator with a token, who sends a fresh key with each change unless told which."""

    client: httpx.AsyncClient
    token: str
    email: str = ""
    last_key: str = field(default="", init=False)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(f"/api/v1/operator{path}", headers=self._headers(), **options)

    async def send(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        self.last_key = key or f"test-{next(_keys)}"
        sent = {**self._headers(), "Idempotency-Key": self.last_key} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return await self.client.request(method, f"/api/v1/operator{path}", headers=sent, json=body)

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        return await self.send("POST", path, body, key=key)

    async def ok(self, path: str, body: Any = None) -> Any:
        """A POST that must succeed; its answer."""
        response = await self.post(path, body)
        assert response.is_success, response.text
        return response.json()

    async def make_sale(self, slug: str, *, opens_in_s: float = 3600, lasts_s: float = 3600, **fields: Any) -> Any:
        """A draft with one item, ``TEE-M``, of ten units."""
        await self.post("/skus", {"sku": "TEE-M", "name": "Tee, size M"})
        return await self.ok("/sales", sale_body(slug, opens_in_s=opens_in_s, lasts_s=lasts_s, **fields))

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def sale_body(slug: str, *, opens_in_s: float = 3600, lasts_s: float = 3600, **fields: Any) -> dict[str, Any]:
    opens_at = datetime.now(UTC) + timedelta(seconds=opens_in_s)
    return {
        "slug": slug,
        "title": "Friday tee",
        "opens_at": rfc3339(opens_at),
        "closes_at": rfc3339(opens_at + timedelta(seconds=lasts_s)),
        "time_zone": "Europe/Berlin",
        "items": [{"sku": "TEE-M", "price": {"amount_minor": 1900, "currency": "EUR"}, "allotment": 10}],
        **fields,
    }


@pytest.fixture
def settings(database_url: str, gate_url: str, broker_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        environment="local",
        database_url=database_url,
        gate_url=gate_url,
        broker_url=broker_url,
        pages_dir=tmp_path / "pages",
    )


@pytest_asyncio.fixture(loop_scope="session")
async def platform(settings: Settings) -> AsyncIterator[Platform]:
    app = create_app(settings)
    async with app.api.router.lifespan_context(app.api):
        app.api.state.stampede = replace(app.api.state.stampede, hashing=Hashing(CHEAP))
        yield app


@pytest.fixture
def state(platform: Platform) -> AppState:
    state: AppState = platform.api.state.stampede
    return state


@pytest_asyncio.fixture(loop_scope="session")
async def client(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=platform)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        yield client


@pytest.fixture
def sign_in(client: httpx.AsyncClient, state: AppState) -> Callable[..., Awaitable[Operator]]:
    """``await sign_in(role, merchant)`` makes an operator and signs in."""

    async def make(role: Role = Role.OWNER, merchant: str = "Acme") -> Operator:
        email = f"{role}-{next(_keys)}@acme.example"
        async with state.database.transaction() as session:
            await add_operator(session, email, role, merchant, PASSWORD, hashing=state.hashing)
        response = await client.post("/api/v1/operator/session", json={"email": email, "password": PASSWORD})
        assert response.status_code == 201, response.text
        return Operator(client, response.json()["access_token"], email)

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def owner(sign_in: Callable[..., Awaitable[Operator]]) -> Operator:
    return await sign_in()


@pytest.fixture
def open_now(state: AppState) -> Callable[[Any], Awaitable[None]]:
    """Let a scheduled sale have opened a second ago, in both stores, without a test's having to wait for it."""

    async def move(sale: Any) -> None:
        sale_id = UUID(sale["id"])
        async with state.database.transaction() as session:
            await session.execute(
                text(
                    "UPDATE sales SET opens_at = now() - interval '1 second', config_version = config_version + 1 "
                    "WHERE id = :id"
                ),
                {"id": sale_id},
            )
        await configure_lanes(state.database, state.gate, state.settings, sale_id)

    return move


@pytest.fixture
def drain(state: AppState) -> Callable[[LaneId], Awaitable[Drained]]:
    """Apply what is new in one lane's journal to the ledger."""
    return Drain(state.database, state.gate).drain_lane
