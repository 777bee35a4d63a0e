"""The chain of the activity log: its entries, and one sealed head a merchant (docs/decisions/0012)."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from backend.models.base import BigInt, choice, maybe_time, now_column


class ActivityPart(StrEnum):
    """What of a command an entry stands for."""

    BEGUN = "begun"
    """Who asked for what, and the state before; of a command that reaches beyond the ledger."""
    WHOLE = "whole"
    """Everything, its answer included."""


class ActivityEntry(SQLModel, table=True):
    """One link: ``digest`` is SHA-256 over the digest before, the place, and what the command's row holds.

    Append-only: the application's role may not change it, and a trigger stops the owner's slip of the hand.
    """

    __tablename__ = "activity_entries"
    __table_args__ = (
        UniqueConstraint("command_id", "part"),
        CheckConstraint("seq >= 1", name="seq_positive"),
        CheckConstraint("octet_length(digest) = 32", name="digest_256_bits"),
    )

    merchant_id: UUID = Field(foreign_key="merchants.id", primary_key=True)
    seq: int = Field(sa_type=BigInt, primary_key=True)
    """1, 2, 3 … for each merchant, without a gap."""
    command_id: UUID = Field(foreign_key="commands.id")
    part: ActivityPart = Field(sa_type=choice(ActivityPart, "part"))
    digest: bytes = Field(sa_type=LargeBinary)


class ActivityHead(SQLModel, table=True):
    """How long a merchant's chain is and where it ends, under a seal that the database cannot make."""

    __tablename__ = "activity_heads"
    __table_args__ = (CheckConstraint("entries >= 0", name="entries_not_negative"),)

    merchant_id: UUID = Field(foreign_key="merchants.id", primary_key=True)
    entries: int = Field(sa_type=BigInt)
    digest: bytes = Field(sa_type=LargeBinary)
    seal: bytes = Field(sa_type=LargeBinary)
    """HMAC over all of the row, by a key of the environment."""
    broken_since: datetime | None = maybe_time()
    """When a seal that did not fit was met. What is recorded afterwards is chained on, and stays marked."""
    updated_at: datetime = now_column()
