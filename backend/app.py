"""The API as one ASGI application.

request ─► buy, ticket, link ─► hot endpoint, straight from the parser (``backend.core.hot_protocol``)
        └► everything else ──► Envelope ─► FastAPI: health, shopper, operator and audit routes
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import exc, text
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from backend import audit_api, operator_api, shopper_api
from backend.api import AppState, State, is_passing, open_state
from backend.core.envelope import Envelope
from backend.core.errors import Code, Refused
from backend.core.hot import HotEndpoint
from backend.core.http import (
    PROBLEM_RESPONSES,
    StrictRoute,
    on_http_exception,
    on_refused,
    on_validation_error,
    problem_response,
)
from backend.core.log import get_logger
from backend.gate import GateUnavailable
from backend.models import SCHEMA_REVISION
from backend.settings import Settings

CHECK_TIMEOUT_S = 2.0
DOWN_RETRY_MS = 2_000

log = get_logger()
health = APIRouter(prefix="/api/v1/health", tags=["health"], route_class=StrictRoute)


@health.get("/live")
async def live() -> dict[str, str]:
    """This process answers."""
    return {"status": "live"}


@health.get("/ready")
async def ready(state: State) -> dict[str, str]:
    """200 when a sale could run: database migrated, gate reachable and fit; 503 with what is missing."""
    found = await asyncio.gather(_database_missing(state), _gate_missing(state))
    missing = [what for whats in found for what in whats]
    if missing:
        raise Refused(Code.DEGRADED, retry_after_ms=DOWN_RETRY_MS, extra={"missing": missing})
    return {"status": "ready"}


async def _database_missing(state: AppState) -> list[str]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S), state.database.transaction() as session:
            at = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
    except exc.ProgrammingError:
        return ["database: not migrated"]
    except (exc.SQLAlchemyError, OSError, TimeoutError):
        return ["database: not reachable"]
    return [] if at == SCHEMA_REVISION else [f"database: at revision {at}, not {SCHEMA_REVISION}"]


async def _gate_missing(state: AppState) -> list[str]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return [f"gate: {fault}" for fault in await state.gate.fitness()]
    except (GateUnavailable, TimeoutError):
        return ["gate: not reachable"]


async def _on_gate_unavailable(_: Request, error: Exception) -> Response:
    log.warning("request.gate_down", error=str(error))
    return problem_response(Refused(Code.DEGRADED, retry_after_ms=DOWN_RETRY_MS))


async def _on_database_error(_: Request, error: Exception) -> Response:
    """503 while PostgreSQL cannot do it; anything else is our fault and goes on to become a 500."""
    if not is_passing(error):
        raise error
    log.warning("request.database_down", error=type(error).__name__)
    return problem_response(Refused(Code.DEGRADED, retry_after_ms=DOWN_RETRY_MS))


async def _on_unexpected(_: Request, __: Exception) -> Response:
    return problem_response(Refused(Code.INTERNAL))


class Platform:
    """The ASGI application that the server runs. ``api`` is FastAPI's part, for tests and the OpenAPI document."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hot: shopper_api.HotEndpoints | None = None
        self.api = FastAPI(
            title="Stampede",
            version="1",
            summary="Flash sales that are never oversold and never stranded",
            lifespan=self._lifespan,
            redirect_slashes=False,
            responses=PROBLEM_RESPONSES,
            docs_url=None,
            redoc_url=None,
        )
        _add_routes(self.api)
        _add_handlers(self.api)
        self._enveloped = Envelope(self.api)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._enveloped(scope, receive, send)

    def find_hot(self, method: str, path: str) -> HotEndpoint | None:
        """For ``hot_protocol``: the endpoint that answers without a framework, once the application has started."""
        return None if self._hot is None else self._hot.find(method, path)

    @asynccontextmanager
    async def _lifespan(self, api: FastAPI) -> AsyncIterator[None]:
        async with open_state(self._settings) as state:
            api.state.stampede = state
            self._hot = api.state.hot = shopper_api.HotEndpoints(state)
            log.info("api.started")
            yield
            self._hot = None
        log.info("api.stopped")


def _add_routes(api: FastAPI) -> None:
    api.include_router(health)
    api.include_router(shopper_api.router)
    api.include_router(operator_api.router)
    api.include_router(audit_api.router)


def _add_handlers(api: FastAPI) -> None:
    api.add_exception_handler(Refused, on_refused)
    api.add_exception_handler(RequestValidationError, on_validation_error)
    api.add_exception_handler(HTTPException, on_http_exception)
    api.add_exception_handler(GateUnavailable, _on_gate_unavailable)
    # Starlette answers, and raises it again: the envelope logs it.
    api.add_exception_handler(Exception, _on_unexpected)
    for error in (exc.SQLAlchemyError, OSError, TimeoutError):
        api.add_exception_handler(error, _on_database_error)


def create_app(settings: Settings) -> Platform:
    """The application; its pools open with its lifespan."""
    return Platform(settings)
