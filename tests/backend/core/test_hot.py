"""Requests and answers of the hot door by themselves: what a header means, and bytes that a strict parser accepts."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11
import orjson
import pytest
from fastapi import Request

from backend.core.errors import STATUS, Code, Refused, invalid_field
from backend.core.hot import SAFE_HEADERS, Head, HotRequest, Reply, problem_reply, serve
from backend.core.strict_json import MAX_BODY_BYTES

JSON = ((b"content-type", b"application/json"),)


def hot_request(*headers: tuple[bytes, bytes]) -> HotRequest:
    return HotRequest("GET", "/", dict(headers), list(headers), b"")


def on_the_wire(data: bytes) -> tuple[h11.Response, bytes]:
    """What a strict parser makes of it; nothing may be left over."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("host", "shop.example")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(data)
    response, body = parser.next_event(), b""
    assert isinstance(response, h11.Response)
    while isinstance(event := parser.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert parser.trailing_data[0] == b""
    return response, body


def test_a_header_is_read_once() -> None:
    request = hot_request((b"host", b"a"), (b"authorization", b"Bearer \xe9"), (b"host", b"b"))
    assert request.field(b"authorization") == "Bearer \xe9"
    assert request.field(b"idempotency-key") == ""
    with pytest.raises(Refused) as refused:
        request.field(b"host")
    assert refused.value.code is Code.INVALID
    with pytest.raises(Refused):
        hot_request((b"host", b"a"), (b"host", b"a")).field(b"host")


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 100_000, bytes(range(256))])
@pytest.mark.parametrize("status", [200, 201, 202, 404, 503])
@pytest.mark.parametrize("close", [False, True])
def test_an_answer_on_the_wire(status: int, body: bytes, close: bool) -> None:
    response, received = on_the_wire(Reply(Head(status, JSON), body).wire(close=close))
    assert (response.status_code, response.reason.decode(), received) == (status, HTTPStatus(status).phrase, body)
    ending = [(b"connection", b"close")] if close else []
    assert sorted(response.headers) == sorted(
        [*JSON, *SAFE_HEADERS, *ending, (b"content-length", str(len(body)).encode())]
    )


@pytest.mark.parametrize("code", list(Code))
def test_every_refusal_is_a_problem(code: Code) -> None:
    response, body = on_the_wire(problem_reply(Refused(code, "Why.", retry_after_ms=1_001)).wire())
    headers = dict(response.headers)
    assert (response.status_code, headers[b"content-type"]) == (STATUS[code], b"application/problem+json")
    assert headers[b"retry-after"] == b"2", "whole seconds, never too early"
    assert (b"www-authenticate" in headers) == (code is Code.UNAUTHENTICATED)
    document = orjson.loads(body)
    assert (document["code"], document["status"], document["detail"]) == (code.value, STATUS[code], "Why.")
    assert document["retry_after_ms"] == 1_001


def test_a_refusal_says_nothing_that_it_does_not_know() -> None:
    reply = problem_reply(Refused(Code.SOLD_OUT))
    assert b"retry-after" not in dict(reply.head.headers)
    assert orjson.loads(reply.body).keys() == {"type", "title", "status", "code"}
    field = orjson.loads(problem_reply(invalid_field("quantity", "Too many.")).body)
    assert field["errors"] == [{"field": "quantity", "message": "Too many."}]


def served(*messages: dict[str, Any], path: str = "/buy") -> Request:
    """A request that comes as these ASGI messages."""
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"X-Key", b"one")]}
    return Request(scope, receive)


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


async def test_the_usual_way_asks_the_same_endpoint_with_the_whole_body() -> None:
    asked: list[HotRequest] = []

    def endpoint(request: HotRequest, reply: Callable[[Reply], None]) -> None:
        asked.append(request)
        asyncio.get_running_loop().call_soon(reply, Reply(Head(202, JSON), b"{}"))
        asyncio.get_running_loop().call_soon(reply, Reply(Head(500, JSON), b"a second one"))

    response = await serve(endpoint, served(part(b"ab"), part(b""), part(b"cd", more=False)))

    assert (response.status_code, response.body) == (202, b"{}")
    assert sorted(response.raw_headers) == sorted([*JSON, *SAFE_HEADERS, (b"content-length", b"2")])
    (request,) = asked
    assert (request.method, request.path, request.body, request.field(b"x-key")) == ("POST", "/buy", b"abcd", "one")


@pytest.mark.parametrize("before", [(), (part(b""),), (part(b'{"quantity":'),)])
async def test_a_request_that_was_cut_off_is_not_carried_out(before: tuple[dict[str, Any], ...]) -> None:
    """Without its body an attempt would be one for a single unit."""
    asked: list[HotRequest] = []

    def endpoint(request: HotRequest, reply: Callable[[Reply], None]) -> None:
        asked.append(request)
        reply(Reply(Head(202, JSON), b"{}"))

    with pytest.raises(Refused) as refused:
        await serve(endpoint, served(*before, GONE))
    assert refused.value.code is Code.INVALID
    assert asked == []


async def test_a_body_ends_at_the_limit() -> None:
    def endpoint(request: HotRequest, reply: Callable[[Reply], None]) -> None:
        reply(Reply(Head(200, JSON), b"%d" % len(request.body)))

    half = b"x" * (MAX_BODY_BYTES // 2)
    response = await serve(endpoint, served(part(half), part(half, more=False)))
    assert response.body == b"%d" % MAX_BODY_BYTES
    with pytest.raises(Refused) as refused:
        await serve(endpoint, served(part(half), part(half + b"x"), part(b"never read")))
    assert refused.value.code is Code.TOO_LARGE
    with pytest.raises(Refused):
        await serve(endpoint, served(part(half), part(half + b"x", more=False)))
