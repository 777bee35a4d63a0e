"""The audit over real HTTP: who may read and run, the bodies that clients rely on, exports that are only text."""

import csv
import io
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from backend.core.cells import csv_of, neutral
from backend.gate import LaneKeys
from backend.reconciliation.ledger import PAGE_ROWS
from tests.backend.server import as_operator, free_origin, serving
from tests.backend.shop import Shop, Stall


@pytest_asyncio.fixture(loop_scope="session")
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    shop.settings = shop.settings.model_copy(update={"public_url": free_origin()})
    async with serving(shop.settings) as opened:
        yield opened


async def running(shop: Shop) -> Stall:
    stall = await shop.sale()
    for _ in range(3):
        await shop.buy(stall)
    await shop.drain(stall)
    return stall


def routes(stall: Stall, run_id: object) -> list[tuple[str, str]]:
    sale = f"/api/v1/audit/sales/{stall.sale_id}"
    return [
        ("GET", f"{sale}/balance"),
        ("GET", f"{sale}/reconciliations"),
        ("GET", f"{sale}/ledger"),
        ("GET", f"/api/v1/audit/reconciliations/{run_id}"),
        ("POST", f"{sale}/reconciliations"),
    ]


async def test_the_balance_as_clients_know_it(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await running(shop)
    await shop.buy(stall)
    answer = await client.get(
        f"/api/v1/audit/sales/{stall.sale_id}/balance", headers=await as_operator(shop, "auditor", stall)
    )
    body = answer.json()
    (item,) = body["items"]
    assert (body["oversold"], body["stranded"], body["drift"]) == (0, 0, 0)
    assert (item["sku"], item["allotment"], item["in_flight"], item["drift"]) == ("TEE-M", 10, 1, 0)
    assert (item["gate"]["available"], item["gate"]["held"]) == (6, 4)
    assert (item["ledger"]["available"], item["ledger"]["reserved"], item["ledger"]["sold"]) == (7, 0, 3)
    assert item["gate"]["read_at"].endswith("Z")
    assert item["ledger"]["read_at"].endswith("Z")
    assert item["ledger"]["read_at"] <= item["gate"]["read_at"], "ledger first, then gate"


async def test_a_run_can_be_read_again_in_both_forms(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await running(shop)
    headers = await as_operator(shop, "owner", stall)
    await shop.gate.store.client.hincrby(LaneKeys(stall.lane()).lane, "available", -2)

    made = await client.post(f"/api/v1/audit/sales/{stall.sale_id}/reconciliations", headers=headers)

    assert made.status_code == 201
    run = made.json()
    assert (run["verdict"], run["oversold"], run["stranded"], run["drift"], run["duplicates"]) == (
        "findings",
        0,
        2,
        -2,
        0,
    )
    assert {finding["rule"] for finding in run["findings"]} == {"I2", "I3"}
    path = f"/api/v1/audit/reconciliations/{run['id']}"
    again = await client.get(path, headers=headers)
    assert again.json() == run
    assert again.headers["vary"] == "Accept"
    for way in ({"params": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}):
        sheet = await client.get(path, **{**way, "headers": {**headers, **way.get("headers", {})}})  # type: ignore[arg-type,dict-item]
        assert sheet.headers["content-type"] == "text/csv; charset=utf-8"
        assert stall.slug in sheet.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(sheet.text, newline="")))
        assert [row["record"] for row in rows] == ["run", "item", *["finding"] * len(run["findings"])]
        assert rows[0]["drift"] == "-2", "a number stays a number"
        assert rows[1]["gate_available"] == "5"
    listed = (await client.get(f"/api/v1/audit/sales/{stall.sale_id}/reconciliations", headers=headers)).json()
    (line,) = listed["reconciliations"]
    assert line == {name: run[name] for name in line}
    assert {"id", "verdict", "oversold", "stranded", "drift", "duplicates", "started_at", "finished_at", "trigger"} <= (
        line.keys()
    )
    (stored,) = await shop.sql("SELECT operator_id FROM reconciliation_runs")
    assert stored.operator_id is not None


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("application/json", "json"),
        ("*/*", "json"),
        ("text/csv;q=0.5, application/json", "json"),
        ("text/csv, application/json;q=0.5", "csv"),
        ("text/*", "csv"),
        ("text/csv;q=nonsense", "json"),
    ],
)
async def test_the_form_follows_the_header(client: httpx.AsyncClient, shop: Shop, accept: str, form: str) -> None:
    stall = await running(shop)
    headers = await as_operator(shop, "auditor", stall)
    run = (await client.post(f"/api/v1/audit/sales/{stall.sale_id}/reconciliations", headers=headers)).json()
    answer = await client.get(f"/api/v1/audit/reconciliations/{run['id']}", headers={**headers, "Accept": accept})
    assert form in answer.headers["content-type"]


async def test_the_ledger_line_by_line_adds_up(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 1_500, "TEE-L": 4}, limit=2_000)
    shopper = await shop.shopper()
    for number in range(PAGE_ROWS // 2 + 60):
        await shop.attempt(stall, shopper, key=str(number))
    await shop.buy(stall, sku="TEE-L")
    await shop.drain(stall)

    answer = await client.get(
        f"/api/v1/audit/sales/{stall.sale_id}/ledger", headers=await as_operator(shop, "operator", stall)
    )

    assert answer.headers["content-type"] == "application/x-ndjson"
    entries = [json.loads(line) for line in answer.text.splitlines()]
    assert len(entries) == 2 * (PAGE_ROWS // 2 + 60) + 4, "an allotment each, and a reserve and a sell for each order"
    for sku in ("TEE-M", "TEE-L"):
        own = [entry for entry in entries if entry["sku"] == sku]
        item = await shop.item(stall, sku)
        sums = tuple(sum(entry[f"{name}_delta"] for entry in own) for name in ("available", "reserved", "sold"))
        assert sums == (item.available, item.reserved, item.sold)
        assert [entry["id"] for entry in own] == sorted(entry["id"] for entry in own)
        assert own[0]["kind"] == "allot"
    assert all("null" not in line for line in answer.text.splitlines())


async def test_roles_and_merchants(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await running(shop)
    owner = await as_operator(shop, "owner", stall)
    run = (await client.post(f"/api/v1/audit/sales/{stall.sale_id}/reconciliations", headers=owner)).json()
    everybody = {role: await as_operator(shop, role, stall) for role in ("owner", "auditor", "operator")}
    stranger = await as_operator(shop, "owner")

    for method, path in routes(stall, run["id"]):
        assert (await client.request(method, path)).status_code == 401
        foreign = await client.request(method, path, headers=stranger)
        assert (foreign.status_code, foreign.json()["code"]) == (404, "NOT_FOUND")
        for role, headers in everybody.items():
            answer = await client.request(method, path, headers=headers)
            expected = 200 if method == "GET" else (403 if role == "operator" else 201)
            assert answer.status_code == expected, (role, method, path)


async def test_what_is_not_there_is_404(client: httpx.AsyncClient, shop: Shop) -> None:
    headers = await as_operator(shop, "owner")
    for path in (
        f"sales/{uuid4()}/balance",
        f"sales/{uuid4()}/ledger",
        f"sales/{uuid4()}/reconciliations",
        f"reconciliations/{uuid4()}",
        "reconciliations/1",
        "sales/1/balance",
    ):
        answer = await client.get(f"/api/v1/audit/{path}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND"), path


async def test_without_the_gate_the_audit_says_so_and_finds_nothing(shop: Shop) -> None:
    stall = await running(shop)
    settings = shop.settings.model_copy(
        update={"public_url": free_origin(), "gate_url": "redis://127.0.0.1:1/0", "gate_timeout_s": 0.5}
    )
    headers = await as_operator(shop, "owner", stall)
    async with serving(settings) as client:
        for method, path in (("GET", "balance"), ("POST", "reconciliations")):
            answer = await client.request(method, f"/api/v1/audit/sales/{stall.sale_id}/{path}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "DEGRADED")
            assert answer.headers["retry-after"]
    assert await shop.sql("SELECT 1 FROM reconciliation_runs") == []


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\u200b=1", "\ufeff=1",
        "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "\u2212" + "1", "\ufe63" + "1", "\tplain", "\u3000\uff1d1",
    ],
)  # fmt: skip
def test_a_cell_that_could_be_a_formula_is_text(text: str) -> None:
    assert neutral(text) == "'" + text


@pytest.mark.parametrize("text", ["", "plain", "a=b", "1-2", "x@y.example", "'quoted", " ", "„=“"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert neutral(text) == text


def test_csv_is_what_the_standard_says() -> None:
    assert csv_of(("a", "b"), [('x,"y"', -3), ("=1", 4)]) == b'a,b\r\n"x,""y""",-3\r\n\'=1,4\r\n'
