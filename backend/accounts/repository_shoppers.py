"""Queries on shoppers and their one-time codes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.core.ids import new_id
from backend.models import Notification, NotificationKind, Shopper, ShopperCode, ShopperIdentity, SpentToken


async def lock_contact(session: AsyncSession, contact: str) -> None:
    """Let one transaction at a time count and change the codes of a contact, also when there is none yet."""
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:contact, 0))"), {"contact": contact})


async def wait_for_next_code(
    session: AsyncSession, contact: str, *, window: timedelta, per_contact: int, in_all: int
) -> timedelta | None:
    """How long to wait until another code may be sent, None when now."""
    code = ShopperCode
    since = func.now() - window
    own = (
        await session.execute(
            select(func.count(), func.min(col(code.created_at)) + window - func.now()).where(
                col(code.contact) == contact, col(code.created_at) > since
            )
        )
    ).one()
    if own[0] >= per_contact:
        # The types know a difference of two times as a time.
        return cast("timedelta", own[1])
    everybody = select(func.count()).select_from(code).where(col(code.created_at) > since)
    if (await session.execute(everybody)).scalar_one() >= in_all:
        return timedelta(seconds=30)
    return None


async def insert_code(session: AsyncSession, *, code_id: UUID, contact: str, code_hash: bytes, ttl: timedelta) -> None:
    await session.execute(
        insert(ShopperCode).values(
            id=code_id, contact=contact, code_hash=code_hash, attempts=0, expires_at=func.now() + ttl
        )
    )


async def insert_code_message(session: AsyncSession, *, contact: str, code: str) -> None:
    await session.execute(
        insert(Notification).values(
            id=new_id(), kind=NotificationKind.SIGN_IN_CODE, recipient=contact, payload={"code": code}
        )
    )


async def delete_codes(session: AsyncSession, *, older_than: timedelta) -> None:
    await session.execute(delete(ShopperCode).where(col(ShopperCode.created_at) < func.now() - older_than))


async def open_codes(session: AsyncSession, contact: str, *, tries: int) -> Sequence[ShopperCode]:
    """Codes of a contact that can still be used, newest first."""
    statement = (
        select(ShopperCode)
        .where(
            col(ShopperCode.contact) == contact,
            col(ShopperCode.used_at).is_(None),
            col(ShopperCode.expires_at) > func.now(),
            col(ShopperCode.attempts) < tries,
        )
        .order_by(col(ShopperCode.created_at).desc())
    )
    return (await session.execute(statement)).scalars().all()


async def count_tries(session: AsyncSession, contact: str) -> None:
    """A wrong guess counts against every open code of the contact."""
    await session.execute(
        update(ShopperCode)
        .where(col(ShopperCode.contact) == contact, col(ShopperCode.used_at).is_(None))
        .values(attempts=col(ShopperCode.attempts) + 1)
    )


async def use_codes(session: AsyncSession, contact: str) -> None:
    """A right one uses up all of them."""
    await session.execute(
        update(ShopperCode)
        .where(col(ShopperCode.contact) == contact, col(ShopperCode.used_at).is_(None))
        .values(used_at=func.now())
    )


async def shopper_with(session: AsyncSession, contact: str) -> UUID:
    """The shopper of a contact, made when missing."""
    await session.execute(
        insert(Shopper).values(id=new_id(), contact=contact).on_conflict_do_nothing(index_elements=["contact"])
    )
    return (await session.execute(select(col(Shopper.id)).where(col(Shopper.contact) == contact))).scalar_one()


async def lock_identity(session: AsyncSession, issuer: str, subject: str) -> None:
    """Let one transaction at a time find or make the shopper of a shop's name for them."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 1))"), {"name": f"{issuer}\n{subject}"}
    )


async def spend_token(session: AsyncSession, token_hash: bytes, expires_at: datetime) -> bool:
    """False when the token was spent before. Those that nobody would take any more go, some at a time."""
    await session.execute(
        text("""
            DELETE FROM spent_tokens WHERE token_hash IN (
                SELECT token_hash FROM spent_tokens WHERE expires_at < now() LIMIT 100 FOR UPDATE SKIP LOCKED)
        """)
    )
    spent = await session.execute(
        insert(SpentToken)
        .values(token_hash=token_hash, expires_at=expires_at)
        .on_conflict_do_nothing()
        .returning(col(SpentToken.token_hash))
    )
    return spent.first() is not None


async def shopper_of_identity(session: AsyncSession, issuer: str, subject: str) -> Shopper | None:
    statement = (
        select(Shopper)
        .join(ShopperIdentity, col(ShopperIdentity.shopper_id) == col(Shopper.id))
        .where(col(ShopperIdentity.issuer) == issuer, col(ShopperIdentity.subject) == subject)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def insert_identity(session: AsyncSession, issuer: str, subject: str, shopper_id: UUID) -> None:
    await session.execute(insert(ShopperIdentity).values(issuer=issuer, subject=subject, shopper_id=shopper_id))


async def insert_nameless(session: AsyncSession) -> UUID:
    """A shopper without a contact."""
    shopper_id = new_id()
    await session.execute(insert(Shopper).values(id=shopper_id))
    return shopper_id


async def give_contact(session: AsyncSession, shopper_id: UUID, contact: str) -> None:
    """Give a shopper who has none this contact, unless somebody else has it."""
    await session.execute(
        text("""
            UPDATE shoppers SET contact = :contact WHERE id = :id AND contact IS NULL
              AND NOT EXISTS (SELECT 1 FROM shoppers WHERE contact = :contact)
        """),
        {"id": shopper_id, "contact": contact},
    )


async def insert_shoppers(session: AsyncSession, shoppers: Sequence[tuple[UUID, str]]) -> None:
    """Many at once: two arrays in one statement instead of two parameters a row."""
    statement = text("INSERT INTO shoppers (id, contact) SELECT * FROM unnest(:ids, :contacts)").bindparams(
        bindparam("ids", type_=ARRAY(Uuid)), bindparam("contacts", type_=ARRAY(Text))
    )
    await session.execute(
        statement, {"ids": [one for one, _ in shoppers], "contacts": [contact for _, contact in shoppers]}
    )
