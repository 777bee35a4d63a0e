"""The HTTP API as an independent client meets it: bodies, fields and codes word for word, over the real edge."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from tests.e2e.shop import Merchant, Platform, wait_until

PROBLEM = "application/problem+json"


def _key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


def _is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"].startswith(PROBLEM)
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "code"} <= body.keys()
    assert body["status"] == status
    assert None not in body.values()
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1
        assert body["retry_after_ms"] >= 0
    return body


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def http(platform: Platform):
    async with httpx.AsyncClient(base_url=platform.url, timeout=20) as client:
        yield client


def _terms(slug: str, sku: str, opens_at: datetime, **changes: Any) -> dict[str, Any]:
    body = {
        "slug": slug,
        "title": "Friday tee",
        "opens_at": opens_at.isoformat(),
        "closes_at": (opens_at + timedelta(minutes=20)).isoformat(),
        "time_zone": "Europe/Berlin",
        "items": [
            {
                "sku": sku,
                "price": {"amount_minor": 1900, "currency": "EUR"},
                "allotment": 3,
                "per_shopper_limit": 1,
            }
        ],
        "throttle": {"rate_per_s": 500, "burst": 1000, "wait_budget_ms": 0, "repeat_window_ms": 0},
        "link": {"ttl_s": 300, "overlap_s": 0},
        "payment": {"required": False, "hold_s": 900},
    }
    return {**body, **changes}


async def _sku(merchant: Merchant) -> str:
    name = f"TEE-{uuid4().hex[:8].upper()}"
    answer = await merchant.http.post(
        "operator/skus",
        json={
            "sku": name,
            "name": "Tee, size M",
            "description": "Cotton.",
            "usual_price": {"amount_minor": 4900, "currency": "EUR"},
        },
        headers=_key(),
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["usual_price"] == {"amount_minor": 4900, "currency": "EUR"}
    return name


class _LiveSale:
    def __init__(self, document: dict[str, Any], sku: str) -> None:
        self.id: str = document["id"]
        self.slug: str = document["slug"]
        self.sku = sku

    @property
    def link_path(self) -> str:
        return f"/api/v1/sales/{self.slug}/items/{self.sku}/link"


async def _live_sale(merchant: Merchant, http: httpx.AsyncClient, token: str, **changes: Any) -> _LiveSale:
    """A sale that has opened by itself: no call opens it."""
    sku = await _sku(merchant)
    opens_at = datetime.now(UTC) + timedelta(seconds=2)
    body = _terms(f"sale-{uuid4().hex[:8]}", sku, opens_at, **changes)
    created = await merchant.http.post("operator/sales", json=body, headers=_key())
    assert created.status_code == 201, created.text
    sale = _LiveSale(created.json(), sku)
    scheduled = await merchant.http.post(f"operator/sales/{sale.id}/schedule", json={}, headers=_key())
    assert (scheduled.status_code, scheduled.json()["status"]) == (200, "scheduled"), scheduled.text

    async def opened() -> bool:
        answer = await http.post(sale.link_path, headers=_bearer(token))
        return answer.status_code == 201

    await wait_until("the opening", opened, 30)
    assert datetime.now(UTC) >= opens_at
    return sale


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _link(http: httpx.AsyncClient, sale: _LiveSale, token: str) -> str:
    answer = await http.post(sale.link_path, headers=_bearer(token))
    assert answer.status_code == 201, answer.text
    assert answer.json().keys() == {"buy_path", "expires_at"}
    assert answer.json()["expires_at"].endswith("Z")
    assert answer.headers["cache-control"] == "no-store"
    path: str = answer.json()["buy_path"]
    assert path.startswith("/api/v1/buy/")
    return path


async def _buy(http: httpx.AsyncClient, path: str, token: str, key: str, **request: Any) -> httpx.Response:
    return await http.post(path, headers={**_bearer(token), "Idempotency-Key": key}, **request)


async def test_health_and_clock(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v1/health/live")).status_code == 200
    assert (await http.get("/api/v1/health/ready")).status_code == 200
    now_ms = (await http.get("/api/v1/clock")).json()["now_ms"]
    assert abs(now_ms - datetime.now(UTC).timestamp() * 1000) < 5_000


async def test_a_shopper_buys_and_a_repeat_finds_the_same_ticket(
    merchant: Merchant, http: httpx.AsyncClient, shopper_tokens: Any
) -> None:
    token, other = next(shopper_tokens), next(shopper_tokens)
    sale = await _live_sale(merchant, http, token)
    path = await _link(http, sale, token)

    _is_problem(await http.post(path, headers=_key()), 401, "UNAUTHENTICATED")
    _is_problem(await http.post(path, headers=_bearer(token)), 400, "INVALID")
    _is_problem(await _buy(http, path, other, "k"), 404, "LINK_INVALID")
    forged = path[:-1] + ("A" if path[-1] != "A" else "B")
    _is_problem(await _buy(http, forged, token, "k"), 404, "LINK_INVALID")

    bought = await _buy(http, path, token, "first")
    assert bought.status_code == 202, bought.text
    body = bought.json()
    assert body.keys() == {"outcome", "ticket", "ticket_path", "position", "poll_after_ms"}
    assert body["outcome"] == "RESERVED"
    assert body["ticket_path"] == f"/api/v1/tickets/{body['ticket']}"

    again = await _buy(http, path, token, "first", json={"quantity": 1})
    assert (again.status_code, again.json()["outcome"], again.json()["ticket"]) == (202, "REPLAYED", body["ticket"])
    _is_problem(await _buy(http, path, token, "first", json={"quantity": 2}), 422, "KEY_REUSED")
    _is_problem(await _buy(http, path, token, "second"), 409, "LIMIT_REACHED")

    async def decided() -> Any:
        answer = await http.get(body["ticket_path"], headers=_bearer(token))
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.json()["status"] != "queued" else None

    ticket = await wait_until("a verdict", decided, 15)
    assert ticket["status"] == "confirmed"
    _is_problem(await http.get(body["ticket_path"], headers=_bearer(other)), 404, "NOT_FOUND")

    claims = await http.get("/api/v1/me/claims", params={"sale": sale.slug}, headers=_bearer(token))
    assert claims.json() == {
        "claims": [
            {"sku": sale.sku, "ticket": body["ticket"], "ticket_path": body["ticket_path"], "status": "confirmed"}
        ]
    }
    orders = (await http.get("/api/v1/orders", headers=_bearer(token))).json()["orders"]
    assert [(one["id"], one["sku"], one["quantity"], one["status"]) for one in orders] == [
        (ticket["order_id"], sale.sku, 1, "confirmed")
    ]
    assert orders[0]["price"] == {"amount_minor": 1900, "currency": "EUR"}
    _is_problem(await http.get(f"/api/v1/orders/{ticket['order_id']}", headers=_bearer(other)), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("quantity", "status", "code"),
    [(0, 422, "INVALID_FIELD"), (-1, 422, "INVALID_FIELD"), (1.5, 422, "INVALID_FIELD"), (True, 422, "INVALID_FIELD"),
     ("3", 422, "INVALID_FIELD"), (2**63, 422, "INVALID_FIELD"), (2, 409, "LIMIT_REACHED")],
)  # fmt: skip
async def test_a_quantity_that_cannot_be(
    merchant: Merchant, http: httpx.AsyncClient, contract_sale: Any, quantity: Any, status: int, code: str
) -> None:
    sale, token = contract_sale
    path = await _link(http, sale, token)
    _is_problem(await _buy(http, path, token, uuid4().hex, json={"quantity": quantity}), status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [(b"{", 400, "INVALID"), (b"\xff\xfe{}", 400, "INVALID"), (b'{"quantity": NaN}', 400, "INVALID"),
     (b'{"quantity": 1e999}', 400, "INVALID"), (b'{"quantity": 1, "quantity": 1}', 400, "INVALID"),
     (b"[" * 30_000, 400, "INVALID"), (b'{"quantity": ' + b"1" * 5_000 + b"}", 400, "INVALID"),
     (b'{"price": 1}', 422, "INVALID_FIELD"), (b'{"quantity": 1.0}', 422, "INVALID_FIELD"),
     (b'{"a": "\\ud800"}', 400, "INVALID"), (b"[1]", 422, "INVALID_FIELD"), (b" " * 70_000, 413, "TOO_LARGE")],
)  # fmt: skip
async def test_a_body_that_cannot_be(
    http: httpx.AsyncClient, contract_sale: Any, body: bytes, status: int, code: str
) -> None:
    sale, token = contract_sale
    path = await _link(http, sale, token)
    headers = {**_bearer(token), "Idempotency-Key": uuid4().hex, "Content-Type": "application/json"}
    _is_problem(await http.post(path, headers=headers, content=body), status, code)
    headers["Content-Type"] = "text/plain"
    if status != 413:
        _is_problem(await http.post(path, headers=headers, content=body), 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def contract_sale(merchant: Merchant, http: httpx.AsyncClient, shopper_tokens: Any):
    token = next(shopper_tokens)
    return await _live_sale(merchant, http, token), token


async def test_before_opening_paused_sold_out_and_ended_have_their_codes(
    merchant: Merchant, http: httpx.AsyncClient, shopper_tokens: Any
) -> None:
    first, second = next(shopper_tokens), next(shopper_tokens)
    sku = await _sku(merchant)
    opens_at = datetime.now(UTC) + timedelta(hours=1)
    early = _terms(f"sale-{uuid4().hex[:8]}", sku, opens_at)
    created = (await merchant.http.post("operator/sales", json=early, headers=_key())).json()
    assert created["status"] == "draft"
    await merchant.http.post(f"operator/sales/{created['id']}/schedule", json={}, headers=_key())
    problem = _is_problem(
        await http.post(f"/api/v1/sales/{early['slug']}/items/{sku}/link", headers=_bearer(first)), 403, "NOT_OPEN"
    )
    assert 3_500_000 < problem["retry_after_ms"] <= 3_600_000

    sale = await _live_sale(merchant, http, first)
    path = await _link(http, sale, first)
    other_path = await _link(http, sale, second)
    paused = await merchant.http.post(f"operator/sales/{sale.id}/pause", json={"reason": "check"}, headers=_key())
    assert paused.json()["status"] == "paused"
    _is_problem(await _buy(http, path, first, "k"), 409, "PAUSED")
    resumed = await merchant.http.post(f"operator/sales/{sale.id}/resume", json={}, headers=_key())
    assert resumed.json()["status"] == "live"
    assert (await _buy(http, path, first, "k")).status_code == 202
    reduced = await merchant.http.post(
        f"operator/sales/{sale.id}/reduce", json={"sku": sale.sku, "quantity": 2, "reason": "damaged"}, headers=_key()
    )
    assert reduced.status_code == 200, reduced.text
    _is_problem(
        await merchant.http.post(
            f"operator/sales/{sale.id}/reduce", json={"sku": sale.sku, "quantity": 1, "reason": "more"}, headers=_key()
        ),
        409,
        "BELOW_COMMITTED",
    )
    _is_problem(await _buy(http, other_path, second, "k"), 409, "SOLD_OUT")
    replayed = await _buy(http, path, first, "k")
    assert (replayed.status_code, replayed.json()["outcome"]) == (202, "REPLAYED")
    rotated = await merchant.http.post(f"operator/sales/{sale.id}/rotate-links", json={}, headers=_key())
    assert rotated.status_code == 200
    _is_problem(await _buy(http, other_path, second, "k"), 404, "LINK_INVALID")
    assert (await _buy(http, path, first, "k")).status_code == 202, "an own link of a retired epoch finds its ticket"
    topped = await merchant.http.post(
        f"operator/sales/{sale.id}/top-up", json={"sku": sale.sku, "quantity": 5, "reason": "found"}, headers=_key()
    )
    assert topped.status_code == 200, topped.text

    async def can_be_bought() -> bool:
        answer = await http.post(sale.link_path, headers=_bearer(second))
        if answer.status_code != 201:
            return False
        return (await _buy(http, answer.json()["buy_path"], second, "k2")).status_code == 202

    await wait_until("a unit of the top-up", can_be_bought, 15)
    ended = await merchant.http.post(f"operator/sales/{sale.id}/end", json={"reason": "done"}, headers=_key())
    assert ended.json()["status"] == "ended"

    async def closed() -> bool:
        return (await http.post(sale.link_path, headers=_bearer(second))).status_code == 410

    await wait_until("the end", closed, 10)
    assert (await _buy(http, path, first, "k")).status_code == 202


async def test_the_operators_and_the_auditors_views_have_their_fields(
    merchant: Merchant, http: httpx.AsyncClient, shopper_tokens: Any
) -> None:
    token = next(shopper_tokens)
    sale = await _live_sale(merchant, http, token)
    assert (await _buy(http, await _link(http, sale, token), token, "k")).status_code == 202
    await asyncio.sleep(1.5)
    live = (await merchant.http.get(f"operator/sales/{sale.id}/live")).json()
    assert {"status", "now", "view_age_ms", "order_lag_ms", "throttle", "drift", "pending_releases", "items",
            "outcomes", "backlog", "dependencies"} <= live.keys()  # fmt: skip
    assert live["outcomes"]["RESERVED"] == 1

    async def all_up() -> bool:
        live = (await merchant.http.get(f"operator/sales/{sale.id}/live")).json()
        return set(live["dependencies"].values()) == {"up"}

    await wait_until("every dependency to be up", all_up, 15)
    item = live["items"][0]
    assert {"sku", "allotment", "available", "reserved", "sold"} <= item.keys()
    assert item["available"] + item["reserved"] + item["sold"] == item["allotment"] == 3

    series = (await merchant.http.get(f"operator/sales/{sale.id}/throughput", params={"seconds": 60})).json()["series"]
    assert sum(point.get("RESERVED", 0) for point in series) == 1
    assert all(point["at"].endswith("Z") for point in series)

    preflight = (await merchant.http.get(f"operator/sales/{sale.id}/preflight")).json()
    assert preflight["ready"] is True
    assert all({"name", "ok"} <= check.keys() for check in preflight["checks"])

    balance = (await merchant.http.get(f"audit/sales/{sale.id}/balance")).json()
    assert (balance["oversold"], balance["stranded"], balance["drift"]) == (0, 0, 0)
    row = balance["items"][0]
    assert row["gate"].keys() >= {"available", "held", "read_at"}
    assert row["ledger"].keys() >= {"available", "reserved", "sold", "read_at"}
    assert (row["sku"], row["allotment"], row["drift"]) == (sale.sku, 3, 0)

    run = await merchant.http.post(f"audit/sales/{sale.id}/reconciliations", json={}, headers=_key())
    assert run.status_code == 201, run.text
    assert run.json().keys() >= {"id", "verdict", "oversold", "stranded", "drift", "duplicates", "findings"}
    assert (run.json()["verdict"], run.json()["duplicates"]) == ("clean", 0)
    kept = await merchant.http.get(f"audit/reconciliations/{run.json()['id']}")
    assert kept.status_code == 200, kept.text
    assert kept.json()["verdict"] == "clean"
    table = await merchant.http.get(f"audit/reconciliations/{run.json()['id']}", headers={"Accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    ledger = await merchant.http.get(f"audit/sales/{sale.id}/ledger")
    assert ledger.headers["content-type"].startswith("application/x-ndjson")
    assert [line for line in ledger.text.splitlines() if '"allot"' in line]

    document = await merchant.http.get(f"operator/sales/{sale.id}")
    tag = document.headers["etag"]
    changed = await merchant.http.patch(
        f"operator/sales/{sale.id}", json={"title": "Saturday tee"}, headers={**_key(), "If-Match": tag}
    )
    assert changed.status_code == 200, changed.text
    stale = await merchant.http.patch(
        f"operator/sales/{sale.id}", json={"title": "Sunday tee"}, headers={**_key(), "If-Match": tag}
    )
    _is_problem(stale, 412, "STALE")

    public = (await http.get(f"/api/v1/sales/{sale.slug}")).json()
    assert public.keys() >= {"slug", "title", "phase", "opens_at", "closes_at", "time_zone", "now_ms", "items"}
    assert public["items"][0].keys() >= {"sku", "name", "price", "usual_price", "per_shopper_limit", "phase"}

    async def state() -> Any:
        answer = await http.get(f"{merchant.platform.url}/s/{sale.slug}/state.json")
        return answer.json() if answer.is_success and answer.json()["phase"] == "live" else None

    document = await wait_until("state.json", state, 10)
    assert document.keys() >= {"phase", "opens_at_ms", "closes_at_ms", "at_ms", "items"}
    assert document["items"][sale.sku].keys() >= {"phase", "available_hint"}


async def test_commands_are_done_once_and_their_keys_belong_to_one_body(merchant: Merchant) -> None:
    sku = await _sku(merchant)
    body = _terms(f"sale-{uuid4().hex[:8]}", sku, datetime.now(UTC) + timedelta(hours=2))
    headers = _key()
    first = await merchant.http.post("operator/sales", json=body, headers=headers)
    second = await merchant.http.post("operator/sales", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] == second.json()["id"]
    other = await merchant.http.post("operator/sales", json={**body, "title": "Another"}, headers=headers)
    _is_problem(other, 422, "KEY_REUSED")
    _is_problem(await merchant.http.post("operator/sales", json=body, headers=_key()), 409, "CONFLICT")
    _is_problem(await merchant.http.post("operator/sales", json=body), 400, "INVALID")
    sale_id = first.json()["id"]
    _is_problem(
        await merchant.http.post(f"operator/sales/{sale_id}/pause", json={}, headers=_key()), 409, "WRONG_STATE"
    )
    extra = {**body, "slug": f"sale-{uuid4().hex[:8]}", "price": 1}
    _is_problem(await merchant.http.post("operator/sales", json=extra, headers=_key()), 422, "INVALID_FIELD")
