"""Buy, ticket and link over the real API: both ways to an endpoint give the same answers, and nobody is left waiting.

The hot way takes plain requests; the same request in HTTP/1.0, or with its body in chunks, goes through FastAPI. What
differs is told here and nowhere else: uvicorn's ``date`` and ``server``, and the request id of the usual way's log.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
import pytest_asyncio

from backend.core.errors import Code, Refused
from backend.core.hot import HotRequest, Reply
from backend.gate import GateUnavailable, LaneKeys, Overloaded
from backend.shopper_api.hot import Endpoint
from tests.backend.server import as_shopper, free_origin, serving
from tests.backend.shop import Shop, Stall
from tests.support.loops import LIMIT_S
from tests.support.raw_http import Answer, Headers, calling, chunked, request

OF_UVICORN = {b"date", b"server"}
OF_THE_USUAL_WAY = {b"x-request-id"}
JSON = ("Content-Type", "application/json")
FORGED = "A" * 67


@pytest_asyncio.fixture(loop_scope="session")
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    shop.settings = shop.settings.model_copy(update={"public_url": free_origin()})
    async with serving(shop.settings) as opened:
        yield opened


@dataclass
class Case:
    """One request, and what it is to be answered with."""

    method: str
    path: str
    status: int
    code: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


Make = Callable[[], Awaitable[Case]]


def token(shop: Shop, shopper: UUID) -> tuple[str, str]:
    return ("Authorization", as_shopper(shop, shopper)["Authorization"])


def port_of(shop: Shop) -> int:
    return int(shop.settings.public_url.rpartition(":")[2])


async def ask(port: int, data: bytes, method: str) -> Answer:
    async with calling(port) as peer:
        return await peer.ask(data, method)


async def by_each_way(port: int, make: Make) -> dict[str, tuple[Case, Answer]]:
    """A case's answers: one of its own for each way, so that none depends on what came before."""
    answers = {}
    for way in ("hot", "chunked", "http/1.0"):
        case = await make()
        headers: Headers = case.headers
        data = {
            "hot": request(case.method, case.path, body=case.body, headers=headers),
            "chunked": chunked(case.method, case.path, *([case.body] if case.body else []), headers=headers),
            "http/1.0": request(case.method, case.path, body=case.body, headers=headers, version="1.0"),
        }[way]
        answers[way] = case, await ask(port, data, case.method)
    return answers


def told(answer: Answer) -> tuple[int, str | None, list[bytes], list[str]]:
    """What a client can rely on: status, code, names of headers, names of fields."""
    document = answer.json()
    names = [name for name, _ in answer.headers if name not in OF_UVICORN | OF_THE_USUAL_WAY | {b"connection"}]
    return answer.status, document.get("code"), sorted(names), sorted(document)  # type: ignore[return-value]


async def assert_both_ways_agree(port: int, cases: dict[str, Make]) -> None:
    wrong: dict[str, Any] = {}
    for name, make in cases.items():
        answers = await by_each_way(port, make)
        case, hot = answers["hot"]
        if told(hot)[:2] != (case.status, case.code):
            wrong[name] = (case, hot)
        for way, (_, answer) in answers.items():
            went_usual = {one for one, _ in answer.headers} >= OF_THE_USUAL_WAY
            if told(answer) != told(hot) or went_usual != (way != "hot"):
                wrong[f"{name}, {way}"] = (told(hot), told(answer))
    assert wrong == {}


async def link_of(client: httpx.AsyncClient, shop: Shop, stall: Stall, shopper: UUID) -> str:
    """A link's buy path."""
    made = await client.post(f"/api/v1/sales/{stall.slug}/items/TEE-M/link", headers=as_shopper(shop, shopper))
    assert made.status_code == 201, made.text
    return str(made.json()["buy_path"])


async def test_buying(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 100}, limit=2)
    sold_out = await shop.sale(items={"TEE-M": 1})
    ended, paused = await shop.sale(), await shop.sale()

    def attempt(
        status: int,
        code: str | None = None,
        *headers: tuple[str, str],
        body: bytes = b"",
        at: Stall = stall,
        path: str | None = None,
        signed: Callable[[UUID], list[tuple[str, str]]] = lambda shopper: [token(shop, shopper)],
        keys: tuple[str, ...] = ("key",),
    ) -> Make:
        async def make() -> Case:
            shopper = await shop.shopper()
            link = path if path is not None else await link_of(client, shop, at, shopper)
            own = [*signed(shopper), *(("Idempotency-Key", key) for key in keys), *headers]
            return Case("POST", link, status, code, own, body)

        return make

    def spoilt_by(change: Callable[[UUID], list[tuple[str, str]]]) -> Make:
        return attempt(401, "UNAUTHENTICATED", signed=change)

    foreign = await link_of(client, shop, stall, await shop.shopper())
    await assert_both_ways_agree(
        port_of(shop),
        {
            "no body": attempt(202),
            "a body": attempt(202, None, JSON, body=b'{"quantity": 2}'),
            "a charset": attempt(202, None, ("Content-Type", 'Application/JSON; charset="UTF-8"'), body=b"{}"),
            "a longest key": attempt(202, keys=("k" * 255,)),
            "no token": spoilt_by(lambda _: []),
            "an empty token": spoilt_by(lambda _: [("Authorization", "Bearer ")]),
            "a wrong token": spoilt_by(lambda one: [("Authorization", token(shop, one)[1][:-1] + "*")]),
            "another scheme": spoilt_by(
                lambda one: [("Authorization", token(shop, one)[1].replace("Bearer", "Basic"))]
            ),
            "two tokens": attempt(400, "INVALID", signed=lambda one: [token(shop, one)] * 2),
            "no key": attempt(400, "INVALID", keys=()),
            "two keys": attempt(400, "INVALID", keys=("key", "key")),
            "an empty key": attempt(400, "INVALID", keys=("",)),
            "a key with a blank": attempt(400, "INVALID", keys=("a key",)),
            "a key that is no ASCII": attempt(400, "INVALID", keys=("kéy",)),
            "too long a key": attempt(400, "INVALID", keys=("k" * 256,)),
            "no JSON": attempt(400, "INVALID", JSON, body=b"{"),
            "a key twice": attempt(400, "INVALID", JSON, body=b'{"quantity": 1, "quantity": 2}'),
            "a list": attempt(422, "INVALID_FIELD", JSON, body=b"[1]"),
            "no number": attempt(400, "INVALID", JSON, body=b'{"quantity": NaN}'),
            "zero": attempt(422, "INVALID_FIELD", JSON, body=b'{"quantity": 0}'),
            "a text": attempt(422, "INVALID_FIELD", JSON, body=b'{"quantity": "1"}'),
            "true": attempt(422, "INVALID_FIELD", JSON, body=b'{"quantity": true}'),
            "another field": attempt(422, "INVALID_FIELD", JSON, body=b'{"price": 1}'),
            "too many": attempt(409, "LIMIT_REACHED", JSON, body=b'{"quantity": 3}'),
            "a body of no type": attempt(415, "UNSUPPORTED_MEDIA_TYPE", body=b"{}"),
            "a form": attempt(415, "UNSUPPORTED_MEDIA_TYPE", ("Content-Type", "text/plain"), body=b"{}"),
            "another charset": attempt(
                415, "UNSUPPORTED_MEDIA_TYPE", ("Content-Type", "application/json; charset=latin-1"), body=b"{}"
            ),
            "two types": attempt(400, "INVALID", JSON, JSON, body=b"{}"),
            "a forged link": attempt(404, "LINK_INVALID", path=f"/api/v1/buy/{FORGED}"),
            "a spoilt link": attempt(404, "LINK_INVALID", path=foreign[:-1] + ("A" if foreign[-1] != "A" else "Q")),
            "another's link": attempt(404, "LINK_INVALID", path=foreign),
            "a short link": attempt(404, "LINK_INVALID", path="/api/v1/buy/x"),
            "no link": attempt(404, "LINK_INVALID", path="/api/v1/buy/"),
            "a link with a slash": attempt(404, "LINK_INVALID", path="/api/v1/buy/a/b"),
        },
    )
    item = await shop.gate.read(stall.lane())
    assert item.available == 100 - 3 * (1 + 2 + 1 + 1), "what was refused took nothing, what was accepted took it once"

    links: dict[str, tuple[UUID, str]] = {}
    for name, one in (("sold out", sold_out), ("ended", ended), ("paused", paused)):
        shopper = await shop.shopper()
        links[name] = shopper, await link_of(client, shop, one, shopper)
    await shop.buy(sold_out)
    await shop.end(ended)
    await shop.gate.latch(paused.lane(), "drift", generation=1)

    def with_link(name: str, status: int, code: str) -> Make:
        shopper, path = links[name]

        async def make() -> Case:
            return Case("POST", path, status, code, [token(shop, shopper), ("Idempotency-Key", uuid4().hex)])

        return make

    await assert_both_ways_agree(
        port_of(shop),
        {
            "sold out": with_link("sold out", 409, "SOLD_OUT"),
            "ended": with_link("ended", 410, "ENDED"),
            "paused": with_link("paused", 409, "PAUSED"),
        },
    )


async def test_the_same_key_gets_the_same_ticket_by_both_ways(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale()
    shopper = await shop.shopper()
    path = await link_of(client, shop, stall, shopper)
    headers = [token(shop, shopper), ("Idempotency-Key", "one")]
    first = (await ask(port_of(shop), request("POST", path, headers=headers), "POST")).json()
    again = (await ask(port_of(shop), chunked("POST", path, headers=headers), "POST")).json()
    assert (first["outcome"], again["outcome"]) == ("RESERVED", "REPLAYED")
    assert first["ticket"] == again["ticket"]
    assert (await shop.gate.read(stall.lane())).available == 9


async def test_a_body_above_the_limit_is_refused(client: httpx.AsyncClient, shop: Shop) -> None:
    data = request("POST", f"/api/v1/buy/{FORGED}", body=b" " * 70_000, headers=[JSON])
    answer = await ask(port_of(shop), data, "POST")
    assert told(answer)[:2] == (413, "TOO_LARGE")


async def test_other_methods_of_the_same_addresses(client: httpx.AsyncClient, shop: Shop) -> None:
    for method, path, allowed in (
        ("PUT", f"/api/v1/buy/{FORGED}", b"POST"),
        ("GET", f"/api/v1/buy/{FORGED}", b"POST"),
        ("POST", "/api/v1/tickets/x", b"GET"),
        ("GET", "/api/v1/sales/a/items/B/link", b"POST"),
    ):
        answer = await ask(port_of(shop), request(method, path), method)
        assert told(answer)[:2] == (405, "METHOD_NOT_ALLOWED"), (method, path)
        assert answer.header(b"allow") == allowed


async def test_asking_for_a_link(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale()
    early = await shop.sale(opens_in_s=600)
    unloaded = await shop.sale(opens_in_s=600, loaded=False)
    late = await shop.sale()
    await shop.end(late)
    sold_out = await shop.sale(items={"TEE-M": 1})
    await shop.buy(sold_out)

    def wish(
        status: int,
        code: str | None = None,
        *,
        slug: str = stall.slug,
        sku: str = "TEE-M",
        signed: Callable[[UUID], list[tuple[str, str]]] = lambda shopper: [token(shop, shopper)],
        body: bytes = b"",
    ) -> Make:
        async def make() -> Case:
            path = f"/api/v1/sales/{slug}/items/{sku}/link"
            return Case("POST", path, status, code, signed(uuid4()), body)

        return make

    await assert_both_ways_agree(
        port_of(shop),
        {
            "open": wish(201),
            "open, with a body nobody reads": wish(201, body=b"whatever"),
            "no token": wish(401, "UNAUTHENTICATED", signed=lambda _: []),
            "a wrong token": wish(401, "UNAUTHENTICATED", signed=lambda _: [("Authorization", "Bearer x.y.z")]),
            "two tokens": wish(400, "INVALID", signed=lambda one: [token(shop, one)] * 2),
            "before opening": wish(403, "NOT_OPEN", slug=early.slug),
            "before loading": wish(403, "NOT_OPEN", slug=unloaded.slug),
            "after the end": wish(410, "ENDED", slug=late.slug),
            "sold out": wish(409, "SOLD_OUT", slug=sold_out.slug),
            "no such sale": wish(404, "NOT_FOUND", slug="nothing-here"),
            "no such item": wish(404, "NOT_FOUND", sku="TEE-XXL"),
            "no slug": wish(404, "NOT_FOUND", slug="UPPER"),
            "no sku": wish(404, "NOT_FOUND", sku="b" * 80),
        },
    )


async def test_asking_for_a_ticket(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 1_000})
    decided: list[tuple[UUID, str]] = []

    async def bought() -> tuple[UUID, str]:
        shopper = await shop.shopper()
        path = await link_of(client, shop, stall, shopper)
        headers = {**as_shopper(shop, shopper), "Idempotency-Key": "one"}
        return shopper, str((await client.post(path, headers=headers)).json()["ticket_path"])

    async def queued() -> Case:
        shopper, path = await bought()
        return Case("GET", path, 200, None, [token(shop, shopper)])

    async def of_another() -> Case:
        return Case("GET", (await bought())[1], 404, "NOT_FOUND", [token(shop, uuid4())])

    async def spoilt() -> Case:
        shopper, path = await bought()
        last = "A" if path[-1] != "A" else "Q"
        return Case("GET", path[:-1] + last, 404, "NOT_FOUND", [token(shop, shopper)])

    async def forged() -> Case:
        return Case("GET", "/api/v1/tickets/x", 404, "NOT_FOUND", [token(shop, uuid4())])

    async def of_nobody() -> Case:
        return Case("GET", (await bought())[1], 401, "UNAUTHENTICATED")

    async def of_two() -> Case:
        shopper, path = await bought()
        return Case("GET", path, 400, "INVALID", [token(shop, shopper), token(shop, uuid4())])

    async def in_the_ledger() -> Case:
        shopper, path = decided[0]
        return Case("GET", path, 200, None, [token(shop, shopper)])

    cases: dict[str, Make] = {
        "queued": queued, "another's": of_another, "spoilt": spoilt, "forged": forged, "no token": of_nobody,
        "two tokens": of_two,
    }  # fmt: skip
    await assert_both_ways_agree(port_of(shop), cases)
    decided.append(await bought())
    await shop.drain(stall)
    await assert_both_ways_agree(port_of(shop), {"decided": in_the_ledger})


async def test_without_the_gate_both_ways_say_so(shop: Shop) -> None:
    settings = shop.settings.model_copy(
        update={"public_url": free_origin(), "gate_url": "redis://127.0.0.1:1/0", "gate_timeout_s": 0.5}
    )
    shopper = uuid4()

    def case(path: str) -> Make:
        async def make() -> Case:
            headers = [token(shop, shopper), ("Idempotency-Key", "one")]
            return Case("POST", path, 503, "DEGRADED", headers)

        return make

    async with serving(settings):
        await assert_both_ways_agree(
            int(settings.public_url.rpartition(":")[2]),
            {"buy": case(f"/api/v1/buy/{FORGED}"), "link": case("/api/v1/sales/any/items/TEE-M/link")},
        )


async def test_pipelined_attempts_are_answered_in_order_and_none_is_lost(client: httpx.AsyncClient, shop: Shop) -> None:
    """All but the first find the connection busy and go the usual way; the gate decides them in its own order."""
    stall = await shop.sale(items={"TEE-M": 100}, limit=100)
    shopper = await shop.shopper()
    path = await link_of(client, shop, stall, shopper)
    keys = [f"{number}" for number in range(10)]
    async with calling(port_of(shop)) as peer:
        headers = [token(shop, shopper)]
        await peer.send(*(request("POST", path, headers=[*headers, ("Idempotency-Key", key)]) for key in keys))
        first = [(await peer.answer()).json() for _ in keys]
        await peer.send(*(request("POST", path, headers=[*headers, ("Idempotency-Key", key)]) for key in keys))
        again = [(await peer.answer()).json() for _ in keys]
    assert [one["outcome"] for one in first] == ["RESERVED"] * 10
    assert [one["outcome"] for one in again] == ["REPLAYED"] * 10
    assert [one["ticket"] for one in first] == [one["ticket"] for one in again]
    assert len({one["ticket"] for one in first}) == 10
    assert (await shop.gate.read(stall.lane())).available == 90


async def test_half_an_attempt_buys_nothing(client: httpx.AsyncClient, shop: Shop) -> None:
    """The body said three; a client that goes before it has sent it must not be sold one."""
    stall = await shop.sale(limit=3)
    shopper = await shop.shopper()
    path = await link_of(client, shop, stall, shopper)
    headers = [token(shop, shopper), ("Idempotency-Key", "one"), JSON]
    heads = [
        request("POST", path, headers=[*headers, ("Content-Length", "13")]),
        request("POST", path, headers=[*headers, ("Transfer-Encoding", "chunked")]),
    ]
    async with calling(port_of(shop)) as peer:
        expecting = request("POST", path, headers=[*headers, ("Expect", "100-continue"), ("Content-Length", "13")])
        assert (await peer.ask(expecting, "POST")).status == 100, "the endpoint waits for the body"
    for head in heads:
        async with calling(port_of(shop)) as peer:
            await peer.send(head)
    # Every one of them has been dealt with when a later request on the same loop has been to the gate and back.
    for _ in range(3):
        await link_of(client, shop, stall, shopper)
        assert (await client.get("/api/v1/clock")).status_code == 200
    assert (await shop.gate.read(stall.lane())).available == 10


# The endpoints' common ground, by itself.


class Failing(Endpoint):
    """Goes wrong as it is told, at once or later."""

    def __init__(self, error: Exception, *, later: bool) -> None:
        super().__init__()
        self._error = error
        self._later = later

    def answer(self, request: HotRequest, reply: Callable[[Reply], None]) -> None:
        if self._later:
            self.later(self._go_wrong(), reply)
            return
        raise self._error

    async def _go_wrong(self) -> None:
        await asyncio.sleep(0)
        raise self._error


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (Refused(Code.SOLD_OUT), 409, "SOLD_OUT", None),
        (Refused(Code.NOT_OPEN, retry_after_ms=1_500), 403, "NOT_OPEN", b"2"),
        (GateUnavailable("away"), 503, "DEGRADED", b"2"),
        (Overloaded(), 503, "DEGRADED", b"2"),
        (ConnectionRefusedError(), 503, "DEGRADED", b"2"),
        (ValueError("a secret that nobody may see"), 500, "INTERNAL", None),
    ],
)
async def test_whatever_goes_wrong_is_an_answer(
    error: Exception, status: int, code: str, retry_after: bytes | None, later: bool
) -> None:
    endpoint = Failing(error, later=later)
    for _ in range(2):  # the second time from what was made for the first
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        endpoint(HotRequest("GET", "/", {}, [], b""), answered.set_result)
        async with asyncio.timeout(LIMIT_S):
            reply = await answered
        document = orjson.loads(reply.body)
        assert (reply.head.status, document["code"]) == (status, code)
        assert dict(reply.head.headers).get(b"retry-after") == retry_after
        assert b"secret" not in reply.wire()
    while endpoint._tasks:
        await asyncio.sleep(0)


async def test_an_emptied_gate_degrades_and_never_calls_a_link_forged(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await shop.sale()
    shopper = uuid4()
    link = await link_of(client, shop, stall, shopper)
    await shop.gate.store.client.unlink(*LaneKeys(stall.lane()).all())
    headers = as_shopper(shop, shopper)
    address = f"/api/v1/sales/{stall.slug}/items/TEE-M/link"
    async with asyncio.timeout(10):
        while (await client.post(address, headers=headers)).status_code != 503:
            await asyncio.sleep(0.05)  # until the view of the lane is read again
    for _ in range(3):
        answer = await client.post(link, headers={**headers, "Idempotency-Key": "one"})
        assert (answer.status_code, answer.json()["code"]) == (503, "DEGRADED")
        assert "Idempotency-Key" in answer.json()["detail"], "she may have bought: the same key again"
    refused = await client.post(address, headers=headers)
    assert "detail" not in refused.json(), "who asks for a link has tried nothing yet"


@pytest.mark.parametrize("padding", [0, 30_000])
async def test_a_long_body_is_read_as_a_short_one_is(client: httpx.AsyncClient, shop: Shop, padding: int) -> None:
    stall = await shop.sale(limit=3)
    shopper = uuid4()
    link = await link_of(client, shop, stall, shopper)
    headers = {**as_shopper(shop, shopper), "Idempotency-Key": "one", "Content-Type": "application/json"}
    answer = await client.post(link, headers=headers, content=b'{"quantity": 9' + b" " * padding + b"}")
    assert (answer.status_code, answer.json()["code"]) == (409, "LIMIT_REACHED")
