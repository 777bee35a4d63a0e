"""What a page shows and asks for: pictures, options of a variant, a sale's words and language, where to deliver.

Revision ID: 0003
Revises: 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "skus",
        sa.Column(
            "options", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
    )
    op.add_column(
        "sales", sa.Column("description", sa.String(length=10000), server_default=sa.text("''"), nullable=False)
    )
    language = sa.Enum(
        "en", "de", "ar", name=op.f("ck_sales_language"), native_enum=False, length=32, create_constraint=True
    )
    op.add_column("sales", sa.Column("language", language, server_default=sa.text("'en'"), nullable=False))
    op.add_column(
        "sales", sa.Column("delivery_required", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("sales", sa.Column("page_wanted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("sales", sa.Column("page_wanted_by", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_sales_page_wanted_by"), "sales", "operators", ["page_wanted_by"], ["id"])
    op.create_index(
        "ix_sales_page_wanted", "sales", ["page_wanted_at"], postgresql_where=sa.text("page_wanted_at IS NOT NULL")
    )

    op.create_table(
        "pictures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("alt", sa.String(length=300), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("length(alt) >= 1", name=op.f("ck_pictures_alt_given")),
        sa.CheckConstraint("width >= 1 AND height >= 1", name=op.f("ck_pictures_size_positive")),
        sa.ForeignKeyConstraint(["sku_id"], ["skus.id"], name=op.f("fk_pictures_sku_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pictures")),
        sa.UniqueConstraint("sku_id", "digest", name=op.f("uq_pictures_sku_id_digest")),
    )
    op.create_table(
        "picture_files",
        sa.Column("picture_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["picture_id"], ["pictures.id"], name=op.f("fk_picture_files_picture_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("picture_id", "name", name=op.f("pk_picture_files")),
    )
    op.create_table(
        "delivery_details",
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("address", sa.String(length=500), nullable=False),
        sa.Column("postal_code", sa.String(length=20), nullable=False),
        sa.Column("city", sa.String(length=120), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_delivery_details_sale_id")),
        sa.PrimaryKeyConstraint("sale_id", "shopper_id", name=op.f("pk_delivery_details")),
    )


def downgrade() -> None:
    """Pictures and delivery details are gone with their tables."""
    op.drop_table("delivery_details")
    op.drop_table("picture_files")
    op.drop_table("pictures")
    op.drop_index("ix_sales_page_wanted", table_name="sales", postgresql_where=sa.text("page_wanted_at IS NOT NULL"))
    op.drop_constraint(op.f("fk_sales_page_wanted_by"), "sales", type_="foreignkey")
    op.drop_column("sales", "page_wanted_by")
    op.drop_column("sales", "page_wanted_at")
    op.drop_column("sales", "delivery_required")
    op.drop_column("sales", "language")
    op.drop_column("sales", "description")
    op.drop_column("skus", "options")
