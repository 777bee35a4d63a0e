"""What all tables share: naming of constraints, column types, the metadata."""

from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Enum, MetaData, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

# Named constraints can be dropped by a later migration; unnamed ones cannot be found again.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata: MetaData = SQLModel.metadata

Timestamp = DateTime(timezone=True)
BigInt = BigInteger()
Json = JSONB(none_as_null=True)


def choice(kind: type[StrEnum], name: str) -> Enum:
    """A text column with a CHECK over the enum's values.

    Not a native enum: PostgreSQL cannot drop a value of one, and a second upgrade after a downgrade fails.
    """
    return Enum(
        kind,
        name=name,
        native_enum=False,
        length=32,
        create_constraint=True,
        values_callable=lambda members: [member.value for member in members],
    )


def now_column(**options: Any) -> Any:
    """A time stamp set by the database's clock."""
    return Field(
        default=None, sa_type=Timestamp, nullable=False, sa_column_kwargs={"server_default": func.now()}, **options
    )


def maybe_time() -> Any:
    """A time stamp that may be absent."""
    return Field(default=None, sa_type=Timestamp, nullable=True)


def time_column(**options: Any) -> Any:
    """A time stamp that must be given."""
    return Field(sa_type=Timestamp, nullable=False, **options)
