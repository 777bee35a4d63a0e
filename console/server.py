"""The console as one ASGI application: our routes and guard around a Streamlit application."""

import importlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from streamlit.web.bootstrap import load_config_options

from console import logs
from console.client import ApiClient
from console.downloads import Downloads
from console.errors import ApiError, Unreachable
from console.guard import Guard
from console.settings import BASE_PATH, Settings
from console.sign_in import SignIn
from console.thumbnails import Thumbnails

HERE = Path(__file__).parent

# Streamlit imports these when the first table or chart is drawn, in that session's own thread: two
# sessions at once then meet a half-imported module (seen with pandas). We import them before any thread.
_IMPORTED_FIRST = ("pandas", "pyarrow", "plotly.graph_objects", "plotly.io")

_log = logging.getLogger(__name__)

OPTIONS: Mapping[str, Any] = {
    "server.baseUrlPath": BASE_PATH.strip("/"),
    "server.address": "127.0.0.1",
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.xsrfCookieSameSite": "strict",
    "server.enableAgentApi": False,
    "server.enableStaticServing": False,
    "server.maxUploadSize": 10,  # MB: a picture as the API takes it; other uploads ask for less
    "server.maxMessageSize": 20,
    # A lost websocket finds its session, with its idempotency keys, for ten minutes.
    "server.disconnectedSessionTTL": 600,
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "client.allowedOrigins": [],
    # Streamlit's own table download does not make cells harmless for spreadsheets; our exports do.
    "client.disableDataExport": True,
    # A collection after each run of a one-second fragment: 125 instead of 11 to 16 ms CPU.
    "runner.postScriptGC": False,
    "runner.magicEnabled": False,
}
"""Options that keep a promise (privacy, safety, cost). Looks are in `.streamlit/config.toml`."""


def _say_fault(error: Exception) -> bool:
    """A fault of ours: the log has all of it, the operator a sentence."""
    _log.error("console.script_failed", exc_info=error)
    st.error("Reload the page. If it stays, tell whoever runs Stampede; an action is never done twice.",
             title="The console had a fault of its own")  # fmt: skip
    return True  # suppresses Streamlit's own display, and its coloured traceback among our JSON lines


def build_app(settings: Settings) -> st.App:
    """The ASGI application of the console."""
    for module in _IMPORTED_FIRST:
        importlib.import_module(module)
    client = ApiClient(settings.api_url)

    @asynccontextmanager
    async def lifespan(_app: st.App) -> AsyncIterator[None]:
        logs.adopt()
        yield
        client.close()

    async def icon(_request: Request) -> FileResponse:
        return FileResponse(HERE / "assets" / "favicon.png", media_type="image/png")

    def may_upload(token: str) -> bool:
        try:
            client.get("/operator/me", token, attempts=1)
        except (ApiError, Unreachable):
            return False
        return True

    async def home(_request: Request) -> RedirectResponse:
        return RedirectResponse(f"{BASE_PATH}/", status_code=308)

    app = st.App(
        HERE / "app.py",
        lifespan=lifespan,
        on_script_error=_say_fault,
        routes=[
            *SignIn(client, settings).routes(),
            *Downloads(client).routes(),
            *Thumbnails(client).routes(),
            # Streamlit's page names this icon before our script has run.
            Route(f"{BASE_PATH}/favicon.png", icon),
            Route(BASE_PATH, home),
            Mount(f"{BASE_PATH}/assets", StaticFiles(directory=HERE / "assets")),
        ],
        middleware=[Middleware(Guard, settings=settings, may_upload=may_upload)],
    )
    # After the application exists, as it names the folder the theme file is looked for in; options
    # given here rank above every file and variable, so nothing on the machine switches telemetry on.
    load_config_options(dict(OPTIONS))
    return app
