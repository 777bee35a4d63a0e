"""What Prometheus is told of the sales, on real stores: behind, given back, given up, stopped, a store away."""

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from backend.gate import Gate
from backend.models import Database, Fault, make_engine
from backend.monitoring import SalesCollector, Snapshot, take_snapshot
from backend.sales import apply_configs
from tests.backend.shop import Shop, Stall

BACKLOG_MAX = 50_000


async def told(shop: Shop, **stores: object) -> dict[tuple[str, ...], float]:
    """Name and label values of every sample, as a scrape finds them; sale and item before the other labels."""
    database, gate = stores.get("database", shop.database), stores.get("gate", shop.gate)
    registry = CollectorRegistry()
    collector = SalesCollector(
        lambda: take_snapshot(database, gate), asyncio.get_running_loop(), backlog_max=BACKLOG_MAX
    )
    registry.register(collector)
    text = (await asyncio.to_thread(generate_latest, registry)).decode()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels, key=_sale_first))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _sale_first(name: str) -> tuple[bool, str]:
    return name not in ("sale", "sku"), name


def _of(found: dict[tuple[str, ...], float], name: str, stall: Stall) -> dict[tuple[str, ...], float]:
    return {key[2:]: value for key, value in found.items() if key[:2] == (name, stall.slug)}


async def test_a_backlog_and_its_age(shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 5, "TEE-L": 3})
    await shop.drain(stall)
    for _ in range(3):
        await shop.buy(stall)
    await asyncio.sleep(0.05)
    found = await told(shop)
    assert _of(found, "stampede_backlog_entries", stall) == {("TEE-M",): 3, ("TEE-L",): 0}
    lag = _of(found, "stampede_drain_lag_seconds", stall)
    assert lag["TEE-M",] >= 0.05
    assert lag["TEE-L",] == 0
    assert _of(found, "stampede_gate_units", stall) == {("TEE-M",): 2, ("TEE-L",): 3}
    assert _of(found, "stampede_attempts_total", stall)["TEE-M", "reserved"] == 3
    assert _of(found, "stampede_item_units", stall)["TEE-M", "available"] == 5, "the ledger has not heard"
    assert found["stampede_backlog_max_entries",] == BACKLOG_MAX
    await shop.drain(stall)
    found = await told(shop)
    assert _of(found, "stampede_backlog_entries", stall) == {("TEE-M",): 0, ("TEE-L",): 0}
    assert _of(found, "stampede_drain_lag_seconds", stall)["TEE-M",] == 0
    assert _of(found, "stampede_item_units", stall)["TEE-M", "available"] == 2


async def test_what_waits_and_what_was_given_up(shop: Shop) -> None:
    stall = await shop.sale(payment_required=True)
    await shop.buy(stall)
    await shop.drain(stall)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 minute'")
    assert await shop.expire() == 1
    await shop.sql("UPDATE gate_outbox SET created_at = now() - interval '90 seconds'")
    await shop.sql("UPDATE notifications SET created_at = now() - interval '400 seconds', due_at = now()")
    await shop.sql(
        "INSERT INTO dead_letters (id, source, reference, error, payload) "
        "VALUES (gen_random_uuid(), 'outbox', 'r', 'e', '{}')"
    )
    found = await told(shop)
    assert found["stampede_outbox_rows", "pending"] == 1
    assert 90 <= found["stampede_outbox_oldest_seconds", "pending"] < 200
    assert found["stampede_notifications_due",] >= 1
    assert 400 <= found["stampede_notifications_oldest_seconds",] < 600
    assert found["stampede_dead_letters", "outbox"] == 1
    await shop.relay()
    await shop.drain(stall)
    await shop.sql("UPDATE dead_letters SET resolved_at = now()")
    found = await told(shop)
    assert not [key for key in found if key[0] in ("stampede_outbox_rows", "stampede_dead_letters")]


async def test_a_stopped_sale_and_its_audit(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.change(stall, fault=Fault.DRIFT.value)
    await apply_configs(shop.database, shop.gate, shop.settings)
    await shop.sql(
        "INSERT INTO reconciliation_runs (id, sale_id, trigger, verdict, oversold, stranded, drift, duplicates, "
        "findings, balance, started_at, finished_at) VALUES "
        "(gen_random_uuid(), :sale, 'clock', 'clean', 9, 9, 9, 0, '[]', '{}', now() - interval '1 hour', now()), "
        "(gen_random_uuid(), :sale, 'clock', 'findings', 1, 2, -3, 0, '[]', '{}', now(), now())",
        sale=stall.sale_id,
    )
    found = await told(shop)
    assert _of(found, "stampede_sale_stopped", stall) == {("drift",): 1}
    figures = [found[f"stampede_sale_{name}_units", stall.slug] for name in ("oversold", "stranded", "drift")]
    assert figures == [1, 2, -3], "the newest run's"
    assert found["stampede_sale_audit_age_seconds", stall.slug] < 60


async def test_a_closed_sale_is_not_told(shop: Shop) -> None:
    stall = await shop.sale()
    assert _of(await told(shop), "stampede_item_units", stall)
    await shop.sql("UPDATE sales SET stage = 'reconciled' WHERE id = :sale", sale=stall.sale_id)
    assert not [key for key in await told(shop) if stall.slug in key]


@pytest.fixture
def dead_gate() -> Iterator[Gate]:
    return Gate.connect("redis://127.0.0.1:1/0", timeout_s=0.5, name="tests")


async def test_without_the_gate_the_ledger_is_still_told(shop: Shop, dead_gate: Gate) -> None:
    stall = await shop.sale()
    found = await told(shop, gate=dead_gate)
    assert found["stampede_dependency_up", "gate"] == 0
    assert found["stampede_dependency_up", "ledger"] == 1
    assert _of(found, "stampede_item_units", stall)["TEE-M", "available"] == 10
    assert not _of(found, "stampede_gate_units", stall)
    await dead_gate.close()


async def test_without_the_ledger_it_says_so(shop: Shop) -> None:
    settings = shop.settings.model_copy(update={"database_url": "postgresql+asyncpg://a:b@127.0.0.1:1/none"})
    database = Database(make_engine(settings, role="tests"))
    try:
        found = await told(shop, database=database)
        assert found["stampede_dependency_up", "ledger"] == 0
        assert found["stampede_dependency_up", "gate"] == 1
    finally:
        await database.close()


async def test_a_loop_that_does_not_answer_is_no_dead_scrape(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.monitoring.collector.ANSWER_WITHIN_S", 0.2)

    async def never() -> Snapshot:
        await asyncio.Event().wait()
        raise AssertionError

    registry = CollectorRegistry()
    registry.register(SalesCollector(never, asyncio.get_running_loop(), backlog_max=1))
    text = (await asyncio.to_thread(generate_latest, registry)).decode()
    assert 'stampede_dependency_up{dependency="ledger"} 0.0' in text
