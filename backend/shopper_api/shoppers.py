"""Signing in as a shopper: a code to a contact, and the code for a bearer token."""

from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field, StringConstraints, model_validator
from pydantic.config import JsonDict

from backend.accounts import (
    SHOP_TOKEN_MAX_CHARS,
    issue_shopper_token,
    redeem_code,
    redeem_shop_token,
    request_code,
)
from backend.accounts.shopper_tokens import TOKEN_TTL_S
from backend.api import State
from backend.core.clock import from_ms, now_ms
from backend.core.errors import invalid_field
from backend.core.fields import Moment, Strict, View
from backend.core.http import StrictRoute
from backend.jobs import contracts

router = APIRouter(prefix="/api/v1/shoppers", tags=["shopper"], route_class=StrictRoute)

Contact = Annotated[str, StringConstraints(min_length=3, max_length=320)]
"""An e-mail address; looser than what is accepted, so that the answer can say what is wrong with it."""


class CodeBody(Strict):
    contact: Contact


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


def _left_out() -> Any:
    return Field(default=None, json_schema_extra=_without_default)


class SessionBody(Strict):
    """A contact with the code that was sent to it; or, where the platform takes them, a shop's own token."""

    contact: Contact = _left_out()
    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")] = _left_out()
    token: Annotated[str, StringConstraints(min_length=1, max_length=SHOP_TOKEN_MAX_CHARS)] = _left_out()

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.model_fields_set not in ({"contact", "code"}, {"token"}):
            raise ValueError("Give contact and code, or token.")
        return self


class SessionView(View):
    access_token: str
    shopper_id: UUID
    expires_at: Moment


@router.post("/codes", status_code=202, response_class=Response)
async def create_code(state: State, body: CodeBody) -> None:
    """Send a one-time code to a contact. The answer is the same whether or not the contact is known."""
    async with state.database.transaction() as session:
        await request_code(session, state.code_key, body.contact)
    # Somebody is waiting for it; without the nudge it goes out at the clock's next tick.
    await state.enqueue(contracts.NOTIFY)


@router.post("/sessions", status_code=201)
async def create_session(state: State, body: SessionBody, response: Response) -> SessionView:
    """Exchange a code, or a shop's own token, for a bearer token; the account is made at the first time."""
    if "token" in body.model_fields_set:
        if state.shop_tokens is None:
            raise invalid_field("token", "There is no such field.")
        shopper_id = await redeem_shop_token(state.database, await state.shop_tokens.claims(body.token))
    else:
        shopper_id = await redeem_code(state.database, state.code_key, body.contact, body.code)
    expires_at_ms = now_ms() + TOKEN_TTL_S * 1000
    response.headers["Cache-Control"] = "no-store"
    return SessionView(
        access_token=issue_shopper_token(state.shopper_token_key, shopper_id, expires_at_ms),
        shopper_id=shopper_id,
        expires_at=from_ms(expires_at_ms),
    )
