"""A merchant's people: who may sign in, in which role, and from where they are signed in now."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import repository_people as repository
from backend.core.errors import Code, Refused
from backend.core.log import get_logger
from backend.models import Operator, Role

log = get_logger()


async def operators_of(session: AsyncSession, merchant_id: UUID) -> Sequence[Row[Any]]:
    """(id, email, role, created_at, disabled_at, signed_in_at) of everybody, by address."""
    return await repository.operators_of(session, merchant_id)


async def operator_of(session: AsyncSession, merchant_id: UUID, operator_id: UUID) -> Operator:
    """One of a merchant's people. Raises ``NOT_FOUND`` for anybody else's."""
    found = await repository.operator_of(session, merchant_id, operator_id)
    if found is None:
        raise Refused(Code.NOT_FOUND)
    return found


async def change_operator(
    session: AsyncSession, merchant_id: UUID, operator_id: UUID, *, role: Role | None, disabled: bool | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Change an operator's role or dismiss them; both sides of the change, for the activity.

    A changed role or a dismissal ends their sessions, so that it holds from now on. Raises ``NOT_FOUND``, and
    ``CONFLICT`` for the last owner: a merchant nobody may manage could not be helped from here.
    """
    await repository.lock_people(session, merchant_id)
    found = await operator_of(session, merchant_id, operator_id)
    before = {"email": found.email, "role": found.role.value, "disabled": found.disabled_at is not None}
    new_role = found.role if role is None else role
    new_disabled = before["disabled"] if disabled is None else disabled
    after = {"email": found.email, "role": new_role.value, "disabled": new_disabled}
    if (new_disabled or new_role is not Role.OWNER) and not await repository.owners_left(
        session, merchant_id, without=operator_id
    ):
        raise Refused(Code.CONFLICT, "Somebody must stay owner: make another owner first.")
    await repository.change_operator(session, operator_id, new_role, disabled=bool(new_disabled))
    if after != before:
        ended = await repository.revoke_sessions(session, operator_id)
        log.info("operator.changed", operator_id=operator_id, sessions_ended=ended)
    return before, after


async def sessions_of(session: AsyncSession, merchant_id: UUID) -> Sequence[Row[Any]]:
    """(id, operator_id, email, created_at, expires_at) of each open session, the newest first."""
    return await repository.sessions_of(session, merchant_id)


async def end_session(session: AsyncSession, merchant_id: UUID, session_id: UUID) -> str:
    """End one session; whose it was. Raises ``NOT_FOUND`` when there is no such open one."""
    email = await repository.revoke_one(session, merchant_id, session_id)
    if email is None:
        raise Refused(Code.NOT_FOUND)
    return email
