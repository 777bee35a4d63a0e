"""A merchant's own ways to send messages, the words of its messages, and what its new sales start from."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from backend.core.ids import new_id
from backend.models.base import Json, choice, maybe_time, now_column
from backend.models.operations import NotificationKind, NotificationStatus


class Audience(StrEnum):
    """Whom a channel reaches."""

    SHOPPERS = "shoppers"
    """Each message goes to its shopper's address, by the merchant's own mail server."""
    TEAM = "team"
    """A copy goes to where the channel's address leads: a chat, a telephone, a web hook."""


class NotificationChannel(SQLModel, table=True):
    """An apprise URL of a merchant's. It may hold a password: it is stored encrypted and shown to nobody."""

    __tablename__ = "notification_channels"
    __table_args__ = (
        UniqueConstraint("merchant_id", "name"),
        Index(
            "uq_notification_channels_shoppers",
            "merchant_id",
            unique=True,
            postgresql_where=text("audience = 'shoppers'"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    merchant_id: UUID = Field(foreign_key="merchants.id")
    name: str = Field(max_length=80)
    audience: Audience = Field(sa_type=choice(Audience, "audience"))
    service: str = Field(max_length=32)
    """The URL's scheme; all of it that is shown."""
    sealed_url: bytes = Field(sa_type=LargeBinary)
    kinds: list[str] = Field(default_factory=list, sa_type=Json)
    """Of a team's channel: the messages it gets a copy of."""
    created_at: datetime = now_column()


class NotificationCopy(SQLModel, table=True):
    """A copy of a message about an order for one of the merchant's team channels, delivered like the message."""

    __tablename__ = "notification_copies"
    __table_args__ = (
        UniqueConstraint("notification_id", "channel_id"),
        Index("ix_notification_copies_due", "due_at", postgresql_where=text("status = 'pending'")),
        Index("ix_notification_copies_channel_id", "channel_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    notification_id: UUID = Field(foreign_key="notifications.id")
    channel_id: UUID = Field(foreign_key="notification_channels.id", ondelete="CASCADE")
    status: NotificationStatus = Field(default=NotificationStatus.PENDING, sa_type=choice(NotificationStatus, "status"))
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    due_at: datetime = now_column()
    last_error: str | None = Field(default=None, max_length=500)
    created_at: datetime = now_column()
    sent_at: datetime | None = maybe_time()


class MessageTemplate(SQLModel, table=True):
    """A merchant's own words for one kind of message, with placeholders such as ``{item}``."""

    __tablename__ = "message_templates"

    merchant_id: UUID = Field(foreign_key="merchants.id", primary_key=True)
    kind: NotificationKind = Field(sa_type=choice(NotificationKind, "kind"), primary_key=True)
    subject: str = Field(max_length=200)
    body: str = Field(max_length=5_000)
    updated_at: datetime = now_column()


class MerchantDefaults(SQLModel, table=True):
    """What a merchant's new sales start from, where nothing else is said. No row: the platform's own."""

    __tablename__ = "merchant_defaults"
    __table_args__ = (
        CheckConstraint(
            "rate_per_s > 0 AND burst >= 1 AND wait_budget_ms >= 0 AND repeat_window_ms >= 0", name="throttle"
        ),
        CheckConstraint("link_ttl_s >= 1 AND link_overlap_s >= 0", name="link"),
        CheckConstraint("hold_s >= 1", name="hold"),
    )

    merchant_id: UUID = Field(foreign_key="merchants.id", primary_key=True)
    rate_per_s: float
    burst: int
    wait_budget_ms: int
    repeat_window_ms: int
    link_ttl_s: int
    link_overlap_s: int
    hold_s: int
    updated_at: datetime = now_column()
