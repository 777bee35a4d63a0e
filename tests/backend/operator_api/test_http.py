"""The HTTP edge of the application: problems instead of stacks, whatever is sent; headers; health; OpenAPI."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from alembic.script import ScriptDirectory

from backend.api import AppState
from backend.app import Platform
from backend.core.errors import Code
from backend.core.strict_json import MAX_BODY_BYTES
from backend.models import SCHEMA_REVISION, Role
from migrations.__main__ import alembic_config
from stack.servers import GateServer

from .conftest import Operator

SKUS = "/api/v1/operator/skus"


def headers_of(owner: Operator, **more: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {owner.token}",
        "Idempotency-Key": "http",
        "Content-Type": "application/json",
    } | more


HOSTILE: list[tuple[bytes, int, str]] = [
    (b'{"sku": NaN}', 400, "INVALID"),
    (b'{"sku": 1e999}', 400, "INVALID"),
    (b'{"sku": "\xff"}', 400, "INVALID"),
    (b'\xef\xbb\xbf{"sku": "A"}', 400, "INVALID"),
    (b'{"sku": "A", "sku": "B"}', 400, "INVALID"),
    (b'{"sku": ' + b"[" * 60_000 + b"}", 400, "INVALID"),
    (b'{"sku": ' + b"9" * 5_000 + b"}", 400, "INVALID"),
    (b'{"sku": "\\ud800", "name": "x"}', 400, "INVALID"),
    (b'{"sku": "A", "name": "x\\u0000"}', 422, "INVALID_FIELD"),
    (b'{"sku": "A", "name": "x", "role": "owner"}', 422, "INVALID_FIELD"),
    (b'{"sku": "A", "name": null}', 422, "INVALID_FIELD"),
    (b'{"sku": "A", "name": 1}', 422, "INVALID_FIELD"),
    (b"null", 422, "INVALID_FIELD"),
    (b"[]", 422, "INVALID_FIELD"),
    (b"", 422, "INVALID_FIELD"),
    (b" " * (MAX_BODY_BYTES + 1), 413, "TOO_LARGE"),
]


async def test_a_hostile_body_is_a_problem(owner: Operator, client: httpx.AsyncClient) -> None:
    for body, status, code in HOSTILE:
        response = await client.post(SKUS, content=body, headers=headers_of(owner))
        assert (response.status_code, response.json()["code"]) == (status, code), body[:40]
        assert response.headers["Content-Type"] == "application/problem+json"
    assert (await owner.get("/skus")).json() == {"skus": []}


async def test_a_problem_never_repeats_what_was_sent(owner: Operator, client: httpx.AsyncClient) -> None:
    mark = "s3cr3t-<script>"
    body = json.dumps({"sku": mark, "name": 7, mark: mark, "usual_price": {"amount_minor": mark, "currency": mark}})
    response = await client.post(SKUS, content=body, headers=headers_of(owner))
    assert response.status_code == 422
    assert mark not in response.text
    assert {error["field"] for error in response.json()["errors"]} >= {"sku", "name", "?"}


async def test_a_long_chunked_body_is_cut_off(owner: Operator, client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        for _ in range(10_000):
            sent += 1024
            yield b" " * 1024

    response = await client.post(SKUS, content=endless(), headers=headers_of(owner))
    assert (response.status_code, response.json()["code"]) == (413, "TOO_LARGE")
    assert sent <= MAX_BODY_BYTES + 2048


async def test_only_json_is_taken_and_without_a_body_the_type_does_not_matter(
    owner: Operator, client: httpx.AsyncClient
) -> None:
    body = b'{"sku": "A", "name": "x"}'
    for content_type in (
        "text/plain",
        "application/xml",
        "multipart/form-data",
        "application/json; charset=utf-16",
        "",
    ):
        response = await client.post(SKUS, content=body, headers=headers_of(owner, **{"Content-Type": content_type}))
        assert (response.status_code, response.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE"), content_type
    typed = headers_of(owner, **{"Content-Type": "Application/JSON; charset=UTF-8"})
    assert (await client.post(SKUS, content=body, headers=typed)).status_code == 201
    sale = await owner.make_sale("typed")
    path = f"/api/v1/operator/sales/{sale['id']}/schedule"
    empty = headers_of(owner, **{"Content-Type": "text/plain", "Idempotency-Key": "empty"})
    assert (await client.post(path, headers=empty)).status_code == 200


async def test_the_key_is_needed_and_well_formed(owner: Operator, client: httpx.AsyncClient) -> None:
    body = {"sku": "A", "name": "x"}
    signed_in: list[tuple[Any, Any]] = [("Authorization", f"Bearer {owner.token}")]
    keys: list[list[Any]] = [[], [""], ["a b"], ["x" * 256], ["tab\t"], ["ключ".encode()], ["a", "a"]]
    for sent in keys:
        headers = signed_in + [("Idempotency-Key", key) for key in sent]
        response = await client.post(SKUS, json=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, "INVALID"), sent
    assert (await owner.get("/skus")).json() == {"skus": []}


async def test_addresses_that_cannot_be_are_not_found(owner: Operator, client: httpx.AsyncClient) -> None:
    for path in ("/sales/7", "/sales/x%00y", "/skus/not-an-id", "/nothing", "/sales/", "/skus/"):
        response = await owner.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND"), path
    wrong = await client.put("/api/v1/operator/skus")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["Allow"]
    assert (await owner.get("/sales", params={"q": "\x00"})).json()["code"] == "INVALID_FIELD"
    assert (await owner.get("/sales", params={"status": "lively"})).json()["code"] == "INVALID_FIELD"
    sale = await owner.make_sale("cursors")
    for cursor in ("x", "A" * 32, "_" * 32):
        response = await owner.get(f"/sales/{sale['id']}/orders", params={"cursor": cursor})
        assert response.status_code in (200, 422), cursor


async def test_every_answer_has_safe_headers_and_a_request_id_of_ours(client: httpx.AsyncClient) -> None:
    for path in ("/api/v1/health/live", "/api/v1/operator/me", "/nothing"):
        response = await client.get(path, headers={"X-Request-ID": "theirs"})
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert len(response.headers["X-Request-ID"]) == 32


async def test_an_exception_of_ours_is_a_500_without_details(platform: Platform, client: httpx.AsyncClient) -> None:
    @platform.api.get("/boom")
    async def boom() -> None:
        raise RuntimeError("the password is hunter2")

    response = await client.get("/boom")
    assert (response.status_code, response.json()["code"]) == (500, "INTERNAL")
    assert "hunter2" not in response.text


async def test_a_database_that_is_down_is_a_503(
    settings: Any, owner: Operator, state: AppState, client: httpx.AsyncClient
) -> None:
    await state.database.engine.dispose()
    broken = state.database.engine.url.set(port=1)
    assert broken.port == 1
    from backend.app import create_app

    app = create_app(settings.model_copy(update={"database_url": broken.render_as_string(hide_password=False)}))
    async with (
        app.api.router.lifespan_context(app.api),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api.test") as other,
    ):
        response = await other.get("/api/v1/operator/me", headers={"Authorization": f"Bearer {owner.token}"})
        assert (response.status_code, response.json()["code"]) == (503, "DEGRADED")
        assert response.headers["Retry-After"]
        ready = await other.get("/api/v1/health/ready")
        assert (ready.status_code, ready.json()["missing"]) == (503, ["database: not reachable"])
        assert (await other.get("/api/v1/health/live")).status_code == 200


async def test_readiness_asks_for_migrations_and_a_fit_gate(
    client: httpx.AsyncClient, gate_server: GateServer, settings: Any, new_database: Callable[..., Awaitable[str]],
    postgres_server: Any,
) -> None:  # fmt: skip
    ready = await client.get("/api/v1/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"}), ready.text
    from backend.app import create_app
    from stack.servers.postgres import APP_ROLE

    empty = postgres_server.url_for(await new_database(migrated=False), APP_ROLE)
    bare = settings.model_copy(update={"database_url": empty, "gate_url": "redis://127.0.0.1:1/0"})
    app = create_app(bare)
    async with (
        app.api.router.lifespan_context(app.api),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api.test") as other,
    ):
        missing = (await other.get("/api/v1/health/ready")).json()["missing"]
    assert missing == ["database: not migrated", "gate: not reachable"]


def test_the_code_asks_for_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == SCHEMA_REVISION


async def test_the_document_describes_problems_and_never_fastapis_own(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert "HTTPValidationError" not in document.get("components", {}).get("schemas", {})
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path != "/api/v1/buy/{link}":  # it names each of its problems
                assert "default" in operation["responses"], (method, path)
    assert "202" in document["paths"]["/api/v1/buy/{link}"]["post"]["responses"]
    codes = document["paths"]["/api/v1/operator/me"]["get"]["responses"]["default"]
    enum = codes["content"]["application/problem+json"]["schema"]["properties"]["code"]["enum"]
    assert set(enum) == {code.value for code in Code}
    assert (await client.get("/docs")).status_code == 404


async def test_every_mutating_route_of_operators_is_closed_to_auditors_and_strangers(
    platform: Platform, owner: Operator, sign_in: Callable[..., Awaitable[Operator]], client: httpx.AsyncClient
) -> None:
    auditor = await sign_in(Role.AUDITOR)
    sale = await owner.make_sale("closed")
    closed = 0
    for path, methods in platform.api.openapi()["paths"].items():
        if not path.startswith("/api/v1/operator/") or path.endswith("/session"):
            continue
        address = path.replace("{sale_id}", sale["id"]).replace("{sku_id}", sale["id"])
        for method in methods:
            stranger = await client.request(method, address, headers={"Idempotency-Key": "x"})
            assert (stranger.status_code, stranger.json()["code"]) == (401, "UNAUTHENTICATED"), address
            if method != "get" and address != "/api/v1/operator/prose":  # which renders a text and keeps nothing
                response = await auditor.send(method.upper(), address.removeprefix("/api/v1/operator"), {})
                assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN"), (method, address)
                closed += 1
    assert closed >= 16
    lines = (await auditor.get(f"/sales/{sale['id']}/activity")).json()["activity"]
    refused = [line for line in lines if line["outcome"] == "refused"]
    assert len(refused) >= 13
    assert refused[0]["actor"] == auditor.email
