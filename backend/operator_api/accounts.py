"""Signing in and out, and who is signed in."""

from fastapi import APIRouter, Response

from backend.accounts import sign_in, sign_out
from backend.api import AnyOperator, Session, State
from backend.core.http import StrictRoute
from backend.operator_api.schemas import MerchantView, MeView, SessionBody, SessionView

router = APIRouter(route_class=StrictRoute)


@router.post("/session", status_code=201)
async def create_session(state: State, body: SessionBody) -> SessionView:
    """Exchange an address and a password for a bearer token of 12 hours."""
    signed_in = await sign_in(state.database, state.hashing, body.email, body.password)
    return SessionView(access_token=signed_in.access_token, role=signed_in.role.value, expires_at=signed_in.expires_at)


@router.delete("/session", status_code=204, response_class=Response)
async def delete_session(session: Session, actor: AnyOperator) -> None:
    """End the session of this token."""
    await sign_out(session, actor)


@router.get("/me")
async def me(actor: AnyOperator) -> MeView:
    """Who the token belongs to."""
    return MeView(
        operator_id=actor.operator_id,
        email=actor.email,
        role=actor.role.value,
        merchant=MerchantView(id=actor.merchant_id, name=actor.merchant_name),
    )
