"""The first schema: accounts, sales, ledger, outboxes, commands, payments, reconciliation runs.

Revision ID: 0001
Revises:
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "merchants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merchants")),
        sa.UniqueConstraint("name", name=op.f("uq_merchants_name")),
    )
    op.create_table(
        "shopper_codes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact", sa.String(length=254), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_shopper_codes_attempts_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shopper_codes")),
    )
    op.create_index("ix_shopper_codes_contact_created_at", "shopper_codes", ["contact", "created_at"], unique=False)
    op.create_index("ix_shopper_codes_created_at", "shopper_codes", ["created_at"], unique=False)
    op.create_table(
        "shoppers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact", sa.String(length=254), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shoppers")),
        sa.UniqueConstraint("contact", name=op.f("uq_shoppers_contact")),
    )
    op.create_table(
        "sign_in_guards",
        sa.Column("email_hash", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("email_hash", name=op.f("pk_sign_in_guards")),
    )
    op.create_index(op.f("ix_sign_in_guards_tried_at"), "sign_in_guards", ["tried_at"], unique=False)
    op.create_table(
        "operators",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column(
            "role",
            sa.Enum("owner", "operator", "auditor", name="role", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_operators_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operators")),
    )
    op.create_index("uq_operators_email_lower", "operators", [sa.literal_column("lower(email)")], unique=True)
    op.create_table(
        "sales",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column(
            "stage",
            sa.Enum(
                "draft",
                "scheduled",
                "reconciled",
                "cancelled",
                name="stage",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("opens_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closes_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("lead_s", sa.Integer(), nullable=False),
        sa.Column("rate_per_s", sa.Float(), nullable=False),
        sa.Column("burst", sa.Integer(), nullable=False),
        sa.Column("wait_budget_ms", sa.Integer(), nullable=False),
        sa.Column("repeat_window_ms", sa.Integer(), nullable=False),
        sa.Column("link_ttl_s", sa.Integer(), nullable=False),
        sa.Column("link_overlap_s", sa.Integer(), nullable=False),
        sa.Column("link_epoch", sa.Integer(), nullable=False),
        sa.Column("payment_required", sa.Boolean(), nullable=False),
        sa.Column("hold_s", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("config_version", sa.Integer(), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("preloaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reconciled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "fault",
            sa.Enum(
                "regressed",
                "forked",
                "drift",
                "no_stock",
                "poison",
                "clock",
                name="fault",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("published_version", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("closes_at > opens_at", name=op.f("ck_sales_closes_after_opening")),
        sa.CheckConstraint("hold_s >= 1", name=op.f("ck_sales_hold")),
        sa.CheckConstraint("lead_s >= 0", name=op.f("ck_sales_lead_not_negative")),
        sa.CheckConstraint("link_ttl_s >= 1 AND link_overlap_s >= 0", name=op.f("ck_sales_link")),
        sa.CheckConstraint(
            "rate_per_s > 0 AND burst >= 1 AND wait_budget_ms >= 0 AND repeat_window_ms >= 0",
            name=op.f("ck_sales_throttle"),
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_sales_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sales")),
        sa.UniqueConstraint("slug", name=op.f("uq_sales_slug")),
    )
    op.create_index("ix_sales_merchant_id_opens_at", "sales", ["merchant_id", "opens_at"], unique=False)
    op.create_index(
        "ix_sales_unreconciled",
        "sales",
        ["opens_at"],
        unique=False,
        postgresql_where=sa.text("stage IN ('scheduled', 'cancelled')"),
    )
    op.create_table(
        "skus",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.String(length=10000), nullable=False),
        sa.Column("usual_price_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("usual_price_minor >= 0", name=op.f("ck_skus_usual_price_not_negative")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_skus_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_skus")),
        sa.UniqueConstraint("merchant_id", "sku", name=op.f("uq_skus_merchant_id_sku")),
    )
    op.create_table(
        "commands",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("before", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("response_body", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_commands_merchant_id")),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_commands_operator_id")),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_commands_sale_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commands")),
        sa.UniqueConstraint("operator_id", "idempotency_key", name=op.f("uq_commands_operator_id_idempotency_key")),
    )
    op.create_index("ix_commands_merchant_id_at", "commands", ["merchant_id", "at"], unique=False)
    op.create_index("ix_commands_sale_id_at", "commands", ["sale_id", "at"], unique=False)
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("error", sa.String(length=2000), nullable=False),
        sa.Column("payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_dead_letters_sale_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index(op.f("ix_dead_letters_sale_id"), "dead_letters", ["sale_id"], unique=False)
    op.create_table(
        "link_secrets",
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("retires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("octet_length(secret) = 32", name=op.f("ck_link_secrets_secret_256_bits")),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_link_secrets_sale_id")),
        sa.PrimaryKeyConstraint("sale_id", "epoch", name=op.f("pk_link_secrets")),
    )
    op.create_table(
        "operator_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_operator_sessions_operator_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_operator_sessions_token_hash")),
    )
    op.create_index(op.f("ix_operator_sessions_operator_id"), "operator_sessions", ["operator_id"], unique=False)
    op.create_table(
        "page_versions",
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("published_by", sa.Uuid(), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["published_by"], ["operators.id"], name=op.f("fk_page_versions_published_by")),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_page_versions_sale_id")),
        sa.PrimaryKeyConstraint("sale_id", "version", name=op.f("pk_page_versions")),
    )
    op.create_table(
        "reconciliation_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("trigger", sa.String(length=32), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=True),
        sa.Column(
            "verdict",
            sa.Enum("clean", "findings", name="verdict", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("oversold", sa.Integer(), nullable=False),
        sa.Column("stranded", sa.Integer(), nullable=False),
        sa.Column("drift", sa.Integer(), nullable=False),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("findings", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("balance", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_reconciliation_runs_operator_id")),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_reconciliation_runs_sale_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_runs")),
    )
    op.create_index(
        "ix_reconciliation_runs_sale_id_started_at", "reconciliation_runs", ["sale_id", "started_at"], unique=False
    )
    op.create_table(
        "sale_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("per_shopper_limit", sa.Integer(), nullable=False),
        sa.Column("allotment", sa.Integer(), nullable=False),
        sa.Column("available", sa.Integer(), nullable=False),
        sa.Column("reserved", sa.Integer(), nullable=False),
        sa.Column("sold", sa.Integer(), nullable=False),
        sa.Column("rate_per_s", sa.Float(), nullable=True),
        sa.Column("burst", sa.Integer(), nullable=True),
        sa.Column("wait_budget_ms", sa.Integer(), nullable=True),
        sa.Column("repeat_window_ms", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("available + reserved + sold = allotment", name=op.f("ck_sale_items_units_conserved")),
        sa.CheckConstraint("available >= 0", name=op.f("ck_sale_items_available_not_negative")),
        sa.CheckConstraint(
            "num_nonnulls(rate_per_s, burst, wait_budget_ms, repeat_window_ms) IN (0, 4)",
            name=op.f("ck_sale_items_throttle_whole"),
        ),
        sa.CheckConstraint("per_shopper_limit >= 1", name=op.f("ck_sale_items_limit_positive")),
        sa.CheckConstraint("price_minor >= 0", name=op.f("ck_sale_items_price_not_negative")),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_sale_items_reserved_not_negative")),
        sa.CheckConstraint("sold >= 0", name=op.f("ck_sale_items_sold_not_negative")),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_sale_items_sale_id")),
        sa.ForeignKeyConstraint(["sku_id"], ["skus.id"], name=op.f("fk_sale_items_sku_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sale_items")),
        sa.UniqueConstraint("sale_id", "sku", name=op.f("uq_sale_items_sale_id_sku")),
    )
    op.create_table(
        "gate_outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("release", "adjust", "forfeit", name="kind", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "done",
                "refused",
                "superseded",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("reservation_id", sa.Uuid(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(kind = 'adjust') = (reservation_id IS NULL)", name=op.f("ck_gate_outbox_release_names_reservation")
        ),
        sa.CheckConstraint("(kind = 'forfeit') = (quantity = 0)", name=op.f("ck_gate_outbox_forfeit_gives_nothing")),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_gate_outbox_quantity_not_negative")),
        sa.ForeignKeyConstraint(["item_id"], ["sale_items.id"], name=op.f("fk_gate_outbox_item_id")),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_gate_outbox_sale_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_outbox")),
    )
    op.create_index(
        "ix_gate_outbox_open",
        "gate_outbox",
        ["item_id", "lane"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'refused')"),
    )
    op.create_index(
        "uq_gate_outbox_claim",
        "gate_outbox",
        ["item_id", "lane", "generation", "seq"],
        unique=True,
        postgresql_where=sa.text("seq IS NOT NULL"),
    )
    op.create_table(
        "journal_cursors",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("nonce", sa.String(length=32), nullable=False),
        sa.Column("loaded_units", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=40), nullable=True),
        sa.Column("left_units", sa.Integer(), nullable=True),
        sa.Column("moved_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(seq IS NULL) = (digest IS NULL)", name=op.f("ck_journal_cursors_adopted_whole")),
        sa.CheckConstraint("generation >= 1", name=op.f("ck_journal_cursors_generation_positive")),
        sa.ForeignKeyConstraint(["item_id"], ["sale_items.id"], name=op.f("fk_journal_cursors_item_id")),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_journal_cursors_sale_id")),
        sa.PrimaryKeyConstraint("item_id", "lane", name=op.f("pk_journal_cursors")),
    )
    op.create_index(op.f("ix_journal_cursors_sale_id"), "journal_cursors", ["sale_id"], unique=False)
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "allot",
                "reserve",
                "sell",
                "release",
                "reject",
                "adjust",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("allotment_delta", sa.Integer(), nullable=False),
        sa.Column("available_delta", sa.Integer(), nullable=False),
        sa.Column("reserved_delta", sa.Integer(), nullable=False),
        sa.Column("sold_delta", sa.Integer(), nullable=False),
        sa.Column("reservation_id", sa.Uuid(), nullable=True),
        sa.Column("command_id", sa.Uuid(), nullable=True),
        sa.Column("outbox_id", sa.Uuid(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "available_delta + reserved_delta + sold_delta = allotment_delta",
            name=op.f("ck_ledger_entries_units_conserved"),
        ),
        sa.CheckConstraint(
            "num_nonnulls(reservation_id, command_id, outbox_id, seq) >= 1", name=op.f("ck_ledger_entries_caused")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("reservation_id", "kind", name=op.f("uq_ledger_entries_reservation_id_kind")),
    )
    op.create_index("ix_ledger_entries_item_id_id", "ledger_entries", ["item_id", "id"], unique=False)
    op.create_index("ix_ledger_entries_sale_id_id", "ledger_entries", ["sale_id", "id"], unique=False)
    op.create_table(
        "reservations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "reserved",
                "confirmed",
                "expired",
                "cancelled",
                "rejected",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'rejected') = (reason IS NOT NULL)", name=op.f("ck_reservations_rejected_with_reason")
        ),
        sa.CheckConstraint("quantity >= 1", name=op.f("ck_reservations_quantity_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservations")),
        sa.UniqueConstraint(
            "item_id", "lane", "generation", "seq", name=op.f("uq_reservations_item_id_lane_generation_seq")
        ),
    )
    op.create_index(
        "ix_reservations_due",
        "reservations",
        ["item_id", "expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'reserved'"),
    )
    op.create_index("ix_reservations_sale_id_status", "reservations", ["sale_id", "status"], unique=False)
    op.create_table(
        "sale_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("alarm", sa.Boolean(), nullable=False),
        sa.Column("detail", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["sale_items.id"], name=op.f("fk_sale_events_item_id")),
        sa.ForeignKeyConstraint(["sale_id"], ["sales.id"], name=op.f("fk_sale_events_sale_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sale_events")),
    )
    op.create_index("ix_sale_events_sale_id_at", "sale_events", ["sale_id", "at"], unique=False)
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reservation_id", sa.Uuid(), nullable=False),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "reserved",
                "confirmed",
                "expired",
                "cancelled",
                "rejected",
                "refund_due",
                "refunded",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("pay_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("price_minor >= 0", name=op.f("ck_orders_price_not_negative")),
        sa.CheckConstraint("quantity >= 1", name=op.f("ck_orders_quantity_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("reservation_id", name=op.f("uq_orders_reservation_id")),
    )
    op.create_index("ix_orders_sale_id_created_at", "orders", ["sale_id", "created_at"], unique=False)
    op.create_index("ix_orders_shopper_id_created_at", "orders", ["shopper_id", "created_at"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "order_confirmed",
                "order_reserved",
                "order_expired",
                "order_cancelled",
                "order_rejected",
                "refund_due",
                "sign_in_code",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum("pending", "sent", "dead", name="status", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("sale_id", sa.Uuid(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("recipient", sa.String(length=254), nullable=True),
        sa.Column(
            "payload",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_error", sa.String(length=500), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("num_nonnulls(order_id, recipient) = 1", name=op.f("ck_notifications_addressed_once")),
        sa.CheckConstraint("(order_id IS NULL) = (sale_id IS NULL)", name=op.f("ck_notifications_sale_of_its_order")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("order_id", "kind", name=op.f("uq_notifications_order_id_kind")),
    )
    op.create_index(
        "ix_notifications_due",
        "notifications",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index("ix_notifications_sale_id_created_at", "notifications", ["sale_id", "created_at"], unique=False)
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column(
            "status",
            sa.Enum("open", "captured", name="status", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_payments_amount_not_negative")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_payments_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("order_id", name=op.f("uq_payments_order_id")),
    )
    op.create_index(
        "ix_payments_unsettled",
        "payments",
        ["captured_at"],
        unique=False,
        postgresql_where=sa.text("status = 'captured' AND settled_at IS NULL"),
    )
    op.create_table(
        "payment_events",
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("result", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_payment_events_payment_id")),
        sa.PrimaryKeyConstraint("provider", "event_id", name=op.f("pk_payment_events")),
    )
    # The application's role has no right to do it either; this stops the owner's slip of the hand.
    op.execute("""
        CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'insufficient_privilege';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()
    """)
    _create_references()


def _create_references() -> None:
    """What the hot tables refer to, checked once a statement instead of once a row.

    Eleven foreign keys an order were 40 of the 70 µs that its rows cost PostgreSQL; these checks are 4, and say more:
    the item is one of that sale, the order agrees with its reservation. A foreign key also keeps what it points to.
    Here reservations and orders may not be deleted, nor named anew; an item with a lane, and its sale, are kept by
    the foreign keys of ``journal_cursors``.
    """
    for function, what, broken in (
        (
            "require_item",
            "an item of that sale",
            """
            FROM (SELECT DISTINCT item_id, sale_id FROM added) a
            LEFT JOIN sale_items i ON i.id = a.item_id AND i.sale_id = a.sale_id
            WHERE i.id IS NULL
            """,
        ),
        (
            "require_reservation",
            "a reservation of the same item, shopper and quantity",
            """
            FROM added a
            LEFT JOIN reservations r ON r.id = a.reservation_id
            WHERE (r.sale_id, r.item_id, r.shopper_id, r.quantity)
                  IS DISTINCT FROM (a.sale_id, a.item_id, a.shopper_id, a.quantity)
            """,
        ),
        (
            "require_order",
            "an order of that sale",
            """
            FROM added a
            LEFT JOIN orders o ON o.id = a.order_id
            WHERE a.order_id IS NOT NULL AND o.sale_id IS DISTINCT FROM a.sale_id
            """,
        ),
    ):
        # Planned once a session, perhaps while the tables are still empty: it must never settle on reading them whole.
        op.execute(f"""
            CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
            SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
            BEGIN
                IF EXISTS (SELECT {broken}) THEN
                    RAISE EXCEPTION '% without {what}', TG_TABLE_NAME USING ERRCODE = 'foreign_key_violation';
                END IF;
                RETURN NULL;
            END $$
        """)
    for table, function in (
        ("reservations", "require_item"),
        ("ledger_entries", "require_item"),
        ("orders", "require_reservation"),
        ("notifications", "require_order"),
    ):
        op.execute(f"""
            CREATE TRIGGER {table}_{function} AFTER INSERT ON {table} REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION {function}()
        """)
    op.execute("""
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% are kept as they are', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
    """)
    for table, columns in (
        ("reservations", "id, sale_id, item_id"),
        ("orders", "id, reservation_id, sale_id, item_id"),
        ("notifications", "order_id, sale_id"),
    ):
        deletion = "" if table == "notifications" else " OR DELETE OR TRUNCATE"
        op.execute(f"""
            CREATE TRIGGER {table}_kept BEFORE UPDATE OF {columns}{deletion} ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)


def downgrade() -> None:
    op.drop_table("payment_events")
    op.drop_index(
        "ix_payments_unsettled",
        table_name="payments",
        postgresql_where=sa.text("status = 'captured' AND settled_at IS NULL"),
    )
    op.drop_table("payments")
    op.drop_index("ix_notifications_sale_id_created_at", table_name="notifications")
    op.drop_index("ix_notifications_due", table_name="notifications", postgresql_where=sa.text("status = 'pending'"))
    op.drop_table("notifications")
    op.drop_index("ix_orders_shopper_id_created_at", table_name="orders")
    op.drop_index("ix_orders_sale_id_created_at", table_name="orders")
    op.drop_table("orders")
    op.drop_index("ix_sale_events_sale_id_at", table_name="sale_events")
    op.drop_table("sale_events")
    op.drop_index("ix_reservations_sale_id_status", table_name="reservations")
    op.drop_index("ix_reservations_due", table_name="reservations", postgresql_where=sa.text("status = 'reserved'"))
    op.drop_table("reservations")
    op.drop_index("ix_ledger_entries_sale_id_id", table_name="ledger_entries")
    op.drop_index("ix_ledger_entries_item_id_id", table_name="ledger_entries")
    op.drop_table("ledger_entries")
    op.drop_index(op.f("ix_journal_cursors_sale_id"), table_name="journal_cursors")
    op.drop_table("journal_cursors")
    op.drop_index("uq_gate_outbox_claim", table_name="gate_outbox", postgresql_where=sa.text("seq IS NOT NULL"))
    op.drop_index(
        "ix_gate_outbox_open", table_name="gate_outbox", postgresql_where=sa.text("status IN ('pending', 'refused')")
    )
    op.drop_table("gate_outbox")
    op.drop_table("sale_items")
    op.drop_index("ix_reconciliation_runs_sale_id_started_at", table_name="reconciliation_runs")
    op.drop_table("reconciliation_runs")
    op.drop_table("page_versions")
    op.drop_index(op.f("ix_operator_sessions_operator_id"), table_name="operator_sessions")
    op.drop_table("operator_sessions")
    op.drop_table("link_secrets")
    op.drop_index(op.f("ix_dead_letters_sale_id"), table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_index("ix_commands_sale_id_at", table_name="commands")
    op.drop_index("ix_commands_merchant_id_at", table_name="commands")
    op.drop_table("commands")
    op.drop_table("skus")
    op.drop_index(
        "ix_sales_unreconciled", table_name="sales", postgresql_where=sa.text("stage IN ('scheduled', 'cancelled')")
    )
    op.drop_index("ix_sales_merchant_id_opens_at", table_name="sales")
    op.drop_table("sales")
    op.drop_index("uq_operators_email_lower", table_name="operators")
    op.drop_table("operators")
    op.drop_index(op.f("ix_sign_in_guards_tried_at"), table_name="sign_in_guards")
    op.drop_table("sign_in_guards")
    op.drop_table("shoppers")
    op.drop_index("ix_shopper_codes_created_at", table_name="shopper_codes")
    op.drop_index("ix_shopper_codes_contact_created_at", table_name="shopper_codes")
    op.drop_table("shopper_codes")
    op.drop_table("merchants")
    for function in (
        "refuse_ledger_change", "require_item", "require_reservation", "require_order", "refuse_change",
    ):  # fmt: skip
        op.execute(f"DROP FUNCTION {function}()")
