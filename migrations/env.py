"""Alembic's environment: asynchronous, as the owner of the schema, one migrator at a time."""

import asyncio
import os
import re

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from backend.models import metadata

# Any constant will do: two migrators that start together must queue up, not collide.
ADVISORY_LOCK = 0x57A4_9EDE


def _urls() -> tuple[str, str | None]:
    """The owner's URL, and the name of the application's role when it is another."""
    owner = os.environ.get("STAMPEDE_OWNER_DATABASE_URL")
    application = os.environ.get("STAMPEDE_DATABASE_URL")
    if not owner and not application:
        raise SystemExit("set STAMPEDE_OWNER_DATABASE_URL to the address of the database to migrate")
    role = make_url(application).username if application else None
    url = re.sub(
        r"^postgres(ql)?(\+asyncpg)?://",
        "postgresql+asyncpg://",
        owner or application or "",
    )
    return url, role if owner and role != make_url(url).username else None


def _grant(connection: Connection, role: str) -> None:
    """Give the application what it needs: everything on rows, nothing on the schema, only INSERT on the ledger
    and on the activity log's chain."""
    quoted = connection.dialect.identifier_preparer.quote(role)
    for statement in (
        f"GRANT USAGE ON SCHEMA public TO {quoted}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {quoted}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {quoted}",
        f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {quoted}",
    ):
        connection.execute(text(statement))
    if connection.execute(text("SELECT to_regclass('public.ledger_entries')")).scalar() is not None:
        connection.execute(text(f"REVOKE UPDATE, DELETE, TRUNCATE ON ledger_entries FROM {quoted}"))
    if connection.execute(text("SELECT to_regclass('public.activity_entries')")).scalar() is not None:
        connection.execute(text(f"REVOKE UPDATE, DELETE, TRUNCATE ON activity_entries FROM {quoted}"))
        connection.execute(text(f"REVOKE DELETE, TRUNCATE ON activity_heads, commands FROM {quoted}"))


def _run(connection: Connection, role: str | None) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    # A migration that waits for a lock blocks everyone behind it: better that it fails and is tried again.
    connection.execute(text("SET LOCAL lock_timeout = '10s'"))
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    context.run_migrations()
    if role is not None:
        _grant(connection, role)


async def _main() -> None:
    url, role = _urls()
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 10})
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_run, role)
    finally:
        await engine.dispose()


asyncio.run(_main())
