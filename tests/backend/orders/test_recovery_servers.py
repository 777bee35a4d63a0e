"""Whole servers: a gate store that comes back empty, a PostgreSQL that comes back older."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from backend.gate import Gate, GateUnavailable, Outcome
from backend.models import Database, make_engine
from backend.settings import Settings
from stack.servers import GateServer, PostgresServer
from stack.servers.postgres import APP_ROLE
from tests.support.recovery import ask_for_rebuild, assert_whole, buy, recover, replay, same, verdicts
from tests.support.shop import Shop


class _Backup:
    """PostgreSQL at an earlier moment: a copy of the whole database, and the shop on it."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self._server = server
        self._name = name
        self.restored: Database | None = None

    async def take(self, shop: Shop) -> None:
        await shop.database.close()  # a copy is made of a database that nobody is connected to
        await self._server.create_database(f"{self._name}_backup", template=self._name)

    def restore(self, shop: Shop, settings: Settings) -> Shop:
        url = self._server.url_for(f"{self._name}_backup", APP_ROLE)
        self.restored = Database(make_engine(settings.model_copy(update={"database_url": url}), role="tests"))
        return replace(shop, database=self.restored)

    async def drop(self) -> None:
        if self.restored is not None:
            await self.restored.close()
        await self._server.drop_database(f"{self._name}_backup")


@pytest_asyncio.fixture(loop_scope="session")
async def backup(postgres_server: PostgresServer, fresh_database: str) -> AsyncIterator[_Backup]:
    backup = _Backup(postgres_server, fresh_database)
    yield backup
    await backup.drop()


async def test_a_ledger_restored_to_an_earlier_moment_drains_the_kept_journal_again(
    shop: Shop, settings: Settings, backup: _Backup
) -> None:
    early = await buy(shop, 2)
    await shop.settle()
    await backup.take(shop)
    late = await buy(shop, 4)
    await shop.settle()
    shop = backup.restore(shop, settings)
    assert await shop.cursor() == (2, 8)
    assert await verdicts(shop, late) == ["queued"] * 4
    assert await recover(shop, settings) == []
    await assert_whole(shop)
    assert await verdicts(shop, early + late) == ["confirmed"] * 6
    assert shop.lane.generation == 1


async def test_a_ledger_older_than_its_gates_generation_takes_back_what_the_gate_knows(
    shop: Shop, settings: Settings, backup: _Backup
) -> None:
    early = await buy(shop, 2)
    await shop.settle()
    await backup.take(shop)
    late = await buy(shop, 2)
    await shop.settle()
    await ask_for_rebuild(shop)
    await recover(shop, settings)
    await shop.settle()
    later = await buy(shop, 2)
    await shop.settle()
    shop = backup.restore(shop, settings)
    steps = await recover(shop, settings)
    assert await shop.alarms() == ["fault.forked"]
    assert steps.figures("sale.recovered")["survivors"] == 4
    assert shop.lane.generation == 3
    assert await shop.rows("SELECT generation FROM closed_generations") == [(1,)], "the gate's own is not used again"
    await assert_whole(shop)
    won = early + late + later
    assert await verdicts(shop, won) == ["confirmed"] * 6
    assert await replay(shop, won) == same(won)
    await buy(shop, 4)
    assert (await shop.lane.buy()).outcome is Outcome.SOLD_OUT


async def test_a_killed_store_that_comes_back_empty_is_rebuilt(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    async with GateServer(tmp_path) as server:
        gate = Gate.connect(server.url, timeout_s=10.0, name="tests")
        admin = server.admin()
        try:
            shop = await Shop.open(database, gate, admin)
            won = await buy(shop, 4)
            await shop.settle()
            server.kill()
            with pytest.raises(GateUnavailable):
                await shop.lane.buy()
            assert await recover(shop, settings) == []
            assert await shop.fault() is None, "a store that is away has lost nothing yet"
            shutil.rmtree(tmp_path / "gate" / "appendonlydir")
            await server.start()
            assert (await shop.lane.buy()).outcome is Outcome.NOT_LOADED
            await recover(shop, settings)
            await assert_whole(shop)
            assert await replay(shop, won) == same(won)
            await buy(shop, 6)
            assert (await shop.lane.buy()).outcome is Outcome.SOLD_OUT
        finally:
            await admin.aclose()
            await gate.close()
