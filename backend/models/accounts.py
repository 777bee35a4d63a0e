"""Merchants, their operators, and shoppers."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, func, text
from sqlmodel import Field, SQLModel

from backend.core.ids import new_id
from backend.models.base import choice, maybe_time, now_column, time_column


class Role(StrEnum):
    OWNER = "owner"
    OPERATOR = "operator"
    AUDITOR = "auditor"


class Merchant(SQLModel, table=True):
    __tablename__ = "merchants"
    __table_args__ = (UniqueConstraint("name"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    name: str = Field(max_length=120)
    created_at: datetime = now_column()


class Operator(SQLModel, table=True):
    __tablename__ = "operators"
    __table_args__ = (Index("uq_operators_email_lower", func.lower(text("email")), unique=True),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    merchant_id: UUID = Field(foreign_key="merchants.id")
    email: str = Field(max_length=254)
    password_hash: str
    role: Role = Field(sa_type=choice(Role, "role"))
    disabled_at: datetime | None = maybe_time()
    created_at: datetime = now_column()


class SignInGuard(SQLModel, table=True):
    """Sign-in tries for one address, whether or not an operator has it: both are locked alike.

    Counted on the operator's row alone, a lock would tell a stranger which addresses exist.
    """

    __tablename__ = "sign_in_guards"

    email_hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    tries: int = 1
    locked_until: datetime | None = maybe_time()
    tried_at: datetime = now_column(index=True)


class OperatorSession(SQLModel, table=True):
    """A signed-in operator. The bearer token itself is never stored, only its SHA-256."""

    __tablename__ = "operator_sessions"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    operator_id: UUID = Field(foreign_key="operators.id", index=True)
    token_hash: bytes = Field(sa_type=LargeBinary, unique=True)
    created_at: datetime = now_column()
    expires_at: datetime = time_column()
    revoked_at: datetime | None = maybe_time()


class Shopper(SQLModel, table=True):
    """A buyer, known by one contact (an e-mail address, in lower case), or by a shop's own token, or by both."""

    __tablename__ = "shoppers"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    contact: str | None = Field(default=None, max_length=254, unique=True)
    """None when the shop's token named nobody's address: then no message can be sent."""
    created_at: datetime = now_column()


class ShopperIdentity(SQLModel, table=True):
    """Who a shop's own token means: its issuer's name for a shopper, and ours."""

    __tablename__ = "shopper_identities"

    issuer: str = Field(max_length=200, primary_key=True)
    subject: str = Field(max_length=255, primary_key=True)
    shopper_id: UUID = Field(foreign_key="shoppers.id", index=True)
    created_at: datetime = now_column()


class SpentToken(SQLModel, table=True):
    """A shop's token that was exchanged already; kept until it would be refused for its age."""

    __tablename__ = "spent_tokens"

    token_hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    """SHA-256 over issuer and ``jti``: of a token without one, nothing is exchanged."""
    expires_at: datetime = time_column(index=True)


class ShopperCode(SQLModel, table=True):
    """A one-time code sent to a contact; only its MAC is stored."""

    __tablename__ = "shopper_codes"
    __table_args__ = (
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        Index("ix_shopper_codes_contact_created_at", "contact", "created_at"),
        Index("ix_shopper_codes_created_at", "created_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    contact: str = Field(max_length=254)
    code_hash: bytes = Field(sa_type=LargeBinary)
    attempts: int = 0
    created_at: datetime = now_column()
    expires_at: datetime = time_column()
    used_at: datetime | None = maybe_time()
