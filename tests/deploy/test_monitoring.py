"""Alert rules, scrape configuration and dashboard: read by Prometheus's own tool, and each alert fired once.

That what they name is exported by a running process is tests/e2e/test_metrics.py's to show.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.project import ROOT, load, mounts, python_services, services

_PROMETHEUS = ROOT / "deploy" / "prometheus"
_GRAFANA = ROOT / "deploy" / "grafana"
_RULES = yaml.safe_load((_PROMETHEUS / "alerts.yml").read_text())
_ALERTS = {rule["alert"]: rule for group in _RULES["groups"] for rule in group["rules"]}
_PROMTOOL_S = 60


def _promtool(*arguments: str, cwd: Path = _PROMETHEUS) -> subprocess.CompletedProcess[str]:
    """Run Debian's promtool. Without it the test is skipped, but never in CI."""
    if shutil.which("promtool") is None and "CI" not in os.environ:
        pytest.skip("no promtool: Debian's package prometheus has it")
    return subprocess.run(
        ["promtool", *arguments], cwd=cwd, capture_output=True, text=True, timeout=_PROMTOOL_S, check=False
    )


def test_prometheus_reads_rules_and_configuration() -> None:
    checked = _promtool("check", "config", "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(_ALERTS)} rules found" in checked.stdout


SALE, ITEM = '{sale="friday"}', '{sale="friday", sku="TEE-M"}'
HEALTHY = {
    f"stampede_sale_oversold_units{SALE}": "0x20",
    f"stampede_sale_drift_units{SALE}": "0x20",
    f"stampede_sale_stranded_units{SALE}": "0x20",
    f"stampede_sale_audit_age_seconds{SALE}": "5x20",
    "stampede_clock_skew_seconds": "0.01x20",
    f"stampede_drain_lag_seconds{ITEM}": "0.2x20",
    f"stampede_backlog_entries{ITEM}": "100x20",
    "stampede_backlog_max_entries": "50000x20",
    'stampede_outbox_oldest_seconds{status="pending"}': "1x20",
    'stampede_outbox_rows{status="pending"}': "3x20",
    "stampede_notifications_oldest_seconds": "2x20",
    'stampede_job_failures_total{job="orders.drain"}': "0x20",
    'stampede_dependency_up{dependency="gate"}': "1x20",
    'stampede_dependency_up{dependency="ledger"}': "1x20",
    'stampede_circuit_open{dependency="ledger"}': "0x20",
    "stampede_gate_unfit_reasons": "0x20",
    'stampede_nudges_total{job="orders.drain", outcome="refused"}': "0x20",
    'stampede_gate_unanswered_attempts_total{job="api"}': "0x20",
    'up{job="api", instance="1"}': "1x20",
    'up{job="api", instance="2"}': "1x20",
    'up{job="worker", instance="1"}': "1x20",
    'up{job="worker", instance="2"}': "1x20",
    'stampede_clock_ticks_total{job="clock"}': "0+15x20",
}
"""A sample every 15 s, for five minutes, of a platform at which nothing is wrong."""
GONE: str | None = None
FAULTS: dict[str, dict[str, str | None]] = {
    "Oversold": {f"stampede_sale_oversold_units{SALE}": "1x20"},
    "Drift": {f"stampede_sale_drift_units{SALE}": "-1x20"},
    "Stranded": {f"stampede_sale_stranded_units{SALE}": "2x20"},
    "SaleStopped": {'stampede_sale_stopped{sale="friday", fault="drift"}': "1x20"},
    "NotAudited": {f"stampede_sale_audit_age_seconds{SALE}": "400x20"},
    "ClockSkew": {"stampede_clock_skew_seconds": "-0.8x20"},
    "DrainLag": {f"stampede_drain_lag_seconds{ITEM}": "30x20"},
    "BacklogNearBound": {f"stampede_backlog_entries{ITEM}": "30000x20"},
    "OutboxStuck": {'stampede_outbox_oldest_seconds{status="pending"}': "90x20"},
    "ReleaseRefused": {'stampede_outbox_rows{status="refused"}': "1x20"},
    "DeadLetters": {'stampede_dead_letters{source="journal"}': "1x20"},
    "NotificationsStuck": {"stampede_notifications_oldest_seconds": "900x20"},
    "JobsFailing": {'stampede_job_failures_total{job="orders.drain"}': "0+15x20"},
    "GateUnreachable": {'stampede_dependency_up{dependency="gate"}': "0x20"},
    "GateUnfit": {"stampede_gate_unfit_reasons": "1x20"},
    "LedgerUnreachable": {'stampede_circuit_open{dependency="ledger"}': "1x20"},
    "BrokerUnreachable": {'stampede_nudges_total{job="orders.drain", outcome="refused"}': "0+15x20"},
    "UnansweredAttempts": {'stampede_gate_unanswered_attempts_total{job="api"}': "0+10x20"},
    "ApiDown": {'up{job="api", instance="1"}': "0x20", 'up{job="api", instance="2"}': "0x20"},
    "WorkerDown": {'up{job="worker", instance="2"}': "0x20"},
    "ClockStopped": {'stampede_clock_ticks_total{job="clock"}': GONE},
}


def _firing(changed: dict[str, str | None], folder: Path, *, expected: str | None) -> subprocess.CompletedProcess[str]:
    """Ask promtool whether, after five minutes of these samples, ``expected`` and no other alert fires."""
    series = {name: values for name, values in {**HEALTHY, **changed}.items() if values is not None}
    asked = [
        {
            "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
            "eval_time": "5m",
            "exp_samples": [{"labels": "{}", "value": 1 if name == expected else 0}],
        }
        for name in _ALERTS
    ]
    test = {
        "rule_files": [str(_PROMETHEUS / "alerts.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": asked,
            }
        ],
    }
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump(test))
    return _promtool("test", "rules", str(path), cwd=folder)


def test_a_healthy_platform_wakes_nobody(tmp_path: Path) -> None:
    told = _firing({}, tmp_path, expected=None)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("alert", sorted(_ALERTS))
def test_a_fault_fires_its_alert_and_no_other(alert: str, tmp_path: Path) -> None:
    told = _firing(FAULTS[alert], tmp_path, expected=alert)
    assert told.returncode == 0, told.stdout + told.stderr
    # The negative control of the check itself: the healthy platform does not pass for it.
    assert _firing({}, tmp_path, expected=alert).returncode != 0


@pytest.mark.parametrize(
    "changed",
    [
        {'stampede_dependency_up{dependency="ledger"}': "0x20"},
        {'up{job="api", instance="1"}': GONE, 'up{job="api", instance="2"}': GONE},
        {'stampede_clock_ticks_total{job="clock"}': "7x20"},
    ],
    ids=["LedgerUnreachable", "ApiDown", "ClockStopped"],
)
def test_the_other_half_of_a_rule_fires_too(
    changed: dict[str, str | None], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    told = _firing(changed, tmp_path, expected=request.node.callspec.id)
    assert told.returncode == 0, told.stdout + told.stderr


def test_each_alert_says_what_to_do() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    section = text.partition("## Metrics and alerts\n")[2].partition("\n## ")[0]
    headings = re.findall(r"^### (\w+)$", section, re.MULTILINE)
    assert headings == list(_ALERTS), "in the order of the rules"
    for name, rule in _ALERTS.items():
        body = section.partition(f"### {name}\n")[2].partition("\n### ")[0]
        assert len(body.split()) > 10, name
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["annotations"]["summary"], name
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"


def test_every_measured_service_is_scraped() -> None:
    """By name, on the port that it listens on, over a network that both are on."""
    config = yaml.safe_load((_PROMETHEUS / "prometheus.yml").read_text())
    targets = {
        (name, target["port"])
        for job in config["scrape_configs"]
        for target in job["dns_sd_configs"]
        for name in target["names"]
    }
    project = load()
    measured = {
        (name, int(one["environment"]["STAMPEDE_METRICS_LISTEN"].rpartition(":")[2]))
        for name, one in python_services(project).items()
        if "STAMPEDE_METRICS_LISTEN" in one.get("environment", {})
    }
    assert targets == measured
    (network,) = services(project)["prometheus"]["networks"]
    assert project["networks"][network] == {"internal": True}
    for name, _ in targets:
        assert network in services(project)[name]["networks"], name
    assert "edge" not in [name for name, one in services(project).items() if network in one.get("networks", [])]
    assert config["global"]["scrape_timeout"] == "10s", "what backend/monitoring/collector.py stays below"


def test_what_containers_mount_is_what_they_look_for() -> None:
    known = services(load())

    def targets(name: str) -> set[str]:
        return {one["target"] for one in known[name]["configs"]}

    command = " ".join(known["prometheus"]["command"])
    assert re.search(r"--config\.file=(\S+)", command)[1] in targets("prometheus")
    config = yaml.safe_load((_PROMETHEUS / "prometheus.yml").read_text())
    assert {f"/etc/prometheus/{name}" for name in config["rule_files"]} <= targets("prometheus")
    assert re.search(r"--storage\.tsdb\.path=(\S+)", command)[1] in [
        target for _, target in mounts(known["prometheus"])
    ]
    (provider,) = yaml.safe_load((_GRAFANA / "provisioning" / "dashboards" / "stampede.yml").read_text())["providers"]
    assert any(target.startswith(provider["options"]["path"]) for target in targets("grafana"))
    (source,) = yaml.safe_load((_GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert source["uid"] == "stampede"


def test_the_dashboard_is_whole(tmp_path: Path) -> None:
    dashboard = json.loads((_GRAFANA / "dashboards" / "stampede.json").read_text())
    panels: list[dict[str, Any]] = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        assert panel["datasource"]["uid"] == "stampede"
        assert panel["targets"], panel["title"]
    # Prometheus reads every query: as rules, because promtool has no check for a bare one.
    queries = [target["expr"].replace("$sale", ".*") for panel in panels for target in panel["targets"]]
    queries = [query.replace('{sale=~".*"}', "") for query in queries]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = _promtool("check", "rules", str(path), cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
