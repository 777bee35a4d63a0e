"""Dependencies: the state, a session with its transaction, and who is calling with which role."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import Actor, ShopperTokens, actor_of, record_refusal
from backend.api.state import AppState
from backend.core.clock import now_ms
from backend.core.errors import Code, Refused
from backend.core.hot import HotRequest
from backend.core.ids import parse_id
from backend.models import Role

MAX_TOKEN_CHARS = 256

# They only document the scheme; reading the header is ours, because a second header or a stray blank must
# not be read in two ways by two layers.
_operator_scheme = HTTPBearer(auto_error=False, scheme_name="operator", description="From POST operator/session")
shopper_scheme = HTTPBearer(auto_error=False, scheme_name="shopper", description="From POST shoppers/sessions")


def _state(request: Request) -> AppState:
    state: AppState = request.app.state.stampede
    return state


State = Annotated[AppState, Depends(_state)]


async def _session(state: State) -> AsyncIterator[AsyncSession]:
    async with state.database.transaction() as session:
        yield session


Session = Annotated[AsyncSession, Depends(_session, scope="function")]
"""One transaction a request, committed before the answer leaves: by default FastAPI ends a ``yield``
dependency after the response, and a failed commit would still have answered 200."""


def bearer_token(request: Request) -> str | None:
    """The token of exactly one well-formed ``Authorization`` header."""
    headers = request.headers.getlist("authorization")
    if len(headers) != 1:
        return None
    scheme, _, token = headers[0].partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN_CHARS or not token.isascii():
        return None
    return token


async def _signed_in(request: Request, state: State, _: Annotated[object, Security(_operator_scheme)]) -> Actor:
    token = bearer_token(request)
    actor = None
    if token is not None:
        async with state.database.transaction() as session:
            actor = await actor_of(session, token)
    if actor is None:
        raise Refused(Code.UNAUTHENTICATED)
    return actor


AnyOperator = Annotated[Actor, Depends(_signed_in)]
"""Every role may read."""


def _roles(*allowed: Role) -> Callable[..., Awaitable[Actor]]:
    async def check(request: Request, state: State, actor: AnyOperator) -> Actor:
        if actor.role in allowed:
            return actor
        sale_id = parse_id(str(request.path_params.get("sale_id", "")))
        kind = f"{request.method} {request.scope['route'].path}"
        await record_refusal(state.database, state.seal_key, actor, kind, sale_id=sale_id)
        raise Refused(Code.FORBIDDEN)

    return check


Editor = Annotated[Actor, Depends(_roles(Role.OWNER, Role.OPERATOR))]
"""May change sales. A refusal is recorded."""
Auditor = Annotated[Actor, Depends(_roles(Role.OWNER, Role.AUDITOR))]
"""May run reconciliations."""
Owner = Annotated[Actor, Depends(_roles(Role.OWNER))]
"""May hire and dismiss."""


def shopper_of(request: HotRequest, tokens: ShopperTokens) -> bytes:
    """The shopper of a hot request, as the 16 bytes of the id, from the token alone. Raises ``Refused``."""
    scheme, _, token = request.field(b"authorization").partition(" ")
    shopper = tokens.verify_bytes(token, now_ms()) if scheme.lower() == "bearer" else None
    if shopper is None:
        raise Refused(Code.UNAUTHENTICATED)
    return shopper


async def _shopper(request: Request, state: State, _: Annotated[object, Security(shopper_scheme)]) -> UUID:
    token = bearer_token(request)
    shopper_id = state.shopper_tokens.verify(token, now_ms()) if token else None
    if shopper_id is None:
        raise Refused(Code.UNAUTHENTICATED)
    return shopper_id


SignedInShopper = Annotated[UUID, Depends(_shopper)]
"""The shopper's id, from the token alone: no query."""
