"""The API on a real port, in this process: for what has to cross HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import uvicorn

from backend.accounts import SHOPPER_TOKEN_LABEL, issue_shopper_token, sign_in
from backend.accounts.passwords import Hashing
from backend.accounts.service import add_operator
from backend.app import create_app
from backend.core.clock import now_ms
from backend.core.hot_protocol import hot_protocol
from backend.core.signing import derive_key
from backend.settings import Settings
from tests.backend.shop import Shop, Stall

PASSWORD = "correct horse battery"


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the test runner."""
        yield


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running API; ``settings.public_url`` must name the port that is free now."""
    port = int(settings.public_url.rpartition(":")[2])
    platform = create_app(settings)
    protocol = hot_protocol(platform.find_hot)
    config = uvicorn.Config(platform, host="127.0.0.1", port=port, log_config=None, lifespan="on", http=protocol)
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), task.exception()
        await asyncio.sleep(0.01)
    try:
        async with httpx.AsyncClient(base_url=settings.public_url, timeout=20, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        await task


def free_origin() -> str:
    """An origin on a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def as_shopper(shop: Shop, shopper_id: object) -> dict[str, str]:
    """The headers of a signed-in shopper."""
    key = derive_key(shop.settings.secret_key, SHOPPER_TOKEN_LABEL)
    token = issue_shopper_token(key, shopper_id, now_ms() + 60_000)  # type: ignore[arg-type]
    return {"Authorization": f"Bearer {token}"}


async def as_operator(shop: Shop, role: str, stall: Stall | None = None) -> dict[str, str]:
    """The headers of a signed-in operator, of the stall's merchant when one is given."""
    email = f"{role}-{now_ms()}@merchant.example"
    async with shop.database.transaction() as session:
        await add_operator(session, email, role, f"Merchant {email}", PASSWORD)
    if stall is not None:
        await shop.sql(
            "UPDATE operators SET merchant_id = :merchant WHERE email = :email", merchant=stall.merchant_id, email=email
        )
    signed_in = await sign_in(shop.database, Hashing(), email, PASSWORD)
    return {"Authorization": f"Bearer {signed_in.access_token}"}
