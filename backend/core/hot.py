"""The hot door: requests answered without a framework, a coroutine or a task of their own.

    bytes ─► HttpTools parser ─► HotEndpoint(request, reply) ─► … ─► reply(Reply) ─► bytes

An endpoint is a plain function of a request and of what to call with the answer, now or later. It is served by
``backend.core.hot_protocol`` straight from uvicorn's parser; for whatever that does not take (chunked bodies,
pipelining, HTTP/1.0, another server), the FastAPI route of the same address, which also documents it, asks the same
endpoint through ``serve``.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

import orjson
from fastapi import Request, Response

from backend.core.errors import STATUS, Code, Refused, problem, retry_after_s
from backend.core.strict_json import MAX_BODY_BYTES

Headers = Sequence[tuple[bytes, bytes]]
SAFE_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""On every answer of the API that has not its own."""


class Head:
    """A status and headers, made once: as ASGI wants them, and as bytes on the wire."""

    __slots__ = ("headers", "lines", "status")

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = (*headers, *SAFE_HEADERS)
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        self.lines = first + b"".join(b"%b: %b\r\n" % header for header in self.headers)


class Reply(NamedTuple):
    """An answer: ready-made head, and a body."""

    head: Head
    body: bytes

    def wire(self, *, close: bool = False) -> bytes:
        """The whole answer as HTTP/1.1."""
        more = b"connection: close\r\n" if close else b""
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (self.head.lines, more, len(self.body), self.body)


class HotRequest(NamedTuple):
    """One request. ``fields`` holds its headers by lower-case name, the last of each name."""

    method: str
    path: str
    fields: dict[bytes, bytes]
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def field(self, name: bytes) -> str:
        """A header that may stand once, empty when it is missing. Raises ``Refused`` when it stands twice."""
        if len(self.fields) != len(self.headers) and sum(one == name for one, _ in self.headers) > 1:
            raise Refused(Code.INVALID, f"The header {name.decode('latin-1')} stands there twice.")
        return self.fields.get(name, b"").decode("latin-1")


class HotEndpoint(Protocol):
    """Answers one request, at once or later, exactly once. Never raises."""

    def __call__(self, request: HotRequest, reply: Callable[[Reply], None]) -> None: ...


@lru_cache(maxsize=1024)
def _problem_head(code: Code, retry_after: str | None) -> Head:
    headers = [(b"content-type", b"application/problem+json")]
    if retry_after is not None:
        headers.append((b"retry-after", retry_after.encode()))
    if code is Code.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b'Bearer realm="stampede"'))
    return Head(STATUS[code], headers)


def problem_reply(refused: Refused) -> Reply:
    """The RFC 9457 answer to a refusal."""
    wait_ms = refused.retry_after_ms
    head = _problem_head(refused.code, None if wait_ms is None else retry_after_s(wait_ms))
    return Reply(head, orjson.dumps(problem(refused)))


async def serve(endpoint: HotEndpoint, request: Request) -> Response:
    """Answer a request that came the usual way."""
    headers = [(bytes(name).lower(), bytes(value)) for name, value in request.scope["headers"]]
    body = await _body(request.receive)
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def reply(answer: Reply) -> None:
        if not future.done():  # the client may have gone, and this wait with it
            future.set_result(answer)

    endpoint(HotRequest(request.method, request.scope["path"], dict(headers), headers, body), reply)
    head, content = await future
    response = Response(content, head.status)
    response.raw_headers = [(b"content-length", str(len(content)).encode()), *head.headers]
    return response


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more and len(body) <= MAX_BODY_BYTES:
        message = await receive()
        if message["type"] != "http.request":  # even as the first: half a request must not become an attempt
            raise Refused(Code.INVALID, "The body was cut off.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if len(body) > MAX_BODY_BYTES:
        raise Refused(Code.TOO_LARGE, f"Send at most {MAX_BODY_BYTES} bytes.")
    return body
