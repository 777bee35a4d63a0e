"""Operators: signing in and out, who a token belongs to, and making one."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import repository
from backend.accounts.contacts import normal_email
from backend.accounts.passwords import Hashing, check_strength
from backend.core.encoding import to_base64url
from backend.core.errors import Code, Refused, invalid_field
from backend.core.log import get_logger
from backend.models import Database, Role

SESSION_TTL = timedelta(hours=12)
TRIES_ALLOWED = 10
LOCK = timedelta(minutes=15)
FORGET_TRIES_AFTER = timedelta(days=1)
TOKEN_PREFIX = "so_"  # noqa: S105 the public part, so that secret scanners know a leaked one
TOKEN_CHARS = len(TOKEN_PREFIX) + 43

log = get_logger()


@dataclass(frozen=True, slots=True)
class Actor:
    """A signed-in operator."""

    operator_id: UUID
    email: str
    role: Role
    merchant_id: UUID
    merchant_name: str
    session_id: UUID


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session; the only moment at which its token is known."""

    access_token: str
    role: Role
    expires_at: datetime


def _hash(token: str) -> bytes:
    """Tokens have 256 random bits, so one round of SHA-256 is enough; passwords get argon2id."""
    return hashlib.sha256(token.encode()).digest()


async def sign_in(database: Database, hashing: Hashing, email: str, password: str) -> SignedIn:
    """Exchange an address and a password for a new session.

    Raises ``UNAUTHENTICATED`` with the same answer, after the same work, for an unknown address, a wrong
    password and a disabled operator; ``RATE_LIMITED`` after ``TRIES_ALLOWED`` tries, known address or not.
    The database is let go while argon2 works: ten sign-ins must not hold ten connections.
    """
    wrong = Refused(Code.UNAUTHENTICATED, "The address or the password is wrong.")
    try:
        address = normal_email(email)
    except ValueError:
        # No operator has it; it goes the whole way all the same, so that the time tells nothing.
        address = email
    address_hash = _hash(address)
    async with database.transaction() as session:
        locked = await repository.count_try(session, address_hash, allowed=TRIES_ALLOWED, lock=LOCK)
        operator = None if locked else await repository.operator_by_email(session, address)
    if locked is not None:
        log.warning("operator.sign_in_locked")
        raise Refused(
            Code.RATE_LIMITED,
            "Too many tries. Wait before the next one.",
            retry_after_ms=max(1_000, int(locked.total_seconds() * 1000)),
        )
    matches = await hashing.matches(password, operator.password_hash if operator else None)
    if operator is None or not matches or operator.disabled_at is not None:
        raise wrong
    token = TOKEN_PREFIX + to_base64url(secrets.token_bytes(32))
    async with database.transaction() as session:
        await repository.forget_tries(session, address_hash, older_than=FORGET_TRIES_AFTER)
        expires_at = await repository.insert_session(session, operator.id, _hash(token), SESSION_TTL)
    log.info("operator.signed_in", operator_id=operator.id)
    return SignedIn(token, operator.role, expires_at)


async def actor_of(session: AsyncSession, token: str) -> Actor | None:
    """Who signed in with this token; None when it is unknown, over, revoked, or its operator disabled."""
    if len(token) != TOKEN_CHARS or not token.startswith(TOKEN_PREFIX):
        return None
    row = await repository.operator_of_token(session, _hash(token))
    if row is None:
        return None
    operator, merchant_name, session_id = row
    return Actor(operator.id, operator.email, operator.role, operator.merchant_id, merchant_name, session_id)


async def sign_out(session: AsyncSession, actor: Actor) -> None:
    """End the actor's session; twice is as good as once."""
    await repository.revoke_session(session, actor.session_id)


async def add_operator(
    session: AsyncSession,
    email: str,
    role: Role | str,
    merchant_name: str,
    password: str,
    *,
    hashing: Hashing | None = None,
) -> UUID:
    """Make an operator, and the merchant when there is none of that name.

    Raises ``INVALID_FIELD`` for a bad address, role, name or password, ``CONFLICT`` for an address in use.
    """
    try:
        address = normal_email(email)
    except ValueError as error:
        raise invalid_field("email", str(error)) from None
    try:
        known_role = Role(role)
    except ValueError:
        raise invalid_field("role", f"Give one of {', '.join(Role)}.") from None
    name = " ".join(merchant_name.split())
    if not 1 <= len(name) <= 120 or not name.isprintable():
        raise invalid_field("merchant", "A merchant's name has 1 to 120 visible characters.")
    try:
        check_strength(password)
    except ValueError as error:
        raise invalid_field("password", str(error)) from None
    merchant_id = await repository.merchant_named(session, name)
    operator_id = await repository.insert_operator(
        session,
        merchant_id=merchant_id,
        email=address,
        role=known_role,
        password_hash=await (hashing or Hashing()).hash(password),
    )
    if operator_id is None:
        raise Refused(Code.CONFLICT, "An operator with this address exists already.")
    return operator_id
