"""Commands (the activity log), events, notifications, payments and reconciliation runs."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from backend.core.ids import new_id
from backend.models.base import BigInt, Json, choice, maybe_time, now_column, time_column


class Command(SQLModel, table=True):
    """An operator's mutating call: recorded with actor, reason, before and after, and done once.

    The unique key makes a repeated call an answer from here. ``sale_id`` is None for what concerns none; a draft that
    was deleted is still named, so that what the chain of ``activity_entries`` covers never changes.
    """

    __tablename__ = "commands"
    __table_args__ = (
        UniqueConstraint("operator_id", "idempotency_key"),
        Index("ix_commands_sale_id_at", "sale_id", "at"),
        Index("ix_commands_merchant_id_at", "merchant_id", "at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    merchant_id: UUID = Field(foreign_key="merchants.id")
    operator_id: UUID = Field(foreign_key="operators.id")
    sale_id: UUID | None = None
    kind: str = Field(max_length=64)
    idempotency_key: str = Field(max_length=255)
    request_hash: bytes = Field(sa_type=LargeBinary)
    reason: str | None = Field(default=None, max_length=500)
    before: dict[str, Any] | None = Field(default=None, sa_type=Json)
    after: dict[str, Any] | None = Field(default=None, sa_type=Json)
    response_status: int | None = None
    response_body: dict[str, Any] | None = Field(default=None, sa_type=Json)
    """None while a command that touches the gate is under way; a repeat then carries it on."""
    at: datetime = now_column()
    done_at: datetime | None = maybe_time()


class SaleEvent(SQLModel, table=True):
    """Something that happened to a sale without an operator: opened, preloaded, drift found, recovered."""

    __tablename__ = "sale_events"
    __table_args__ = (Index("ix_sale_events_sale_id_at", "sale_id", "at"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sale_id: UUID = Field(foreign_key="sales.id")
    item_id: UUID | None = Field(default=None, foreign_key="sale_items.id")
    kind: str = Field(max_length=64)
    alarm: bool = False
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    at: datetime = now_column()


class NotificationStatus(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


class NotificationKind(StrEnum):
    ORDER_CONFIRMED = "order_confirmed"
    ORDER_RESERVED = "order_reserved"
    ORDER_EXPIRED = "order_expired"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_REJECTED = "order_rejected"
    REFUND_DUE = "refund_due"
    SIGN_IN_CODE = "sign_in_code"


class Notification(SQLModel, table=True):
    """The notification outbox: written in the transaction of the decision it tells of (I16).

    ``id`` is the key the provider sees, so that a second try is recognised as the same message.
    ``recipient`` is set for messages to a contact without an order (sign-in codes); else the shopper's.
    Hot, a row an order: a trigger checks once a statement that each is of an order (migration 0001).
    """

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("order_id", "kind"),
        CheckConstraint("num_nonnulls(order_id, recipient) = 1", name="addressed_once"),
        CheckConstraint("(order_id IS NULL) = (sale_id IS NULL)", name="sale_of_its_order"),
        Index("ix_notifications_due", "due_at", postgresql_where=text("status = 'pending'")),
        Index("ix_notifications_sale_id_created_at", "sale_id", "created_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    kind: NotificationKind = Field(sa_type=choice(NotificationKind, "kind"))
    status: NotificationStatus = Field(default=NotificationStatus.PENDING, sa_type=choice(NotificationStatus, "status"))
    sale_id: UUID | None = None
    order_id: UUID | None = None
    recipient: str | None = Field(default=None, max_length=254)
    payload: dict[str, Any] = Field(
        default_factory=dict, sa_type=Json, sa_column_kwargs={"server_default": text("'{}'::jsonb")}
    )
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    due_at: datetime = now_column()
    last_error: str | None = Field(default=None, max_length=500)
    created_at: datetime = now_column()
    sent_at: datetime | None = maybe_time()


class PaymentStatus(StrEnum):
    OPEN = "open"
    CAPTURED = "captured"


class Payment(SQLModel, table=True):
    """One payment of one order at a provider."""

    __tablename__ = "payments"
    __table_args__ = (
        # One for an order, so that each capture ends as one paid order or one refund due (I12).
        UniqueConstraint("order_id"),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        Index(
            "ix_payments_unsettled",
            "captured_at",
            postgresql_where=text("status = 'captured' AND settled_at IS NULL"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    order_id: UUID = Field(foreign_key="orders.id")
    provider: str = Field(max_length=32)
    status: PaymentStatus = Field(default=PaymentStatus.OPEN, sa_type=choice(PaymentStatus, "status"))
    amount_minor: int = Field(sa_type=BigInt)
    currency: str = Field(max_length=3)
    created_at: datetime = now_column()
    captured_at: datetime | None = maybe_time()
    settled_at: datetime | None = maybe_time()
    """When its order was confirmed or found to be owed a refund."""


class PaymentEvent(SQLModel, table=True):
    """A provider's signed callback; its id is used once."""

    __tablename__ = "payment_events"

    provider: str = Field(max_length=32, primary_key=True)
    event_id: str = Field(max_length=128, primary_key=True)
    payment_id: UUID | None = Field(default=None, foreign_key="payments.id")
    kind: str = Field(max_length=64)
    result: str = Field(max_length=64)
    received_at: datetime = now_column()


class Verdict(StrEnum):
    CLEAN = "clean"
    FINDINGS = "findings"


class ReconciliationRun(SQLModel, table=True):
    """One comparison of gate and ledger, kept with what it read so that it can be re-derived."""

    __tablename__ = "reconciliation_runs"
    __table_args__ = (Index("ix_reconciliation_runs_sale_id_started_at", "sale_id", "started_at"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sale_id: UUID = Field(foreign_key="sales.id")
    trigger: str = Field(max_length=32)
    """``operator``, ``clock`` or ``command line``."""
    operator_id: UUID | None = Field(default=None, foreign_key="operators.id")
    verdict: Verdict = Field(sa_type=choice(Verdict, "verdict"))
    oversold: int
    stranded: int
    drift: int
    duplicates: int
    findings: list[dict[str, Any]] = Field(default_factory=list, sa_type=Json)
    balance: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    started_at: datetime = time_column()
    finished_at: datetime = now_column()
