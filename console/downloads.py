"""Exports, streamed from the API to the browser with the operator's own token.

A ledger can have millions of lines; Streamlit's download button would hold it in this process's
memory. What the API sends goes through unchanged: it has already made the cells of a CSV harmless.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import quote, urlencode

import httpx
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from console.client import ApiClient
from console.errors import ApiError, SessionEnded, Unreachable, explain
from console.guard import SESSION_COOKIE
from console.settings import BASE_PATH
from console.sign_in import page

_PREFIX = f"{BASE_PATH}/download"
_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_TYPES = {"json": "application/json", "csv": "text/csv; charset=utf-8", "html": "text/html; charset=utf-8"}
_STATUS = re.compile(r"[a-z_]{0,20}", re.ASCII)
_CHUNK_BYTES = 64 * 1024


def reconciliation_href(run_id: str, form: str) -> str:
    """Address of a reconciliation run as `json`, `csv` or `html`."""
    return f"{_PREFIX}/reconciliations/{quote(run_id, safe='')}.{form}"


def ledger_href(sale_id: str) -> str:
    """Address of a sale's whole ledger, one JSON object a line."""
    return f"{_PREFIX}/sales/{quote(sale_id, safe='')}/ledger.ndjson"


def orders_href(sale_id: str, status: str, *, delivery: bool = False) -> str:
    """Address of a sale's orders as CSV, all or those of one state; with addresses it is recorded who took them."""
    return f"{_PREFIX}/sales/{quote(sale_id, safe='')}/orders.csv{_orders_query(status, delivery)}"


def _orders_query(status: str, delivery: bool) -> str:
    query = urlencode({name: value for name, value in (("status", status), ("delivery", delivery and "true")) if value})
    return f"?{query}" if query else ""


class Downloads:
    """The download routes."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def routes(self) -> list[Route]:
        return [
            Route(f"{_PREFIX}/reconciliations/{{run_id}}.{{form}}", self.reconciliation, methods=["GET"]),
            Route(f"{_PREFIX}/sales/{{sale_id}}/ledger.ndjson", self.ledger, methods=["GET"]),
            Route(f"{_PREFIX}/sales/{{sale_id}}/orders.csv", self.orders, methods=["GET"]),
        ]

    async def reconciliation(self, request: Request) -> Response:
        run_id, form = request.path_params["run_id"], request.path_params["form"]
        if not _ID.fullmatch(run_id) or form not in _TYPES:
            return _missing()
        return await self._stream(
            request, f"/audit/reconciliations/{run_id}", _TYPES[form], f"reconciliation-{run_id}.{form}"
        )

    async def ledger(self, request: Request) -> Response:
        sale_id = request.path_params["sale_id"]
        if not _ID.fullmatch(sale_id):
            return _missing()
        return await self._stream(
            request, f"/audit/sales/{sale_id}/ledger", "application/x-ndjson", f"ledger-{sale_id}.ndjson"
        )

    async def orders(self, request: Request) -> Response:
        sale_id, status = request.path_params["sale_id"], request.query_params.get("status", "")
        if not _ID.fullmatch(sale_id) or not _STATUS.fullmatch(status):
            return _missing()
        delivery = request.query_params.get("delivery") == "true"
        path = f"/operator/sales/{sale_id}/orders/export{_orders_query(status, delivery)}"
        return await self._stream(request, path, _TYPES["csv"], f"orders-{sale_id}.csv")

    async def _stream(self, request: Request, path: str, media_type: str, file_name: str) -> Response:
        token = request.cookies.get(SESSION_COOKIE)
        if not token:
            return page("message.html", 401, title="Signed out", text="Sign in again, then download.")
        stack = ExitStack()
        accept = media_type.partition(";")[0]
        try:
            upstream = await run_in_threadpool(lambda: stack.enter_context(self._client.download(path, token, accept)))
        except SessionEnded:
            return page("message.html", 401, title="Signed out", text="Sign in again, then download.")
        except (ApiError, Unreachable) as error:
            words = explain(error)
            status = error.status if isinstance(error, ApiError) else 503
            return page("message.html", status, title=words.what, text=words.advice)
        return StreamingResponse(
            _chunks(upstream, stack),
            media_type=media_type,
            headers={
                "Content-Disposition": f'attachment; filename="{file_name}"',
                "Cache-Control": "no-store",
            },
        )


def _chunks(upstream: httpx.Response, stack: ExitStack) -> Iterator[bytes]:
    """The body as it comes. A connection lost midway breaks the download instead of shortening it."""
    with stack:
        yield from upstream.iter_bytes(_CHUNK_BYTES)


def _missing() -> Response:
    return page("message.html", 404, title="Not found", text="There is no such export.")
