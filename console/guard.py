"""What every request to the console passes before Streamlit sees it.

Streamlit's own origin check lets any port of localhost in, and looks its external address up at an
outside host before it refuses a stranger. Ours is stricter, comes first, and calls nobody.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

import streamlit
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.settings import BASE_PATH, Settings

SESSION_COOKIE = "stampede_operator"
SIGN_IN_PATH = f"{BASE_PATH}/sign-in"


def _inline_scripts() -> str:
    """The hashes of the inline scripts in Streamlit's own page, as sources of the policy."""
    page = Path(streamlit.__file__).parent / "static" / "index.html"
    scripts = re.findall(rb"<script>(.*?)</script>", page.read_bytes(), re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts)
    return "".join(f" 'sha256-{digest}'" for digest in digests)


# Streamlit sets styles from code, and its tables and code editors run WebAssembly and blob workers;
# nothing it does needs other inline script or another host.
_POLICY = (
    f"default-src 'self'; script-src 'self' 'wasm-unsafe-eval'{_inline_scripts()}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}

# Streamlit's own metrics and its agent API are for machines beside it, not for browsers.
_CLOSED = (f"{BASE_PATH}/_stcore/metrics", f"{BASE_PATH}/_stcore/agent")
_UPLOADS = f"{BASE_PATH}/_stcore/upload_file/"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def origin_allowed(origin: str | None, host: str | None, settings: Settings) -> bool:
    """Whether a page of `origin` may open a websocket or post a form.

    The public address may. On the local stack so may the address the request itself names, as long
    as that is the loopback interface (a browser pointed at localhost instead of 127.0.0.1). A
    missing `Origin` is refused: browsers always send it with websockets and posts.
    """
    if origin is None:
        return False
    if origin.lower() == settings.public_url:
        return True
    parts = urlsplit(origin.lower())
    return (
        settings.environment == "local"
        and parts.scheme in {"http", "https"}
        and parts.hostname in _LOOPBACK
        and parts.netloc == (host or "").lower()
    )


class Guard:
    """ASGI middleware: origins, closed paths, the way to the sign-in, and security headers.

    `may_upload` says of a token whether it is an operator's: Streamlit takes files from whoever opened a websocket,
    signed in or not, and keeps them in this process's memory.
    """

    def __init__(self, app: ASGIApp, settings: Settings, may_upload: Callable[[str], bool]) -> None:
        self._app = app
        self._settings = settings
        self._may_upload = may_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            headers = Headers(scope=scope)
            if not origin_allowed(headers.get("origin"), headers.get("host"), self._settings):
                # Closing before accepting makes the server answer the handshake with 403.
                await send({"type": "websocket.close", "code": 1008, "reason": "origin"})
                return
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        path = scope["path"]
        if path.startswith(_CLOSED):
            await PlainTextResponse("Not found", status_code=404)(scope, receive, send_with_headers)
        elif path.startswith(_UPLOADS) and not await self._upload_allowed(HTTPConnection(scope)):
            await PlainTextResponse("Sign in again, then choose the file.", status_code=403)(
                scope, receive, send_with_headers
            )
        elif needs_sign_in(HTTPConnection(scope), scope["method"]):
            query = scope["query_string"].decode("latin-1")
            target = quote(path + (f"?{query}" if query else ""), safe="")
            answer = RedirectResponse(f"{SIGN_IN_PATH}?next={target}", status_code=303)
            await answer(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    async def _upload_allowed(self, request: HTTPConnection) -> bool:
        """Asked before the first byte of a file is read."""
        token = request.cookies.get(SESSION_COOKIE)
        return bool(token) and await run_in_threadpool(self._may_upload, token or "")


def needs_sign_in(request: HTTPConnection, method: str) -> bool:
    """Whether this is a person opening a console page without a session.

    A link from another site arrives without the `SameSite=Strict` cookie although the session may
    be good: it is let through, and the page decides by the cookie of its websocket, which is sent.
    """
    path = request.url.path
    own = path.removeprefix(BASE_PATH)
    return (
        method == "GET"
        and path.startswith(BASE_PATH)
        and not own.startswith(("/sign-in", "/sign-out", "/_stcore", "/assets/", "/static/", "/download/"))
        and request.headers.get("sec-fetch-mode", "navigate") == "navigate"
        and "text/html" in request.headers.get("accept", "")
        and request.headers.get("sec-fetch-site", "none") != "cross-site"
        and SESSION_COOKIE not in request.cookies
    )
