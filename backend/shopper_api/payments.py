"""Providers' callbacks, and the sandbox provider's own page in the local environment."""

import time
from typing import Annotated
from urllib.parse import parse_qs
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from backend.api import State
from backend.core.errors import Code, Refused
from backend.core.fields import View
from backend.core.http import StrictRoute
from backend.core.log import get_logger
from backend.core.strict_json import parse_object
from backend.payments import (
    CONTENT_SECURITY_POLICY,
    SIGNATURE_HEADER,
    Callback,
    Checkout,
    Receipt,
    Sandbox,
    checkout_of,
    checkout_page,
    receive,
    settled_receipt,
)
from backend.shopper_api.deps import Shared, SharedState

log = get_logger()
router = APIRouter(prefix="/api/v1/payments", tags=["payments"])

FORM_MAX_BYTES = 1_024
"""The sandbox's form has one field of eight characters."""
_PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class ReceiptView(View):
    result: Receipt


def _callback(body: bytes) -> Callback:
    """The callback that a genuine body spells. Raises 400 or 422 as for any other body of ours."""
    try:
        return Callback.model_validate(parse_object(body))
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_input=False)]
        raise RequestValidationError(found) from None


async def take_callback(
    request: Request,
    state: State,
    shared: SharedState,
    provider: Annotated[str, Path(pattern=r"^[a-z]{1,32}$")],
    signature: Annotated[str, Header(alias=SIGNATURE_HEADER, max_length=200)] = "",
) -> ReceiptView:
    """Take a signed callback. 401 for a wrong or an old signature, before a byte of the body is believed.

    Whatever a genuine one says is answered 200 with what came of it, also the second time: a provider repeats
    what was not, and a wrong amount does not become right by repetition.
    """
    known = shared.providers.get(provider)
    if known is None:
        raise Refused(Code.NOT_FOUND)
    body = await request.body()
    if not known.is_genuine(signature, body, int(time.time())):
        raise Refused(Code.UNAUTHENTICATED, "This callback is not signed by the provider, or too old.")
    callback = _callback(body)
    async with state.database.transaction() as session:
        receipt, order_id = await receive(session, known, callback)
    if order_id is not None:
        try:
            receipt = settled_receipt(await shared.settlements.settle(order_id))
        except (SQLAlchemyError, OSError, TimeoutError):
            # The capture is committed, and that is what the provider has to know; the sweep settles it.
            log.warning("payment.settled_later", order_id=order_id)
    return ReceiptView(result=receipt)


# A route of its own class: its body is read by hand, so the document has to be told of it.
router.add_api_route(
    "/webhooks/{provider}",
    take_callback,
    methods=["POST"],
    route_class_override=StrictRoute,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": Callback.model_json_schema()}},
        }
    },
)


async def _checkout(state: State, shared: Shared, payment_id: UUID, signature: str) -> tuple[Sandbox, Checkout]:
    """The sandbox and the payment of a genuine address. One 404 for everything else, and beyond the local stack."""
    sandbox = shared.providers.get(Sandbox.name)
    if not isinstance(sandbox, Sandbox) or not sandbox.is_checkout(payment_id, signature):
        raise Refused(Code.NOT_FOUND)
    async with state.database.transaction() as session:
        checkout = await checkout_of(session, sandbox, payment_id)
    if checkout is None:
        raise Refused(Code.NOT_FOUND)
    return sandbox, checkout


Signature = Annotated[str, Query(max_length=100)]


@router.get("/sandbox/{payment_id}", include_in_schema=False)
async def show_checkout(state: State, shared: SharedState, payment_id: UUID, t: Signature = "") -> Response:
    """The sandbox's page: what is to be paid, and two buttons."""
    _, checkout = await _checkout(state, shared, payment_id, t)
    return _page(checkout)


@router.post("/sandbox/{payment_id}", include_in_schema=False)
async def press_button(
    request: Request, state: State, shared: SharedState, payment_id: UUID, t: Signature = ""
) -> Response:
    """A button was pressed: ``action=pay`` makes the provider call the shop back, like a real one, over HTTP."""
    sandbox, checkout = await _checkout(state, shared, payment_id, t)
    action = await _action(request)
    if action == "decline":
        return _page(checkout, "You declined. Nothing was paid; you can still change your mind.")
    if action != "pay":
        raise Refused(Code.INVALID, "Press Pay or Decline.")
    if not await sandbox.capture(checkout):
        return _page(checkout, "The shop did not answer. Press Pay again in a moment.")
    _, checkout = await _checkout(state, shared, payment_id, t)
    return _page(checkout)


async def _action(request: Request) -> str:
    """The pressed button's value, from a form that is read up to its bound and no further."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_MAX_BYTES:
            raise Refused(Code.TOO_LARGE)
    try:
        fields = parse_qs(body.decode("ascii", "replace"), max_num_fields=4)
    except ValueError:
        return ""
    return fields.get("action", [""])[0]


def _page(checkout: Checkout, message: str = "") -> Response:
    return Response(checkout_page(checkout, message), media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)
