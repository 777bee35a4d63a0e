"""The activity log's chain; a merchant's channels, words and defaults; shoppers of a shop's own tokens.

Revision ID: 0004
Revises: 0003
"""

import hashlib
import hmac
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_KINDS = (
    "order_confirmed", "order_reserved", "order_expired", "order_cancelled", "order_rejected", "refund_due",
    "sign_in_code",
)  # fmt: skip
_PAGE = 1_000
_LOCAL_SECRET_KEY = "local-only-secret-key-not-for-production"  # noqa: S105 the local stack's, see backend.settings


def upgrade() -> None:
    _create_chain()
    _create_identities()
    _create_channels()
    _chain_what_is_there(op.get_bind())


def _create_chain() -> None:
    op.create_table(
        "activity_entries",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("command_id", sa.Uuid(), nullable=False),
        sa.Column(
            "part",
            sa.Enum("begun", "whole", name="part", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_activity_entries_seq_positive")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_activity_entries_digest_256_bits")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_activity_entries_merchant_id")),
        sa.ForeignKeyConstraint(["command_id"], ["commands.id"], name=op.f("fk_activity_entries_command_id")),
        sa.PrimaryKeyConstraint("merchant_id", "seq", name=op.f("pk_activity_entries")),
        sa.UniqueConstraint("command_id", "part", name=op.f("uq_activity_entries_command_id_part")),
    )
    op.create_table(
        "activity_heads",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.Column("broken_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("entries >= 0", name=op.f("ck_activity_heads_entries_not_negative")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_activity_heads_merchant_id")),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_activity_heads")),
    )
    # The application's role has no right to do it either; this stops the owner's slip of the hand.
    op.execute("""
        CREATE TRIGGER activity_entries_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON activity_entries
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """)
    # A deleted draft is still named by what was done to it: a link that was cut would change what is chained.
    op.drop_constraint(op.f("fk_commands_sale_id"), "commands", type_="foreignkey")


def _create_identities() -> None:
    op.alter_column("shoppers", "contact", nullable=True)
    op.create_table(
        "shopper_identities",
        sa.Column("issuer", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["shopper_id"], ["shoppers.id"], name=op.f("fk_shopper_identities_shopper_id")),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_shopper_identities")),
    )
    op.create_index(op.f("ix_shopper_identities_shopper_id"), "shopper_identities", ["shopper_id"], unique=False)
    op.create_table(
        "spent_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_spent_tokens")),
    )
    op.create_index(op.f("ix_spent_tokens_expires_at"), "spent_tokens", ["expires_at"], unique=False)


def _create_channels() -> None:
    op.create_table(
        "notification_channels",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column(
            "audience",
            sa.Enum("shoppers", "team", name="audience", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("service", sa.String(length=32), nullable=False),
        sa.Column("sealed_url", sa.LargeBinary(), nullable=False),
        sa.Column("kinds", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_notification_channels_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_channels")),
        sa.UniqueConstraint("merchant_id", "name", name=op.f("uq_notification_channels_merchant_id_name")),
    )
    op.create_index(
        "uq_notification_channels_shoppers",
        "notification_channels",
        ["merchant_id"],
        unique=True,
        postgresql_where=sa.text("audience = 'shoppers'"),
    )
    op.create_table(
        "notification_copies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("notification_id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("pending", "sent", "dead", name="status", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_error", sa.String(length=500), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["notification_id"], ["notifications.id"], name=op.f("fk_notification_copies_notification_id")
        ),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["notification_channels.id"],
            name=op.f("fk_notification_copies_channel_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_copies")),
        sa.UniqueConstraint(
            "notification_id", "channel_id", name=op.f("uq_notification_copies_notification_id_channel_id")
        ),
    )
    op.create_index(
        "ix_notification_copies_due",
        "notification_copies",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index("ix_notification_copies_channel_id", "notification_copies", ["channel_id"], unique=False)
    op.create_table(
        "message_templates",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(*_KINDS, name="kind", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("body", sa.String(length=5000), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_message_templates_merchant_id")),
        sa.PrimaryKeyConstraint("merchant_id", "kind", name=op.f("pk_message_templates")),
    )
    op.create_table(
        "merchant_defaults",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("rate_per_s", sa.Float(), nullable=False),
        sa.Column("burst", sa.Integer(), nullable=False),
        sa.Column("wait_budget_ms", sa.Integer(), nullable=False),
        sa.Column("repeat_window_ms", sa.Integer(), nullable=False),
        sa.Column("link_ttl_s", sa.Integer(), nullable=False),
        sa.Column("link_overlap_s", sa.Integer(), nullable=False),
        sa.Column("hold_s", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "rate_per_s > 0 AND burst >= 1 AND wait_budget_ms >= 0 AND repeat_window_ms >= 0",
            name=op.f("ck_merchant_defaults_throttle"),
        ),
        sa.CheckConstraint("link_ttl_s >= 1 AND link_overlap_s >= 0", name=op.f("ck_merchant_defaults_link")),
        sa.CheckConstraint("hold_s >= 1", name=op.f("ck_merchant_defaults_hold")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_merchant_defaults_merchant_id")),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_merchant_defaults")),
    )


# -- chaining the commands that are there. Frozen: a later change of backend.accounts.activity_chain is a new label ----

_LABEL = "stampede/activity/1"
_BEGUN = ("id", "merchant_id", "operator_id", "sale_id", "kind", "idempotency_key", "request_hash", "reason", "at",
          "before")  # fmt: skip
_WHOLE = (*_BEGUN, "after", "response_status", "response_body", "done_at")
_COLUMNS = """id, merchant_id, operator_id, sale_id, kind, idempotency_key, request_hash, reason, at,
              CAST("before" AS text) AS "before", CAST("after" AS text) AS "after", response_status,
              CAST(response_body AS text) AS response_body, done_at"""


def _packed(values: Sequence[Any]) -> bytes:
    parts = []
    for value in values:
        if value is None:
            parts.append(b"-")
            continue
        if isinstance(value, bytes):
            raw = value
        elif isinstance(value, datetime):
            raw = value.astimezone(UTC).isoformat(timespec="microseconds").encode()
        else:
            raw = str(value).encode()
        parts.append(b"%d:%b" % (len(raw), raw))
    return b"".join(parts)


def _seal_key() -> bytes:
    """The key of the heads' seals, from the environment that the platform's processes have."""
    root = os.environ.get("STAMPEDE_SECRET_KEY", "")
    if not root and os.environ.get("STAMPEDE_ENVIRONMENT") == "local":
        root = _LOCAL_SECRET_KEY
    if not root:
        raise SystemExit("set STAMPEDE_SECRET_KEY: revision 0004 seals the activity log that is there with it")
    return hmac.digest(root.encode(), b"stampede/activity-head/1", "sha256")


def _chain_what_is_there(connection: sa.Connection) -> None:
    """One entry for each command, in the order of their times; then a sealed head for each merchant.

    A merchant without commands gets a head as well: from now on one without a head has lost it.
    """
    merchants = connection.execute(sa.text("SELECT id FROM merchants ORDER BY id")).scalars().all()
    if not merchants:
        return
    key = _seal_key()
    for merchant in merchants:
        digest, entries = hashlib.sha256(_packed([_LABEL, merchant])).digest(), 0
        after: tuple[Any, Any] = (None, None)
        while True:
            page = connection.execute(
                sa.text(f"""
                    SELECT {_COLUMNS} FROM commands
                    WHERE merchant_id = :merchant
                      AND (CAST(:at AS timestamptz) IS NULL OR (at, id) > (:at, CAST(:id AS uuid)))
                    ORDER BY at, id LIMIT {_PAGE}
                """),  # noqa: S608 - constants of this file
                {"merchant": merchant, "at": after[0], "id": after[1]},
            ).all()
            made = []
            for row in page:
                entries += 1
                part, names = ("begun", _BEGUN) if row.done_at is None else ("whole", _WHOLE)
                values = [getattr(row, name) for name in names]
                digest = hashlib.sha256(digest + _packed([_LABEL, entries, part, *values])).digest()
                made.append({"merchant": merchant, "seq": entries, "command": row.id, "part": part, "digest": digest})
            if made:
                connection.execute(
                    sa.text("""
                        INSERT INTO activity_entries (merchant_id, seq, command_id, part, digest)
                        VALUES (:merchant, :seq, :command, :part, :digest)
                    """),
                    made,
                )
                after = (page[-1].at, page[-1].id)
            if len(page) < _PAGE:
                break
        seal = hmac.digest(key, _packed([_LABEL, merchant, entries, digest, None]), "sha256")
        connection.execute(
            sa.text("""
                INSERT INTO activity_heads (merchant_id, entries, digest, seal)
                VALUES (:merchant, :entries, :digest, :seal)
            """),
            {"merchant": merchant, "entries": entries, "digest": digest, "seal": seal},
        )


def downgrade() -> None:
    """Channels, words, defaults and the chain are gone with their tables; so are shoppers who have no address."""
    for table in (
        "merchant_defaults", "message_templates", "notification_copies", "notification_channels", "spent_tokens",
        "shopper_identities",
    ):  # fmt: skip
        op.drop_table(table)
    op.execute("DELETE FROM shoppers WHERE contact IS NULL")
    op.alter_column("shoppers", "contact", nullable=False)
    op.drop_table("activity_heads")
    op.drop_table("activity_entries")
    op.execute("UPDATE commands c SET sale_id = NULL WHERE NOT EXISTS (SELECT 1 FROM sales s WHERE s.id = c.sale_id)")
    op.create_foreign_key(op.f("fk_commands_sale_id"), "commands", "sales", ["sale_id"], ["id"])
