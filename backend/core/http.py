"""What every HTTP route of ours shares: strict bodies in, problem details out, idempotency keys.

FastAPI's own body parser takes ``NaN``, duplicate keys and UTF-16, and its answer to a validation error
repeats the input (a lone surrogate in it becomes a 500). ``StrictRoute`` puts a request underneath whose
body is read by ``backend.core.strict_json``; ``on_validation_error`` never repeats what was sent.
"""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from backend.core.clock import rfc3339
from backend.core.errors import STATUS, Code, Refused, problem, retry_after_s
from backend.core.strict_json import MAX_BODY_BYTES, parse_object
from backend.core.text import IDEMPOTENCY_KEY

PROBLEM_MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
"""A body can be wrong in thousands of places; the first twenty help."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class RefusedBody(HTTPException):
    """A refusal raised while FastAPI reads the body: it lets only ``HTTPException`` through there."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(STATUS[refusal.code])
        self.refusal = refusal


def problem_response(refusal: Refused) -> Response:
    """The RFC 9457 answer to a refusal, with ``Retry-After`` where it helps."""
    headers: dict[str, str] = {}
    if refusal.retry_after_ms is not None:
        headers["Retry-After"] = retry_after_s(refusal.retry_after_ms)
    if refusal.code is Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer realm="stampede"'
    return Response(
        orjson.dumps(problem(refusal), default=str),
        status_code=STATUS[refusal.code],
        media_type=PROBLEM_MEDIA_TYPE,
        headers=headers,
    )


def _is_json(content_type: str) -> bool:
    name, _, parameters = content_type.partition(";")
    if name.strip().lower() != "application/json":
        return False
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    return charset in ("", "utf-8", "utf8")


class StrictRequest(Request):
    """A request whose body is bounded, JSON by its content type, and strictly parsed."""

    async def body(self) -> bytes:
        """At most ``MAX_BODY_BYTES``; without a body the content type does not matter."""
        if hasattr(self, "_body"):
            return self._body
        declared = self.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > MAX_BODY_BYTES:
            raise RefusedBody(Refused(Code.TOO_LARGE, f"Send at most {MAX_BODY_BYTES} bytes."))
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.stream():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise RefusedBody(Refused(Code.TOO_LARGE, f"Send at most {MAX_BODY_BYTES} bytes."))
            chunks.append(chunk)
        if size and not _is_json(self.headers.get("content-type", "")):
            raise RefusedBody(Refused(Code.UNSUPPORTED_MEDIA_TYPE, "Send application/json in UTF-8."))
        self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        """The body as an object; every refusal crosses FastAPI's parser unharmed."""
        try:
            return parse_object(await self.body())
        except Refused as refusal:
            raise RefusedBody(refusal) from None


class StrictRoute(APIRoute):
    """A route with a ``StrictRequest``, whose answers leave out what is None."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options["response_model_exclude_none"] = True
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def _field(location: Sequence[Any]) -> str:
    """``("body", "items", 0, "price")`` → ``items.0.price``; a name that is no name of ours is left out."""
    parts = [str(part) if isinstance(part, int) or _NAME.fullmatch(str(part)) else "?" for part in location[1:]]
    return ".".join(parts) or str(location[0])


def _message(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "There is no such field."
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[:1].upper() + message[1:200]


def refusal_of(errors: Sequence[Mapping[str, Any]]) -> Refused:
    """The refusal for FastAPI's validation errors: an address or header that cannot be is no field."""
    places = {error["loc"][0] for error in errors}
    if "path" in places:
        return Refused(Code.NOT_FOUND)
    if "header" in places:
        name = next(str(error["loc"][-1]) for error in errors if error["loc"][0] == "header")
        return Refused(Code.INVALID, f"The header {name} is missing or malformed.")
    named = [{"field": _field(error["loc"]), "message": _message(error)} for error in errors]
    return Refused(Code.INVALID_FIELD, errors=named[:MAX_ERRORS])


async def on_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return problem_response(error)


async def on_validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(refusal_of(error.errors()))


_BY_STATUS = {
    400: Code.INVALID,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
}


async def on_http_exception(_: Request, error: Exception) -> Response:
    """Starlette's and FastAPI's own refusals (no such route, wrong method, unreadable body) as problems."""
    assert isinstance(error, HTTPException)
    if isinstance(error, RefusedBody):
        return problem_response(error.refusal)
    response = problem_response(Refused(_BY_STATUS.get(error.status_code, Code.INVALID)))
    if error.status_code == STATUS[Code.METHOD_NOT_ALLOWED] and error.headers:
        response.headers["Allow"] = error.headers.get("Allow", "")
    return response


def _idempotency_key(
    request: Request,
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            description="Made by the client, one per intended action; a repeat gets the first answer.",
            min_length=1,
            max_length=255,
        ),
    ],
) -> str:
    if len(request.headers.getlist("idempotency-key")) != 1 or not IDEMPOTENCY_KEY.fullmatch(key):
        raise Refused(Code.INVALID, "Idempotency-Key takes 1 to 255 visible ASCII characters.")
    return key


IdempotencyKey = Annotated[str, Depends(_idempotency_key)]
"""400 ``INVALID`` when missing or malformed."""

PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": [code.value for code in Code]},
        "detail": {"type": "string"},
        "retry_after_ms": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem (RFC 9457) with a stable code",
        "content": {PROBLEM_MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}},
    }
}
"""For ``FastAPI(responses=…)``: it also keeps FastAPI from documenting its own 422."""


def etag(version: int) -> str:
    """A strong entity tag of a version."""
    return f'"{version}"'


def version_of(if_match: str) -> int | None:
    """The version an ``If-Match`` names, None for what no tag of ours looks like."""
    match = re.fullmatch(r'"(\d{1,9})"', if_match.strip(), re.ASCII)
    return int(match[1]) if match else None


class JsonResponse(Response):
    """JSON by orjson, times as RFC 3339 with ``Z``: for answers assembled as plain values."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return rfc3339(value)
    if isinstance(value, UUID):  # asyncpg's is a subclass, which orjson leaves to us
        return str(value)
    raise TypeError(f"not JSON: {type(value).__name__}")
