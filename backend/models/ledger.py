"""The ledger: cursors over the journal, reservations, orders, entries, and what is still to be given back."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Identity, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from backend.core.ids import new_id
from backend.models.base import BigInt, Json, Timestamp, choice, maybe_time, now_column


class ReservationStatus(StrEnum):
    """``reserved → confirmed | expired | cancelled``, or ``rejected`` at the start. A reservation ends once."""

    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class OrderStatus(StrEnum):
    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    REFUND_DUE = "refund_due"
    REFUNDED = "refunded"


class EntryKind(StrEnum):
    """Kinds of ledger entries; each moves units between available, reserved and sold."""

    ALLOT = "allot"
    RESERVE = "reserve"
    SELL = "sell"
    RELEASE = "release"
    REJECT = "reject"
    ADJUST = "adjust"


class OutboxKind(StrEnum):
    RELEASE = "release"
    ADJUST = "adjust"
    FORFEIT = "forfeit"
    """Lowers the shopper's count and gives no unit back (``rejected: no_stock``)."""


class OutboxStatus(StrEnum):
    PENDING = "pending"
    """Counted by the equation, whether or not a relay has applied it already."""
    DONE = "done"
    """The drain has read its journal entry."""
    REFUSED = "refused"
    """The gate found nothing to give back; still counted, and alarmed."""
    SUPERSEDED = "superseded"
    """A rebuild made it void."""


class JournalCursor(SQLModel, table=True):
    """How far a lane's journal has been applied. Its row lock serialises the drains of a lane."""

    __tablename__ = "journal_cursors"
    __table_args__ = (
        CheckConstraint("generation >= 1", name="generation_positive"),
        CheckConstraint("(seq IS NULL) = (digest IS NULL)", name="adopted_whole"),
    )

    item_id: UUID = Field(foreign_key="sale_items.id", primary_key=True)
    lane: int = Field(default=0, primary_key=True)
    sale_id: UUID = Field(foreign_key="sales.id", index=True)
    generation: int = 1
    nonce: str = Field(max_length=32)
    """Made by the preload; the first drain adopts only a genesis that carries it."""
    loaded_units: int
    loaded_held: int = 0
    """Units that live claims held when this generation was begun: 0 but for a rebuilt one."""
    seq: int | None = Field(default=None, sa_type=BigInt)
    digest: str | None = Field(default=None, max_length=40)
    left_units: int | None = None
    moved_at: datetime = now_column()


class ClosedGeneration(SQLModel, table=True):
    """A generation of a lane's journal that a rebuild ended, as it stood: what an auditor explains a failover with."""

    __tablename__ = "closed_generations"
    __table_args__ = (CheckConstraint("survivors >= 0 AND superseded >= 0", name="counts_not_negative"),)

    item_id: UUID = Field(foreign_key="sale_items.id", primary_key=True)
    lane: int = Field(default=0, primary_key=True)
    generation: int = Field(primary_key=True)
    sale_id: UUID = Field(foreign_key="sales.id", index=True)
    fault: str = Field(max_length=32)
    """Why it was ended: a ``Fault``."""
    seq: int | None = Field(default=None, sa_type=BigInt)
    """The last entry applied from it, with its digest and what it left; None when its load was never read."""
    digest: str | None = Field(default=None, max_length=40)
    left_units: int | None = None
    survivors: int
    """Accepted attempts that only the gate still knew, and that were brought into the ledger."""
    superseded: int
    """Outbox rows made void: the next generation begins with their units given back."""
    closed_at: datetime = now_column()


class Reservation(SQLModel, table=True):
    """One accepted attempt. ``id`` is derived from shopper, item and ``Idempotency-Key``.

    Hot, a row an order, so its item is not a foreign key: a trigger checks it once a statement (migration 0001). A
    shopper's reservations are found by her orders, which have the index.
    """

    __tablename__ = "reservations"
    __table_args__ = (
        # Recovered ones excepted: the two histories of a fork have the same entry ids.
        Index(
            "uq_reservations_entry",
            "item_id",
            "lane",
            "generation",
            "seq",
            unique=True,
            postgresql_where=text("NOT recovered"),
        ),
        CheckConstraint("quantity >= 1", name="quantity_positive"),
        CheckConstraint("(status = 'rejected') = (reason IS NOT NULL)", name="rejected_with_reason"),
        Index("ix_reservations_due", "item_id", "expires_at", postgresql_where=text("status = 'reserved'")),
        Index("ix_reservations_sale_id_status", "sale_id", "status"),
    )

    id: UUID = Field(primary_key=True)
    sale_id: UUID
    item_id: UUID
    lane: int = 0
    generation: int
    seq: int = Field(sa_type=BigInt)
    shopper_id: UUID
    """No foreign key: a shop's own token names shoppers that have never signed in here."""
    quantity: int
    status: ReservationStatus = Field(sa_type=choice(ReservationStatus, "status"))
    reason: str | None = Field(default=None, max_length=64)
    recovered: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    """Brought in by a rebuild from what the gate still had, not by the drain in the journal's order."""
    admitted_at: datetime = Field(sa_type=Timestamp, nullable=False)
    """By the gate's clock; a granted wait included."""
    decided_at: datetime = now_column()
    expires_at: datetime | None = maybe_time()
    ended_at: datetime | None = maybe_time()


class Order(SQLModel, table=True):
    """What the shopper sees of a reservation, with its price and its payment.

    Hot, as reservations are: a trigger checks once a statement that each is of a reservation, and agrees with it.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("reservation_id"),
        CheckConstraint("quantity >= 1", name="quantity_positive"),
        CheckConstraint("price_minor >= 0", name="price_not_negative"),
        Index("ix_orders_shopper_id_created_at", "shopper_id", "created_at"),
        Index("ix_orders_sale_id_created_at", "sale_id", "created_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    reservation_id: UUID
    sale_id: UUID
    item_id: UUID
    shopper_id: UUID
    sku: str = Field(max_length=64)
    quantity: int
    status: OrderStatus = Field(sa_type=choice(OrderStatus, "status"))
    price_minor: int = Field(sa_type=BigInt)
    """For one unit."""
    currency: str = Field(max_length=3)
    pay_by: datetime | None = maybe_time()
    paid_at: datetime | None = maybe_time()
    created_at: datetime = now_column()


class LedgerEntry(SQLModel, table=True):
    """One movement of units. Append-only: the application's role may not UPDATE or DELETE here.

    The deltas' sums over an item are its counters (I17); each entry names the journal entry, the
    reservation or the command that caused it. Hot, two rows an order: a trigger checks the items
    once a statement.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (
        CheckConstraint("available_delta + reserved_delta + sold_delta = allotment_delta", name="units_conserved"),
        CheckConstraint("num_nonnulls(reservation_id, command_id, outbox_id, seq) >= 1", name="caused"),
        UniqueConstraint("reservation_id", "kind"),
        Index("ix_ledger_entries_item_id_id", "item_id", "id"),
        Index("ix_ledger_entries_sale_id_id", "sale_id", "id"),
    )

    id: int | None = Field(default=None, sa_type=BigInt, primary_key=True, sa_column_args=(Identity(always=True),))
    sale_id: UUID
    item_id: UUID
    kind: EntryKind = Field(sa_type=choice(EntryKind, "kind"))
    quantity: int
    allotment_delta: int = 0
    available_delta: int = 0
    reserved_delta: int = 0
    sold_delta: int = 0
    reservation_id: UUID | None = None
    command_id: UUID | None = None
    outbox_id: UUID | None = None
    generation: int | None = None
    seq: int | None = Field(default=None, sa_type=BigInt)
    at: datetime = now_column()


class GateOutbox(SQLModel, table=True):
    """Units the ledger has given that the gate must still be told of; the id is the script's cause."""

    __tablename__ = "gate_outbox"
    __table_args__ = (
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
        CheckConstraint("(kind = 'forfeit') = (quantity = 0)", name="forfeit_gives_nothing"),
        CheckConstraint("(kind = 'adjust') = (reservation_id IS NULL)", name="release_names_reservation"),
        Index("ix_gate_outbox_open", "item_id", "lane", postgresql_where=text("status IN ('pending', 'refused')")),
        Index(
            "uq_gate_outbox_claim",
            "reservation_id",
            "generation",
            "seq",
            unique=True,
            postgresql_where=text("seq IS NOT NULL"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sale_id: UUID = Field(foreign_key="sales.id")
    item_id: UUID = Field(foreign_key="sale_items.id")
    lane: int = 0
    kind: OutboxKind = Field(sa_type=choice(OutboxKind, "kind"))
    status: OutboxStatus = Field(default=OutboxStatus.PENDING, sa_type=choice(OutboxStatus, "status"))
    quantity: int
    reservation_id: UUID | None = None
    generation: int
    seq: int | None = Field(default=None, sa_type=BigInt)
    """The journal entry whose claim is given back; None for an adjustment."""
    created_at: datetime = now_column()
    applied_at: datetime | None = maybe_time()
    """When a relay had the gate's answer; the row stays pending until the drain reads the journal."""
    done_at: datetime | None = maybe_time()


class DeadLetter(SQLModel, table=True):
    """What could not be done and needs a person, with everything needed to do it by hand."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        # A journal entry is put aside once, however often its batch is tried.
        Index("uq_dead_letters_journal", "reference", unique=True, postgresql_where=text("source = 'journal'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sale_id: UUID | None = Field(default=None, foreign_key="sales.id", index=True)
    source: str = Field(max_length=32)
    """``journal``, ``outbox`` or ``notification``."""
    reference: str = Field(max_length=128)
    error: str = Field(max_length=2000)
    payload: dict[str, object] = Field(default_factory=dict, sa_type=Json)
    created_at: datetime = now_column()
    resolved_at: datetime | None = maybe_time()
