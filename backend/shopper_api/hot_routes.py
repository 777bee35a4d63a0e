"""The hot endpoints: their addresses, and the FastAPI routes that document them and take their unusual requests."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response, Security

from backend.api import AppState, shopper_scheme
from backend.core.fields import Moment, View
from backend.core.hot import HotEndpoint, serve
from backend.core.http import PROBLEM_RESPONSES, StrictRoute
from backend.shopper_api import buy, links, tickets
from backend.shopper_api.answers import Status

router = APIRouter(prefix="/api/v1", tags=["shopper"], route_class=StrictRoute, dependencies=[Security(shopper_scheme)])


class HotEndpoints:
    """Those of one process."""

    def __init__(self, state: AppState) -> None:
        self.buy = buy.BuyEndpoint(state)
        self.ticket = tickets.TicketEndpoint(state)
        self.link = links.LinkEndpoint(state)

    def find(self, method: str, path: str) -> HotEndpoint | None:
        """The endpoint of an address, None when it has none: methods and addresses that do not fit go to FastAPI."""
        if method == "POST":
            if path.startswith(buy.PREFIX):
                return self.buy
            if path.endswith(links.SUFFIX) and path.startswith(links.PREFIX):
                return self.link
        elif path.startswith(tickets.PREFIX):
            return self.ticket
        return None


InPath = Annotated[str, Path()]
"""Documented; the endpoint reads it from the path itself."""


class LinkView(View):
    buy_path: str
    expires_at: Moment


class AcceptedView(View):
    outcome: Literal["RESERVED", "REPLAYED"]
    ticket: str
    ticket_path: str
    position: int
    poll_after_ms: int


class TicketView(View):
    status: Status
    position: int | None = None
    eta_ms: int | None = None
    order_id: UUID | None = None
    pay_by: Moment | None = None
    reason: str | None = None
    poll_after_ms: int | None = None


_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "Made by the client, one per intended purchase; keep it until the ticket is terminal.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
_QUANTITY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"quantity": {"type": "integer", "minimum": 1, "maximum": buy.MAX_QUANTITY, "default": 1}},
}


def _problems(**meanings: str) -> dict[int | str, dict[str, Any]]:
    """``_404="…"``: what an error status means; its body is a problem."""
    content = PROBLEM_RESPONSES["default"]["content"]
    return {int(status[1:]): {"description": text, "content": content} for status, text in meanings.items()}


@router.post(
    "/buy/{link:path}",
    status_code=202,
    response_model=AcceptedView,
    operation_id="buy",
    openapi_extra={
        "parameters": [_KEY],
        "requestBody": {"required": False, "content": {"application/json": {"schema": _QUANTITY}}},
    },
    responses=_problems(
        _400="INVALID: unreadable body, or the Idempotency-Key is missing or malformed",
        _401="UNAUTHENTICATED",
        _403="NOT_OPEN, with when to come back",
        _404="LINK_INVALID: forged, foreign, expired or revoked, told apart by nobody",
        _409="SOLD_OUT, NOT_ENOUGH, LIMIT_REACHED or PAUSED",
        _410="ENDED",
        _413="TOO_LARGE",
        _415="UNSUPPORTED_MEDIA_TYPE",
        _422="INVALID_FIELD or KEY_REUSED",
        _429="REPEATED or THROTTLED, with when to come back",
        _503="BACKLOG or DEGRADED, with when to come back: send the same key again",
    ),
)
async def attempt(link: InPath, request: Request) -> Response:  # noqa: ARG001
    """An attempt to take units with one's own secret link.

    The same ``Idempotency-Key`` gives the same ticket, whatever has happened since.
    """
    return await serve(_endpoints(request).buy, request)


@router.get(
    "/tickets/{ticket:path}",
    response_model=TicketView,
    responses=_problems(_401="UNAUTHENTICATED", _404="NOT_FOUND: forged, or another shopper's"),
)
async def get_ticket(ticket: InPath, request: Request) -> Response:  # noqa: ARG001
    """What became of an accepted attempt."""
    return await serve(_endpoints(request).ticket, request)


@router.post(
    "/sales/{slug}/items/{sku}/link",
    status_code=201,
    response_model=LinkView,
    responses=_problems(
        _401="UNAUTHENTICATED",
        _403="NOT_OPEN, with when to come back",
        _404="NOT_FOUND",
        _409="SOLD_OUT or PAUSED",
        _410="ENDED",
        _429="RATE_LIMITED, with when to come back",
        _503="DEGRADED, with when to come back",
    ),
)
async def create_link(slug: InPath, sku: InPath, request: Request) -> Response:  # noqa: ARG001
    """A secret link of the shopper's own, while the sale is open."""
    return await serve(_endpoints(request).link, request)


def _endpoints(request: Request) -> HotEndpoints:
    endpoints: HotEndpoints = request.app.state.hot
    return endpoints
