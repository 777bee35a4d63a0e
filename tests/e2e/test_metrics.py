"""Every process of the running stack tells Prometheus what it measures; the edge tells nobody."""

import json
import re
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import yaml
from prometheus_client.parser import text_string_to_metric_families

from stack.demo.http import Client
from stack.demo.shoppers import Crowd, Sample
from stack.demo.witness import Witness
from tests.e2e.shop import Merchant, Plan, Platform, wait_until

ROOT = Path(__file__).parents[2]
PROCESSES = {"api-1", "api-2", "worker-orders", "worker-notify", "clock"}
_NAME = re.compile(r"\b(?:stampede|process)_[a-z0-9_]+\b")
_OF_PROMETHEUS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
WITHIN_S = 60


def _ports(platform: Platform) -> dict[str, int]:
    """The metrics port of each process, by its name."""
    book = json.loads((platform.data_dir / "ports.json").read_text())
    return {name.removesuffix("-metrics"): port for name, port in book.items() if name.endswith("-metrics")}


async def scrape(platform: Platform) -> dict[str, str]:
    """What each process answers."""
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        answers = {}
        for name, port in _ports(platform).items():
            answer = await client.get(f"http://127.0.0.1:{port}/metrics")
            assert answer.status_code == 200, name
            answers[name] = answer.text
    return answers


def families(text: str) -> dict[str, list]:
    """Samples by the name that a query uses."""
    found: dict[str, list] = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(family.name, [])
        if family.type == "counter":
            found.setdefault(f"{family.name}_total", [])
        if family.type == "histogram":
            found |= {f"{family.name}_{part}": [] for part in ("bucket", "sum", "count")}
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sold(platform: Platform):
    """A sale of 5 units that 12 wanted, all of it decided; its slug and SKU."""
    merchant = await Merchant.join(platform, "Metrics & Co")
    tokens = (await platform.command("shopper-token", "--count", "12")).split()
    sale = await merchant.sell(Plan(items={"m": 5}, opens_in_s=2))
    client = Client(platform.url)
    opens_at_s = sale.opens_at.timestamp()
    crowd = Crowd(
        client,
        Witness(opens_at_s),
        Sample(sale.slug, sale.skus["m"], opens_at_s, pays=1.0, waits=0.0, spread_s=1),
        tokens,
        seed=3,
    )
    await crowd.run()
    await client.close()
    await merchant.http.aclose()
    yield sale.slug, sale.skus["m"], tokens


async def test_every_process_is_measured(platform: Platform, sold) -> None:
    answers = await scrape(platform)
    assert set(answers) == PROCESSES
    for name, text in answers.items():
        found = families(text)
        assert found["process_resident_memory_bytes"][0].value > 1_000_000, name
    api = [families(answers[name]) for name in ("api-1", "api-2")]
    assert sum(one["stampede_gate_batch_attempts_sum"][0].value for one in api) >= 5
    assert sum(one["stampede_gate_call_seconds_count"][0].value for one in api) >= 1
    ticks = families(answers["clock"])["stampede_clock_ticks_total"][0].value
    assert ticks >= 1
    taken = {
        sample.labels["job"]
        for sample in families(answers["clock"])["stampede_nudges_total"]
        if sample.labels["outcome"] == "taken"
    }
    assert {"orders.drain", "gate.relay"} <= taken
    worker = families(answers["worker-orders"])
    assert sum(sample.value for sample in worker["stampede_drain_entries_total"]) >= 5
    assert "orders.expire" in {sample.labels["job"] for sample in worker["stampede_job_seconds_count"]}


async def test_the_sale_is_told_as_ledger_and_gate_have_it(platform: Platform, sold) -> None:
    slug, sku, _ = sold

    async def told() -> dict[str, list] | None:
        found = families((await scrape(platform))["worker-orders"])
        audited = [one for one in found["stampede_sale_drift_units"] if one.labels["sale"] == slug]
        units = {one.labels["state"]: one.value for one in found["stampede_item_units"] if one.labels["sale"] == slug}
        return found if audited and units.get("sold") == 5 else None

    found = await wait_until("the audit's figures", told, WITHIN_S)

    def of(name: str) -> list:
        return [one for one in found[name] if one.labels.get("sale") == slug]

    assert {one.labels["dependency"]: one.value for one in found["stampede_dependency_up"]} == {"ledger": 1, "gate": 1}
    assert [one.value for one in of("stampede_sale_oversold_units")] == [0]
    assert [one.value for one in of("stampede_sale_stranded_units")] == [0]
    assert [one.value for one in of("stampede_sale_drift_units")] == [0]
    assert [one.value for one in of("stampede_backlog_entries")] == [0]
    assert [one.value for one in of("stampede_drain_lag_seconds")] == [0]
    assert of("stampede_sale_stopped") == []
    assert {one.labels["state"]: one.value for one in of("stampede_item_units")} == {
        "available": 0,
        "reserved": 0,
        "sold": 5,
    }
    attempts = {one.labels["outcome"]: one.value for one in of("stampede_attempts_total")}
    assert attempts["reserved"] == 5
    assert attempts["sold_out"] >= 1
    assert {one.labels["sku"] for one in of("stampede_gate_units")} == {sku}


async def test_rules_and_dashboard_name_what_is_exported(platform: Platform, sold) -> None:
    exported = {name for text in (await scrape(platform)).values() for name in families(text)}
    assert exported >= _OF_PROMETHEUS
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    asked = {
        name
        for group in yaml.safe_load(rules)["groups"]
        for rule in group["rules"]
        for name in _NAME.findall(rule["expr"])
    }
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "stampede.json").read_text())
    shown = {
        name for panel in dashboard["panels"] for target in panel["targets"] for name in _NAME.findall(target["expr"])
    }
    assert len(asked) > 15
    assert len(shown) > 20
    assert (asked | shown) - exported == set()
    ours = {name for name in exported if name.startswith("stampede_") and not name.endswith(("_created", "_bucket"))}
    stems = {re.sub(r"_(total|sum|count)$", "", name) for name in ours}
    assert stems == {re.sub(r"_(total|sum|count|bucket)$", "", one) for one in asked | shown if one.startswith("stam")}


async def test_nobody_is_named(platform: Platform, sold) -> None:
    """No token, contact, address or password; and few values for each label."""
    secrets = json.loads((platform.data_dir / "secrets.json").read_text()).values()
    for name, text in (await scrape(platform)).items():
        assert "@" not in text, name
        assert not [secret for secret in (*secrets, *sold[2]) if secret in text], name
        labels = {
            (key, value) for samples in families(text).values() for one in samples for key, value in one.labels.items()
        }
        assert {key for key, _ in labels} <= {
            "le", "job", "outcome", "dependency", "sale", "sku", "state", "fault", "status", "source",
            "generation", "implementation", "major", "minor", "patchlevel", "version",
        }  # fmt: skip


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/metrics", "/api/metrics", "/console/metrics"])
async def test_the_edge_passes_none_of_it_on(platform: Platform, path: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{platform.url}{path}", follow_redirects=False)
    assert "stampede_" not in answer.text
    assert "process_cpu" not in answer.text
    if not path.startswith("/console"):
        assert answer.status_code == 404


async def test_they_listen_on_loopback_alone(platform: Platform) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    addresses = {}
    for line in listening:
        _, local, _, state, *_ = line.split()
        host, port = local.split(":")
        if state == "0A":
            addresses[int(port, 16)] = host
    assert {addresses.get(port) for port in _ports(platform).values()} == {"0100007F"}
