"""Real processes on either broker: an API, two workers, a clock. Whatever befalls the broker, buys go on, nothing is
lost, and work resumes by itself."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from backend.settings import Settings
from stack.roles import HttpServer, PythonServer
from stack.servers import GateServer, PostgresServer
from stack.servers.postgres import APP_ROLE, OWNER_ROLE
from tests.backend.server import as_shopper
from tests.backend.shop import SECRET_KEY, Shop, Stall
from tests.support.brokers import FAULTS, BrokerServer
from tests.workers.test_brokers import GARBAGE

WITHIN_S = 60
"""For what must happen at last, on a machine that does much else."""
ENDS_WITHIN_S = 10
"""Twice what a process of ours may take to end; the supervisor kills later than that."""
BUYS = 10


@dataclass
class AtWork:
    """The processes, the ledger and the gate behind them."""

    broker: BrokerServer
    shop: Shop
    api: HttpServer
    processes: dict[str, PythonServer] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api.port}"

    async def buy(self, client: httpx.AsyncClient, stall: Stall) -> UUID:
        """One shopper's unit, over HTTP; the shopper."""
        shopper = await self.shop.shopper()
        headers = as_shopper(self.shop, shopper)
        async with asyncio.timeout(30):
            while True:
                made = await client.post(f"/api/v1/sales/{stall.slug}/items/TEE-M/link", headers=headers)
                if made.status_code != 503:  # on a machine that is busy for seconds the gate answers late
                    break
                await asyncio.sleep(0.2)
        assert made.status_code == 201, made.text
        bought = await client.post(made.json()["buy_path"], headers={**headers, "Idempotency-Key": "one"})
        assert bought.status_code == 202, bought.text
        return shopper

    async def statuses(self, stall: Stall) -> dict[str, int]:
        """Reservations by status, in the ledger."""
        rows = await self.shop.sql(
            "SELECT status, count(*) FROM reservations WHERE item_id = :item GROUP BY 1", item=stall.items["TEE-M"]
        )
        return {row[0]: row[1] for row in rows}

    async def works(self, stall: Stall, bought: int) -> None:
        """Every unit that was bought reaches the ledger, its hold ends, and the gate offers it again: a drain, an
        expiry and a relay, each asked for over the broker. Then the sale stands as at its start."""
        item = stall.items["TEE-M"]

        async def decided() -> bool:
            return sum((await self.statuses(stall)).values()) == bought

        await eventually("every 202 has its verdict", decided)
        await self.shop.sql(
            "UPDATE reservations SET expires_at = now() - interval '1 second' "
            "WHERE item_id = :item AND status = 'reserved'",
            item=item,
        )

        async def given_back() -> bool:
            return await self.statuses(stall) == {"expired": bought}

        await eventually("every hold has ended", given_back)

        async def offered() -> bool:
            reading = await self.shop.gate.read(stall.lane())
            (row,) = await self.shop.sql(
                "SELECT available, (SELECT count(*) FROM gate_outbox WHERE item_id = :item AND status <> 'done') "
                "FROM sale_items WHERE id = :item",
                item=item,
            )
            return reading.available == row[0] == 1_000 and row[1] == 0

        await eventually("the gate offers every unit again", offered)


async def eventually(what: str, look: Callable[[], Awaitable[bool]]) -> None:
    until = time.monotonic() + WITHIN_S
    while not await look():
        assert time.monotonic() < until, f"{what}: not within {WITHIN_S} s"
        await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def at_work(
    running: BrokerServer,
    postgres_server: PostgresServer,
    gate_server: GateServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[AtWork]:
    folder = tmp_path_factory.mktemp("at-work")
    database = f"brokers_{uuid4().hex[:8]}"
    await postgres_server.create_database(database, template="stampede_template")
    await gate_server.flush()
    await running.empty()
    env = {
        "STAMPEDE_ENVIRONMENT": "local",
        "STAMPEDE_SECRET_KEY": SECRET_KEY,
        "STAMPEDE_DATABASE_URL": postgres_server.url_for(database, APP_ROLE),
        "STAMPEDE_GATE_URL": gate_server.url,
        "STAMPEDE_BROKER_URL": running.url,
        "STAMPEDE_PAGES_DIR": str(folder / "pages"),
        # A busy test machine is no fault of the gate's.
        "STAMPEDE_GATE_TIMEOUT_S": "10",
    }
    settings = Settings(
        _env_file=None,
        environment="local",
        secret_key=SECRET_KEY,
        database_url=env["STAMPEDE_DATABASE_URL"],
        gate_url=env["STAMPEDE_GATE_URL"],
        broker_url=env["STAMPEDE_BROKER_URL"],
        pages_dir=Path(env["STAMPEDE_PAGES_DIR"]),
    )
    api = HttpServer("api", "api", folder, "backend.main", env=env)
    work = "orders,release,control,pages"
    processes = {
        "worker-1": PythonServer("worker-1", "worker", folder, "workers", "--queues", work, env=env),
        "worker-2": PythonServer("worker-2", "worker", folder, "workers", "--queues", work, env=env),
        "clock": PythonServer("clock", "clock", folder, "workers.clock", env=env),
    }
    shop = Shop(settings, postgres_server.url_for(database, OWNER_ROLE))
    everybody = [api, *processes.values()]
    try:
        await asyncio.gather(*(server.start() for server in everybody))
        yield AtWork(running, shop, api, processes)
    finally:
        for server in everybody:
            await server.stop()
        await shop.close()
        await postgres_server.drop_database(database)


@pytest_asyncio.fixture(loop_scope="session")
async def client(at_work: AtWork) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=at_work.url, timeout=WITHIN_S, trust_env=False) as opened:
        yield opened


async def _sale(at_work: AtWork) -> Stall:
    return await at_work.shop.sale(items={"TEE-M": 1_000}, payment_required=True)


async def test_nudges_reach_the_workers(at_work: AtWork, client: httpx.AsyncClient) -> None:
    stall = await _sale(at_work)
    for _ in range(BUYS):
        await at_work.buy(client, stall)
    await at_work.works(stall, BUYS)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broker_at_fault_touches_no_buy_and_loses_nothing(
    at_work: AtWork, client: httpx.AsyncClient, fault: str
) -> None:
    """Every process is the same before and after; who asks the API for a nudge gets an answer all the same."""
    stall = await _sale(at_work)
    await at_work.buy(client, stall)
    pids = {name: server.pid for name, server in at_work.processes.items()}
    async with at_work.broker.suffering(fault):
        async with asyncio.timeout(WITHIN_S):
            for _ in range(BUYS):
                await at_work.buy(client, stall)
            code = await client.post("/api/v1/shoppers/codes", json={"contact": f"{uuid4().hex}@shop.example"})
            assert code.status_code == 202
            await asyncio.gather(*(at_work.buy(client, stall) for _ in range(BUYS)))
    await at_work.works(stall, 1 + 2 * BUYS)
    assert {name: server.pid for name, server in at_work.processes.items()} == pids, "nobody had to be restarted"


async def test_garbage_on_every_queue_stops_no_worker(at_work: AtWork, client: httpx.AsyncClient) -> None:
    """More of it than there are threads: a kind that ends one would end them all."""
    stall = await _sale(at_work)
    for queue in ("orders", "release", "control", "pages"):
        await at_work.broker.put(queue, *(20 * list(GARBAGE.values())))
    for _ in range(BUYS):
        await at_work.buy(client, stall)
    await at_work.works(stall, BUYS)


async def test_a_killed_workers_work_is_done_by_the_other(at_work: AtWork, client: httpx.AsyncClient) -> None:
    stall = await _sale(at_work)
    for _ in range(BUYS):
        await at_work.buy(client, stall)
    victim = at_work.processes["worker-1"]
    victim.kill()
    try:
        for _ in range(BUYS):
            await at_work.buy(client, stall)
        await at_work.works(stall, 2 * BUYS)
    finally:
        await victim.start()


async def test_a_frozen_broker_does_not_keep_a_process_from_ending(at_work: AtWork) -> None:
    """SIGTERM, and it ends by itself: a supervisor's kill would cut off whatever else it does."""
    async with at_work.broker.suffering("frozen"):
        # Long enough for the clock to be in the middle of a call that is not answered.
        await asyncio.sleep(2)
        everybody = [at_work.api, *at_work.processes.values()]
        try:
            for server in everybody:
                assert server.pid is not None
                os.kill(server.pid, signal.SIGTERM)
            until = time.monotonic() + ENDS_WITHIN_S
            while still := [server.name for server in everybody if server.running]:
                assert time.monotonic() < until, f"{still} still run"
                await asyncio.sleep(0.1)
        finally:
            await at_work.broker._thaw()
    for server in everybody:
        await server.start()
