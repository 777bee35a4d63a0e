"""The one door to the API: HTTP with time-outs, bounded retries of reads, and typed errors.

Reads are tried three times; changes are sent once, always with an `Idempotency-Key`, so that a
repetition asked for by the operator is recognised by the API as the same action.
"""

import random
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import orjson

from console.errors import ApiError, FieldError, SessionEnded, Unreachable

API = "/api/v1"
TIMEOUT = httpx.Timeout(connect=2.0, read=10.0, write=5.0, pool=2.0)
UPLOAD_TIMEOUT = httpx.Timeout(connect=2.0, read=60.0, write=15.0, pool=2.0)
"""A picture is encoded in four files before the answer comes: seconds of a busy core."""
LIVE_TIMEOUT = httpx.Timeout(connect=0.5, read=1.5, write=0.5, pool=0.5)
"""A live view that waited longer than its allowed lag of 2 s would show an old figure anyway."""

READ_ATTEMPTS = 3
BACKOFF_S = 0.15
RETRIED = frozenset({502, 503, 504})
BODY_LIMIT_BYTES = 16 * 1024 * 1024
"""Answers are read into memory whole; long ones (the ledger) are streamed, see `download`."""

Method = Literal["POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer."""

    status: int
    data: Any
    etag: str | None = None


class ApiClient:
    """One per process: the connection pool is shared, tokens are given with each call."""

    def __init__(self, origin: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(
            base_url=origin + API,
            timeout=TIMEOUT,
            transport=transport,
            follow_redirects=False,
            trust_env=False,  # a proxy from the environment would see every operator's token
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=16),
            headers={"Accept": "application/json", "User-Agent": "stampede-console"},
        )

    def get(
        self,
        path: str,
        token: str,
        *,
        params: Mapping[str, str | int] | None = None,
        timeout: httpx.Timeout = TIMEOUT,
        attempts: int = READ_ATTEMPTS,
    ) -> Reply:
        """Read `path`. Lost connections and 502, 503, 504 are tried again, at most `attempts` in all."""
        for attempt in range(1, attempts + 1):
            try:
                reply = self._call("GET", path, token, params=params, timeout=timeout)
            except Unreachable:
                if attempt == attempts:
                    raise
            except ApiError as error:
                if attempt == attempts or error.status not in RETRIED:
                    raise
            else:
                return reply
            # Full jitter, so that viewers who lost the API together do not come back together.
            time.sleep(random.uniform(0, BACKOFF_S * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable: the last attempt returns or raises")

    def send(
        self,
        method: Method,
        path: str,
        token: str,
        *,
        idempotency_key: str,
        body: Mapping[str, Any] | None = None,
        if_match: str | None = None,
    ) -> Reply:
        """Send one change, once. After `Unreachable` or a 5xx it is open whether it was made."""
        headers = {"Idempotency-Key": idempotency_key}
        if if_match is not None:
            headers["If-Match"] = if_match
        return self._call(method, path, token, body=body, headers=headers, timeout=TIMEOUT)

    def upload(
        self, path: str, token: str, *, idempotency_key: str, content: bytes, media_type: str, params: Mapping[str, str]
    ) -> Reply:
        """Send a file as it is, once."""
        headers = {"Idempotency-Key": idempotency_key, "Content-Type": media_type}
        return self._call("POST", path, token, params=params, content=content, headers=headers, timeout=UPLOAD_TIMEOUT)

    def render(self, text: str, token: str) -> str:
        """A description as the page shows it, as HTML. It changes nothing, so it has no key."""
        return str(self._call("POST", "/operator/prose", token, body={"text": text}, timeout=TIMEOUT).data["html"])

    def sign_in(self, email: str, password: str) -> Reply:
        """Exchange an operator's e-mail and password for a token; wrong ones are a 401."""
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        body = {"email": email, "password": password}
        return self._call("POST", "/operator/session", None, body=body, headers=headers, timeout=TIMEOUT)

    def sign_out(self, token: str) -> None:
        """Revoke the token. It needs no key: a token revoked twice is as revoked as once."""
        self._call("DELETE", "/operator/session", token, timeout=TIMEOUT)

    @contextmanager
    def download(self, path: str, token: str, accept: str) -> Iterator[httpx.Response]:
        """Open `path` as a stream, for exports too long to hold in memory."""
        headers = {"Authorization": f"Bearer {token}", "Accept": accept}
        try:
            with self._http.stream("GET", path, headers=headers) as response:
                if response.status_code >= 400:
                    response.read()
                    raise _problem(response)
                yield response
        except httpx.HTTPError as error:
            raise Unreachable(type(error).__name__) from error

    def close(self) -> None:
        self._http.close()

    def _call(
        self,
        method: str,
        path: str,
        token: str | None,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx.Timeout,
    ) -> Reply:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            content = orjson.dumps(body)
            sent["Content-Type"] = "application/json"
        try:
            with self._http.stream(
                method, path, params=params, content=content, headers=sent, timeout=timeout
            ) as response:
                _read_bounded(response)
        except httpx.HTTPError as error:
            raise Unreachable(type(error).__name__) from error
        if response.status_code >= 400:
            raise _problem(response)
        if not 200 <= response.status_code < 300:
            raise Unreachable(f"unexpected status {response.status_code}")
        return Reply(response.status_code, _json(response), response.headers.get("ETag"))


def _read_bounded(response: httpx.Response) -> None:
    """Read the body into the response, up to the limit."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > BODY_LIMIT_BYTES:
            raise Unreachable(f"answer longer than {BODY_LIMIT_BYTES} bytes")
        chunks.append(chunk)
    response._content = b"".join(chunks)  # noqa: SLF001


def _json(response: httpx.Response) -> Any:
    if not response.content:
        return None
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise Unreachable("the answer is not JSON") from error


def _problem(response: httpx.Response) -> ApiError:
    """The typed error of a problem answer; whatever is not one (a proxy's page) still gets a code."""
    try:
        data = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        data = {}
    if not isinstance(data, dict):
        data = {}
    standard = {"type", "title", "status", "code", "detail", "instance", "errors"}
    fields = data.get("errors")
    error_type = SessionEnded if response.status_code == 401 else ApiError
    return error_type(
        status=response.status_code,
        code=str(data.get("code", f"HTTP_{response.status_code}")),
        title=str(data.get("title", "")),
        detail=str(data.get("detail", "")),
        fields=tuple(
            FieldError(str(f.get("field", "")), str(f.get("message", "")))
            for f in (fields if isinstance(fields, list) else [])
            if isinstance(f, dict)
        ),
        extra={key: value for key, value in data.items() if key not in standard},
    )
