"""Signing in and out: routes of the console's own ASGI application, outside Streamlit.

Streamlit cannot set a cookie from a script. The form is a page of ours; it posts to this process,
which asks the API and keeps the token in a cookie that no script can read. The browser sends it with
every websocket handshake, so a reload or a lost connection does not sign anybody out.
"""

import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from console.client import ApiClient
from console.errors import ApiError, SessionEnded, Unreachable
from console.guard import SESSION_COOKIE, SIGN_IN_PATH, origin_allowed
from console.settings import BASE_PATH, Settings

SIGN_OUT_PATH = f"{BASE_PATH}/sign-out"
_FORM_COOKIE = "stampede_form"
_FORM_LIFE_S = 3_600
_FORM_LIMIT_BYTES = 8_192
_NEXT = re.compile(r"/console/(?!sign-|/)(?:[\w-]+/?)*(?:\?[\w=&%.~+-]*)?", re.ASCII)

_templates = Environment(loader=FileSystemLoader(str(__file__).rsplit("/", 1)[0] + "/templates"), autoescape=True)

_ENDED = "Your session has ended. Sign in again to go on where you were."
_LEFT = "You are signed out."
_WRONG = "E-mail or password is not right."
_LOCKED = "Too many attempts. Wait a minute, then try again."
_DOWN = "The API does not answer right now. Try again in a few seconds."
_STALE_FORM = "This form was open for too long, or came from elsewhere. Please try again."


def page(name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """One of our own HTML pages, never cached."""
    html = _templates.get_template(name).render(base=BASE_PATH, **values)
    return HTMLResponse(html, status_code=status, headers={"Cache-Control": "no-store"})


def safe_next(value: str | None) -> str:
    """Where to go after signing in: a page of the console and nothing else."""
    return value if value and _NEXT.fullmatch(value) else f"{BASE_PATH}/"


class SignIn:
    """The sign-in form, its answer, and signing out."""

    def __init__(self, client: ApiClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    def routes(self) -> list[Route]:
        return [
            Route(SIGN_IN_PATH, self.show, methods=["GET"]),
            Route(SIGN_IN_PATH, self.submit, methods=["POST"]),
            Route(SIGN_OUT_PATH, self.leave, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        why = {"ended": _ENDED, "left": _LEFT}.get(request.query_params.get("why", ""), "")
        return self._form(safe_next(request.query_params.get("next")), note=why)

    async def submit(self, request: Request) -> Response:
        fields = await _read_form(request)
        target = safe_next(fields.get("next"))
        email = fields.get("email", "").strip()
        if not self._genuine(request, fields.get("form_token", "")):
            return self._form(target, email=email, problem=_STALE_FORM, status=403)
        password = fields.get("password", "")
        if not email or not password:
            return self._form(target, email=email, problem=_WRONG, status=422)
        try:
            reply = await run_in_threadpool(self._client.sign_in, email, password)
            token, life_s = reply.data["access_token"], _life_s(reply.data["expires_at"])
        except SessionEnded:
            return self._form(target, email=email, problem=_WRONG, status=401)
        except ApiError as error:
            problem, status = (_LOCKED, 429) if error.status == 429 else (_WRONG, 401)
            if error.status >= 500:
                problem, status = _DOWN, 503
            return self._form(target, email=email, problem=problem, status=status)
        except (Unreachable, KeyError, TypeError, ValueError):
            return self._form(target, email=email, problem=_DOWN, status=503)
        answer = RedirectResponse(target, status_code=303, headers={"Cache-Control": "no-store"})
        self._set_cookie(answer, SESSION_COOKIE, token, BASE_PATH, life_s)
        answer.delete_cookie(_FORM_COOKIE, path=SIGN_IN_PATH)
        return answer

    async def leave(self, request: Request) -> Response:
        """Revoke the token and forget it. Signing out succeeds even when the API is away."""
        if not origin_allowed(request.headers.get("origin"), request.headers.get("host"), self._settings):
            return page("message.html", 403, title="Not signed out", text=_STALE_FORM)
        token = request.cookies.get(SESSION_COOKIE)
        if token:
            # When the API is away the cookie goes all the same; the token ends with its own life time.
            with suppress(ApiError, Unreachable):
                await run_in_threadpool(self._client.sign_out, token)
        answer = RedirectResponse(f"{SIGN_IN_PATH}?why=left", status_code=303)
        answer.delete_cookie(
            SESSION_COOKIE,
            path=BASE_PATH,
            secure=self._settings.secure_cookies,
            httponly=True,
            samesite="strict",
        )
        return answer

    def _form(self, target: str, *, email: str = "", problem: str = "", note: str = "", status: int = 200) -> Response:
        token = secrets.token_urlsafe(32)
        answer = page("sign_in.html", status, form_token=token, next=target, email=email, problem=problem, note=note)
        self._set_cookie(answer, _FORM_COOKIE, token, SIGN_IN_PATH, _FORM_LIFE_S)
        return answer

    def _genuine(self, request: Request, form_token: str) -> bool:
        """Our own form, filled in on our own page: the same token in field and cookie, our origin.

        Without it another site could sign a visitor in as somebody else (login CSRF).
        """
        cookie = request.cookies.get(_FORM_COOKIE, "")
        return (
            bool(cookie)
            and secrets.compare_digest(cookie.encode(), form_token.encode())
            and origin_allowed(request.headers.get("origin"), request.headers.get("host"), self._settings)
        )

    def _set_cookie(self, answer: Response, name: str, value: str, path: str, life_s: int) -> None:
        answer.set_cookie(
            name,
            value,
            max_age=life_s,
            path=path,
            httponly=True,
            samesite="strict",
            secure=self._settings.secure_cookies,
        )


async def _read_form(request: Request) -> dict[str, str]:
    """The fields of a URL-encoded form, none when it is longer than any real one."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _FORM_LIMIT_BYTES:
                return {}
    except ClientDisconnect:
        return {}
    pairs = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10, keep_blank_values=True)
    return {name: values[-1] for name, values in pairs.items()}


def _life_s(expires_at: str) -> int:
    """Seconds until the token expires; the cookie goes with it."""
    left = datetime.fromisoformat(expires_at) - datetime.now(UTC)
    return max(1, int(left.total_seconds()))
