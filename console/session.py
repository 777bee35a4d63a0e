"""Who is looking: the operator behind this browser session, and the API as they may use it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from console.client import ApiClient, Method, Reply
from console.errors import SessionEnded
from console.guard import SESSION_COOKIE
from console.sale_actions import EDITORS, RECONCILERS
from console.settings import get_settings

IDENTITY_TTL_S = 30
"""How long an answer of `me` is believed. An operator who is disabled meanwhile may still see shared
live figures for that long; every other read and every action is refused by the API at once."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The signed-in operator as the API knows them."""

    operator_id: str
    email: str
    role: str
    merchant_id: str
    merchant_name: str

    @property
    def may_edit(self) -> bool:
        return self.role in EDITORS

    @property
    def may_reconcile(self) -> bool:
        return self.role in RECONCILERS


@st.cache_resource
def api_client() -> ApiClient:
    """The process's one connection pool to the API."""
    return ApiClient(get_settings().api_url)


def token() -> str:
    """The operator's token from the cookie the browser sent with this websocket's handshake.

    Raises:
        SessionEnded: when there is none.
    """
    value = st.context.cookies.get(SESSION_COOKIE)
    if not value:
        raise SessionEnded(status=401, code="UNAUTHENTICATED", title="Signed out")
    return value


@st.cache_data(ttl=IDENTITY_TTL_S, max_entries=1_000, show_spinner=False)
def _identity(bearer: str) -> dict[str, Any]:
    # A refusal is raised, not returned, and what is raised is never cached.
    me = api_client().get("/operator/me", bearer).data
    return {
        "operator_id": str(me["operator_id"]),
        "email": str(me["email"]),
        "role": str(me["role"]),
        "merchant_id": str(me["merchant"]["id"]),
        "merchant_name": str(me["merchant"]["name"]),
    }


def operator() -> Operator:
    """The operator of this session, as the API confirmed within the last half minute."""
    return Operator(**_identity(token()))


def read(path: str, **params: str | int) -> Any:
    """A read of the API as this operator; empty parameters are left out."""
    given = {name: value for name, value in params.items() if value not in {"", None}}
    return api_client().get(path, token(), params=given).data


def read_reply(path: str) -> Reply:
    """A read that keeps the entity tag, for what will be edited."""
    return api_client().get(path, token())


@dataclass(frozen=True, slots=True)
class File:
    """A file that is sent as it is."""

    content: bytes
    media_type: str


def send(
    method: Method,
    path: str,
    *,
    idempotency_key: str,
    body: Mapping[str, Any] | None,
    if_match: str | None = None,
    file: File | None = None,
) -> Reply:
    """A change, as this operator. With a file the members of `body` go into the address."""
    if file is not None:
        params = {name: str(value) for name, value in (body or {}).items()}
        return api_client().upload(
            path,
            token(),
            idempotency_key=idempotency_key,
            content=file.content,
            media_type=file.media_type,
            params=params,
        )
    return api_client().send(method, path, token(), idempotency_key=idempotency_key, body=body, if_match=if_match)
