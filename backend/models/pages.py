"""Pictures of what is sold, versions of the pages that show them, and where their orders are to go."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from backend.core.ids import new_id
from backend.models.base import now_column


class PageVersion(SQLModel, table=True):
    __tablename__ = "page_versions"

    sale_id: UUID = Field(foreign_key="sales.id", primary_key=True)
    version: int = Field(primary_key=True)
    digest: str = Field(max_length=64)
    published_by: UUID | None = Field(default=None, foreign_key="operators.id")
    published_at: datetime = now_column()


class Picture(SQLModel, table=True):
    """One picture of a SKU. What was uploaded is not kept, only what was encoded from its pixels."""

    __tablename__ = "pictures"
    __table_args__ = (
        UniqueConstraint("sku_id", "digest"),
        CheckConstraint("length(alt) >= 1", name="alt_given"),
        CheckConstraint("width >= 1 AND height >= 1", name="size_positive"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sku_id: UUID = Field(foreign_key="skus.id")
    position: int
    alt: str = Field(max_length=300)
    width: int
    """Of the largest file, in pixels; the others are smaller and of the same shape."""
    height: int
    digest: bytes = Field(sa_type=LargeBinary)
    """SHA-256 of the upload: the same file sent twice is the same picture."""
    created_at: datetime = now_column()


class PictureFile(SQLModel, table=True):
    """One encoding of a picture in one width, under the name it has beside the pages."""

    __tablename__ = "picture_files"

    picture_id: UUID = Field(foreign_key="pictures.id", ondelete="CASCADE", primary_key=True)
    name: str = Field(max_length=64, primary_key=True)
    width: int
    height: int
    content: bytes = Field(sa_type=LargeBinary)


class DeliveryDetails(SQLModel, table=True):
    """Where a shopper wants the orders of one sale delivered. Another sale, another merchant: asked again."""

    __tablename__ = "delivery_details"

    sale_id: UUID = Field(foreign_key="sales.id", primary_key=True)
    shopper_id: UUID = Field(primary_key=True)
    name: str = Field(max_length=200)
    address: str = Field(max_length=500)
    postal_code: str = Field(max_length=20)
    city: str = Field(max_length=120)
    country: str = Field(max_length=2)
    """ISO 3166-1 alpha-2."""
    updated_at: datetime = now_column()
