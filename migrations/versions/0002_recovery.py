"""Recovery: generations that a rebuild ended, reservations it brought in, and what a sale wants of its gate store.

Revision ID: 0002
Revises: 0001
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_FAULTS = ("regressed", "forked", "drift", "no_stock", "poison", "clock")


def _replace_fault_check(faults: Sequence[str]) -> None:
    values = ", ".join(f"'{fault}'" for fault in faults)
    op.drop_constraint(op.f("ck_sales_fault"), "sales", type_="check")
    op.create_check_constraint(op.f("ck_sales_fault"), "sales", f"fault IN ({values})")


def upgrade() -> None:
    _replace_fault_check((*_FAULTS, "rebuild"))
    for column, values, default in (
        ("recovery", ("automatic", "manual"), "automatic"),
        ("durability", ("everysec", "acknowledged"), "everysec"),
    ):
        choice = sa.Enum(*values, name=op.f(f"ck_sales_{column}"), native_enum=False, length=32, create_constraint=True)
        op.add_column("sales", sa.Column(column, choice, server_default=sa.text(f"'{default}'"), nullable=False))

    op.add_column("journal_cursors", sa.Column("loaded_held", sa.Integer(), server_default="0", nullable=False))
    op.alter_column("journal_cursors", "loaded_held", server_default=None)

    op.add_column("reservations", sa.Column("recovered", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.drop_constraint(op.f("uq_reservations_item_id_lane_generation_seq"), "reservations", type_="unique")
    op.create_index(
        "uq_reservations_entry",
        "reservations",
        ["item_id", "lane", "generation", "seq"],
        unique=True,
        postgresql_where=sa.text("NOT recovered"),
    )

    op.drop_index("uq_gate_outbox_claim", table_name="gate_outbox", postgresql_where=sa.text("seq IS NOT NULL"))
    op.create_index(
        "uq_gate_outbox_claim",
        "gate_outbox",
        ["reservation_id", "generation", "seq"],
        unique=True,
        postgresql_where=sa.text("seq IS NOT NULL"),
    )

    op.create_index(
        "uq_dead_letters_journal",
        "dead_letters",
        ["reference"],
        unique=True,
        postgresql_where=sa.text("source = 'journal'"),
    )

    op.create_table(
        "closed_generations",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("fault", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=40), nullable=True),
        sa.Column("left_units", sa.Integer(), nullable=True),
        sa.Column("survivors", sa.Integer(), nullable=False),
        sa.Column("superseded", sa.Integer(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "survivors >= 0 AND superseded >= 0", name=op.f("ck_closed_generations_counts_not_negative")
        ),
        sa.ForeignKeyConstraint(["item_id"], ["sale_items.id"], name=op.f("fk_closed_generations_item_id")),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_closed_generations_sale_id")),
        sa.PrimaryKeyConstraint("item_id", "lane", "generation", name=op.f("pk_closed_generations")),
    )
    op.create_index(op.f("ix_closed_generations_sale_id"), "closed_generations", ["sale_id"], unique=False)


def downgrade() -> None:
    """Refused by PostgreSQL when a fork was recovered: the older schema cannot hold both of its histories."""
    op.drop_index(op.f("ix_closed_generations_sale_id"), table_name="closed_generations")
    op.drop_table("closed_generations")
    op.drop_index("uq_dead_letters_journal", table_name="dead_letters", postgresql_where=sa.text("source = 'journal'"))
    op.drop_index("uq_gate_outbox_claim", table_name="gate_outbox", postgresql_where=sa.text("seq IS NOT NULL"))
    op.create_index(
        "uq_gate_outbox_claim",
        "gate_outbox",
        ["item_id", "lane", "generation", "seq"],
        unique=True,
        postgresql_where=sa.text("seq IS NOT NULL"),
    )
    op.drop_index("uq_reservations_entry", table_name="reservations", postgresql_where=sa.text("NOT recovered"))
    op.create_unique_constraint(
        op.f("uq_reservations_item_id_lane_generation_seq"), "reservations", ["item_id", "lane", "generation", "seq"]
    )
    op.drop_column("reservations", "recovered")
    op.drop_column("journal_cursors", "loaded_held")
    op.drop_column("sales", "durability")
    op.drop_column("sales", "recovery")
    _replace_fault_check(_FAULTS)
