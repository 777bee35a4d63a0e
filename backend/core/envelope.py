"""The outermost layer of every answer but the hot door's: a request id, safe headers, and no exception uncaught."""

from typing import Any
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.core.errors import Code, Refused
from backend.core.hot import SAFE_HEADERS
from backend.core.http import problem_response
from backend.core.log import get_logger

log = get_logger()


class Envelope:
    """Wraps an ASGI application.

    The request id is always ours: one from outside could be made to look like another request's in the logs.
    The path is not logged, because tickets stand in it; the route's pattern is.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = False

        async def send_wrapped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _complete(message, request_id)
            await send(message)

        try:
            await self._app(scope, receive, send_wrapped)
        except Exception:
            log.exception("request.failed", method=scope["method"], route=_route(scope))
            if not started:
                await problem_response(Refused(Code.INTERNAL))(scope, receive, send_wrapped)
        finally:
            structlog.contextvars.unbind_contextvars("request_id")


def _complete(message: Message, request_id: str) -> None:
    headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
    present = {name.lower() for name, _ in headers}
    headers += [header for header in SAFE_HEADERS if header[0] not in present]
    headers.append((b"x-request-id", request_id.encode()))
    message["headers"] = headers


def _route(scope: Scope) -> Any:
    return getattr(scope.get("route"), "path", None)
