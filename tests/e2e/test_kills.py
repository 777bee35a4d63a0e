"""Kills in the middle of a sale: the stack restarts what died, and every acknowledged attempt gets its verdict."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest_asyncio

from stack.demo.http import Client
from stack.demo.shoppers import Crowd, Sample
from stack.demo.witness import Witness
from stack.state import load_processes
from tests.e2e.shop import Merchant, Plan, Platform, RunningSale, wait_until

STOCK = 120
SHOPPERS = 360
SPREAD_S = 14
VERDICT_S = 60
# Seconds after the opening, while the crowd is still arriving.
KILLS = ((1.0, "worker"), (3.5, "api"), (6.0, "gate"), (9.0, "postgres"))


@pytest_asyncio.fixture(loop_scope="session")
async def own_platform(tmp_path: Path):
    """A platform of this test alone: the others' must not be shot at."""
    running = await Platform.start(tmp_path / "platform")
    yield running
    await running.stop()


def _pid_of(platform: Platform, role: str) -> int:
    return next(row.pid for row in load_processes(platform.data_dir) if row.role == role)


async def _kill_one_after_the_other(platform: Platform, sale: RunningSale) -> None:
    opens_at_s = sale.opens_at.timestamp()
    for after_s, role in KILLS:
        await asyncio.sleep(max(0.0, opens_at_s + after_s - time.time()))
        killed = _pid_of(platform, role)
        os.kill(killed, signal.SIGKILL)

        async def back(role: str = role, killed: int = killed) -> bool:
            rows = load_processes(platform.data_dir)
            return killed not in {row.pid for row in rows} and role in {row.role for row in rows}

        await wait_until(f"a new {role}", back, VERDICT_S)


async def test_no_acknowledged_attempt_is_lost_when_worker_api_gate_and_database_are_killed(
    own_platform: Platform,
) -> None:
    merchant = await Merchant.join(own_platform, "Northwind Supply")
    tokens = (await own_platform.command("shopper-token", "--count", str(SHOPPERS))).split()
    sale = await merchant.sell(Plan(items={"m": STOCK}, opens_in_s=4))
    client = Client(own_platform.url)
    witness = Witness(sale.opens_at.timestamp())
    sample = Sample(sale.slug, sale.skus["m"], sale.opens_at.timestamp(), pays=1.0, waits=0.0, spread_s=SPREAD_S)
    crowd = Crowd(client, witness, sample, tokens, seed=7)
    try:
        async with asyncio.timeout(SPREAD_S + 4 * VERDICT_S), asyncio.TaskGroup() as both:
            both.create_task(crowd.run())
            both.create_task(_kill_one_after_the_other(own_platform, sale))

        async def decided() -> bool:
            answer = await merchant.http.get(f"audit/sales/{sale.id}/balance")
            return answer.is_success and answer.json()["drift"] == 0 and answer.json()["items"][0]["in_flight"] == 0

        await wait_until("every entry decided, drift 0", decided, VERDICT_S)
        witness.check(stock=STOCK, limit=1)
        assert witness.broken == []
        assert {one.status for one in witness.tickets.values()} == {"confirmed"}
        balance = (await merchant.http.get(f"audit/sales/{sale.id}/balance")).json()
        assert (balance["oversold"], balance["stranded"], balance["drift"]) == (0, 0, 0)
        # Three times the stock wanted one: each unit is somebody's, and each sale was witnessed.
        assert balance["items"][0]["ledger"]["sold"] == STOCK
        assert STOCK - witness.unknown <= len(witness.tickets) <= STOCK
        run = await merchant.http.post(
            f"audit/sales/{sale.id}/reconciliations", json={}, headers={"Idempotency-Key": "after-the-kills"}
        )
        assert (run.status_code, run.json()["verdict"], run.json()["findings"]) == (201, "clean", [])
    finally:
        await client.close()
        await merchant.http.aclose()
