"""Shoppers: one-time codes to an e-mail address, and accounts for tests and demonstrations."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import repository_shoppers as repository
from backend.accounts.contacts import normal_email
from backend.accounts.shop_tokens import ShopClaims, refused
from backend.core.errors import Code, Refused, invalid_field
from backend.core.ids import new_id
from backend.core.log import get_logger
from backend.core.signing import derive_key, mac, same
from backend.models import Database
from backend.settings import Settings

CODE_TTL = timedelta(minutes=10)
CODE_TRIES = 5
CODES_PER_CONTACT = 3
"""In ``CODE_TTL``: with five tries each, 15 guesses at a million codes in ten minutes."""
CODES_IN_ALL = 20_000
"""In ``CODE_TTL``, over all contacts: a bound on the bill of a flood, above any sale's crowd so far."""
KEEP_CODES = timedelta(days=1)
CREATE_MAX = 100_000

log = get_logger()


@dataclass(frozen=True, slots=True)
class CodeKey:
    """The key under which codes are stored: a copy of the table alone gives no code away."""

    key: bytes

    @classmethod
    def of(cls, settings: Settings) -> "CodeKey":
        return cls(derive_key(settings.secret_key, "shopper-code/1"))

    def hash(self, code_id: UUID, code: str) -> bytes:
        return mac(self.key, code_id.bytes + code.encode())


def _contact(text: str) -> str:
    try:
        return normal_email(text)
    except ValueError as error:
        raise invalid_field("contact", str(error)) from None


async def request_code(session: AsyncSession, key: CodeKey, contact: str) -> None:
    """Make a code and put its message into the notification outbox, in the same transaction.

    Raises ``INVALID_FIELD`` for what is no address, ``RATE_LIMITED`` above the caps. Whether the contact is
    known makes no difference: the account is made when the code comes back.
    """
    address = _contact(contact)
    await repository.lock_contact(session, address)
    wait = await repository.wait_for_next_code(
        session, address, window=CODE_TTL, per_contact=CODES_PER_CONTACT, in_all=CODES_IN_ALL
    )
    if wait is not None:
        raise Refused(
            Code.RATE_LIMITED,
            "Enough codes were sent. Use the newest one, or wait.",
            retry_after_ms=max(1_000, int(wait.total_seconds() * 1000)),
        )
    code_id = new_id()
    code = f"{secrets.randbelow(10**6):06d}"
    await repository.insert_code(
        session, code_id=code_id, contact=address, code_hash=key.hash(code_id, code), ttl=CODE_TTL
    )
    await repository.insert_code_message(session, contact=address, code=code)
    await repository.delete_codes(session, older_than=KEEP_CODES)


async def redeem_code(database: Database, key: CodeKey, contact: str, code: str) -> UUID:
    """The shopper whose contact got this code; a new one at the first time.

    Raises ``UNAUTHENTICATED`` for a code that is wrong, used, expired, or was tried too often: one answer for
    all. The try is committed before the answer, in a transaction of its own, so refusing cannot undo it.
    """
    address = _contact(contact)
    shopper_id: UUID | None = None
    async with database.transaction() as session:
        await repository.lock_contact(session, address)
        for one in await repository.open_codes(session, address, tries=CODE_TRIES):
            if same(key.hash(one.id, code), one.code_hash):
                await repository.use_codes(session, address)
                shopper_id = await repository.shopper_with(session, address)
                break
        else:
            await repository.count_tries(session, address)
    if shopper_id is None:
        raise Refused(Code.UNAUTHENTICATED, "This code is not valid, or not any more.")
    log.info("shopper.signed_in", shopper_id=shopper_id)
    return shopper_id


async def redeem_shop_token(database: Database, claims: ShopClaims) -> UUID:
    """The shopper whom a shop's token names; a new one at the first time. Each token is good for one exchange.

    An address that the issuer has verified leads to the same shopper as a code sent to it: one person, one limit.
    Raises ``UNAUTHENTICATED`` for a token that was exchanged before.
    """
    spent = hashlib.sha256(f"{claims.issuer}\n{claims.token_id}".encode()).digest()
    async with database.transaction() as session:
        if not await repository.spend_token(session, spent, claims.expires_at):
            raise refused()
        await repository.lock_identity(session, claims.issuer, claims.subject)
        if claims.email is not None:
            await repository.lock_contact(session, claims.email)
        known = await repository.shopper_of_identity(session, claims.issuer, claims.subject)
        if known is None:
            shopper_id = await (
                repository.shopper_with(session, claims.email)
                if claims.email is not None
                else repository.insert_nameless(session)
            )
            await repository.insert_identity(session, claims.issuer, claims.subject, shopper_id)
        else:
            shopper_id = known.id
            if known.contact is None and claims.email is not None:
                await repository.give_contact(session, shopper_id, claims.email)
    log.info("shopper.signed_in", shopper_id=shopper_id)
    return shopper_id


async def create_shoppers(session: AsyncSession, count: int) -> list[UUID]:
    """Make shoppers with contacts of the reserved domain ``shoppers.example``; nobody can get their mail."""
    assert 1 <= count <= CREATE_MAX, count
    ids = [new_id() for _ in range(count)]
    await repository.insert_shoppers(session, [(one, f"shopper-{one}@shoppers.example") for one in ids])
    return ids
