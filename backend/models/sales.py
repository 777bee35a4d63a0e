"""SKUs, sales, their items and link secrets."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from backend.core.ids import new_id
from backend.models.base import BigInt, Json, choice, maybe_time, now_column, time_column


class SaleStage(StrEnum):
    """What is stored. ``live``, ``paused`` and ``ended`` follow from it and the stored times."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RECONCILED = "reconciled"
    CANCELLED = "cancelled"


class Fault(StrEnum):
    """Why the platform itself stopped a sale; cleared by a rebuild or a resume that gives a reason."""

    REGRESSED = "regressed"
    """The gate's history is shorter than something already read from it."""
    FORKED = "forked"
    """The journal's digests do not chain, or the entry at the cursor is not the one applied."""
    DRIFT = "drift"
    """Ledger and gate disagree on the units left."""
    NO_STOCK = "no_stock"
    """An entry reserved units that the ledger did not have."""
    POISON = "poison"
    """An entry could not be applied."""
    CLOCK = "clock"
    """The gate's clock and the database's disagree."""
    REBUILD = "rebuild"
    """An operator asked for the gate to be rebuilt from the ledger."""


class RecoveryPolicy(StrEnum):
    """What follows when a sale's gate was rebuilt after a failure of its store."""

    AUTOMATIC = "automatic"
    """The sale goes on by itself."""
    MANUAL = "manual"
    """It stays paused until an operator resumes it."""


class Durability(StrEnum):
    """What an accepted attempt has survived by the time it is told."""

    EVERYSEC = "everysec"
    """The gate store's memory; its append-only file follows within a second."""
    ACKNOWLEDGED = "acknowledged"
    """A disk (standalone), or a replica's memory (Sentinel, Cluster)."""


class Language(StrEnum):
    """What a page is written in until its reader chooses another; each has a catalogue in the renderer."""

    ENGLISH = "en"
    GERMAN = "de"
    ARABIC = "ar"


class Sku(SQLModel, table=True):
    __tablename__ = "skus"
    __table_args__ = (
        UniqueConstraint("merchant_id", "sku"),
        CheckConstraint("usual_price_minor >= 0", name="usual_price_not_negative"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    merchant_id: UUID = Field(foreign_key="merchants.id")
    sku: str = Field(max_length=64)
    name: str = Field(max_length=200)
    description: str = Field(default="", max_length=10_000)
    usual_price_minor: int | None = Field(default=None, sa_type=BigInt)
    currency: str | None = Field(default=None, max_length=3)
    options: list[dict[str, Any]] = Field(
        default_factory=list, sa_type=Json, sa_column_kwargs={"server_default": text("'[]'::jsonb")}
    )
    """What tells it from its sisters, in order of choice: ``[{"name": "Colour", "value": "Navy"}, …]``. A list,
    because JSONB keeps no order of keys."""
    created_at: datetime = now_column()


class Sale(SQLModel, table=True):
    __tablename__ = "sales"
    __table_args__ = (
        CheckConstraint("closes_at > opens_at", name="closes_after_opening"),
        CheckConstraint("lead_s >= 0", name="lead_not_negative"),
        CheckConstraint(
            "rate_per_s > 0 AND burst >= 1 AND wait_budget_ms >= 0 AND repeat_window_ms >= 0",
            name="throttle",
        ),
        CheckConstraint("link_ttl_s >= 1 AND link_overlap_s >= 0", name="link"),
        CheckConstraint("hold_s >= 1", name="hold"),
        Index("ix_sales_merchant_id_opens_at", "merchant_id", "opens_at"),
        Index("ix_sales_page_wanted", "page_wanted_at", postgresql_where=text("page_wanted_at IS NOT NULL")),
        Index("ix_sales_unreconciled", "opens_at", postgresql_where=text("stage IN ('scheduled', 'cancelled')")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    merchant_id: UUID = Field(foreign_key="merchants.id")
    slug: str = Field(max_length=63, unique=True)
    title: str = Field(max_length=200)
    description: str = Field(default="", max_length=10_000, sa_column_kwargs={"server_default": text("''")})
    """Markdown, shown on the page."""
    language: Language = Field(
        default=Language.ENGLISH,
        sa_type=choice(Language, "language"),
        sa_column_kwargs={"server_default": text("'en'")},
    )
    stage: SaleStage = Field(default=SaleStage.DRAFT, sa_type=choice(SaleStage, "stage"))

    opens_at: datetime = time_column()
    closes_at: datetime = time_column()
    time_zone: str = Field(default="UTC", max_length=64)
    lead_s: int = 600

    rate_per_s: float = 500.0
    burst: int = 1000
    wait_budget_ms: int = 0
    repeat_window_ms: int = 10_000

    link_ttl_s: int = 300
    link_overlap_s: int = 0
    link_epoch: int = 0
    """0 until the first rotation; epochs count from 1."""

    payment_required: bool = False
    hold_s: int = 900
    delivery_required: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    """Whether the page asks for an address. Nobody is refused for want of one: the gate knows none."""

    recovery: RecoveryPolicy = Field(
        default=RecoveryPolicy.AUTOMATIC,
        sa_type=choice(RecoveryPolicy, "recovery"),
        sa_column_kwargs={"server_default": text("'automatic'")},
    )
    durability: Durability = Field(
        default=Durability.EVERYSEC,
        sa_type=choice(Durability, "durability"),
        sa_column_kwargs={"server_default": text("'everysec'")},
    )

    version: int = 1
    """Counts operators' edits (``ETag``, ``If-Match``)."""
    config_version: int = 1
    """Counts changes of what the gate must know; a lane refuses an older one."""

    scheduled_at: datetime | None = maybe_time()
    preloaded_at: datetime | None = maybe_time()
    opened_at: datetime | None = maybe_time()
    """When the clock noticed the opening; for the record alone, the gate opens by itself."""
    paused_at: datetime | None = maybe_time()
    ended_at: datetime | None = maybe_time()
    """An operator's early end."""
    cancelled_at: datetime | None = maybe_time()
    """Stays when a cancelled sale is reconciled: its page goes on saying so."""
    reconciled_at: datetime | None = maybe_time()
    """Journal and claims are kept for 24 h from then on."""
    fault: Fault | None = Field(default=None, sa_type=choice(Fault, "fault"), nullable=True)
    published_version: int | None = None
    page_wanted_at: datetime | None = maybe_time()
    """Something that the page shows has changed since; None when what is published is the latest word."""
    page_wanted_by: UUID | None = Field(default=None, foreign_key="operators.id")
    created_at: datetime = now_column()


class SaleItem(SQLModel, table=True):
    """One SKU in one sale, with the three counters. The CHECKs are invariant I1."""

    __tablename__ = "sale_items"
    __table_args__ = (
        UniqueConstraint("sale_id", "sku"),
        CheckConstraint("available + reserved + sold = allotment", name="units_conserved"),
        CheckConstraint("available >= 0", name="available_not_negative"),
        CheckConstraint("reserved >= 0", name="reserved_not_negative"),
        CheckConstraint("sold >= 0", name="sold_not_negative"),
        CheckConstraint("price_minor >= 0", name="price_not_negative"),
        CheckConstraint("per_shopper_limit >= 1", name="limit_positive"),
        CheckConstraint(
            "num_nonnulls(rate_per_s, burst, wait_budget_ms, repeat_window_ms) IN (0, 4)",
            name="throttle_whole",
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sale_id: UUID = Field(foreign_key="sales.id")
    sku_id: UUID = Field(foreign_key="skus.id")
    sku: str = Field(max_length=64)
    position: int = 0
    price_minor: int = Field(sa_type=BigInt)
    currency: str = Field(max_length=3)
    per_shopper_limit: int = 1

    allotment: int
    available: int
    reserved: int = 0
    sold: int = 0

    rate_per_s: float | None = None
    burst: int | None = None
    wait_budget_ms: int | None = None
    repeat_window_ms: int | None = None
    """An item's own throttle, all four or none."""

    version: int = 1


class LinkSecret(SQLModel, table=True):
    """256 random bits an epoch. Retired ones still verify a winner's own link until retention ends."""

    __tablename__ = "link_secrets"
    __table_args__ = (CheckConstraint("octet_length(secret) = 32", name="secret_256_bits"),)

    sale_id: UUID = Field(foreign_key="sales.id", primary_key=True)
    epoch: int = Field(primary_key=True)
    secret: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = now_column()
    retires_at: datetime | None = maybe_time()
    """From then on the gate answers ``LINK_REVOKED`` to new attempts; None for the current epoch."""
