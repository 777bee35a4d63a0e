"""deploy/postgres/roles.sql through the real psql, as the image's entry point runs it."""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from stack.binaries import find_postgres
from stack.servers import PostgresServer
from stack.servers.postgres import APP_ROLE, DATABASE, OWNER_ROLE
from tests.deploy.project import ROOT, load, mounts, services

_ROLES = ROOT / "deploy" / "postgres" / "roles.sql"
# Not the server's own: it has those roles already, for the tests.
_PREFIX = "deployed"


@pytest.fixture
def psql() -> str:
    found = shutil.which("psql") or str(find_postgres().folder / "psql")
    if not Path(found).is_file():
        pytest.skip("this machine's PostgreSQL came without psql")
    return found


async def test_roles_and_database_are_made(postgres_server: PostgresServer, psql: str, tmp_path: Path) -> None:
    for role in ("owner", "app"):
        # A line end, as an editor leaves it, must not become part of the password.
        (tmp_path / f"postgres_{role}_password").write_text(f"{role}0123456789abcdef\n")
    script = tmp_path / "roles.sql"
    text = _ROLES.read_text().replace("/run/secrets", str(tmp_path))
    script.write_text(text.replace("stampede", _PREFIX))
    address = urlsplit(postgres_server.admin_url)
    where = {"host": address.hostname, "port": address.port}
    admin = await asyncpg.connect(user=address.username, password=address.password, database="postgres", **where)
    try:
        ended = subprocess.run(
            [psql, "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "--no-password", "-f", str(script)],
            env={
                "PGHOST": where["host"],
                "PGPORT": str(where["port"]),
                "PGUSER": address.username,
                "PGPASSWORD": address.password,
                "PGDATABASE": "postgres",
                "PATH": "/usr/bin:/bin",
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        for role in ("owner", "app"):
            own = await asyncpg.connect(
                user=f"{_PREFIX}_{role}", password=f"{role}0123456789abcdef", database=_PREFIX, **where
            )
            may_create = await own.fetchval("SELECT has_schema_privilege(current_user, 'public', 'CREATE')")
            await own.close()
            assert may_create is (role == "owner")
        rights = await admin.fetch(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname LIKE $1",
            f"{_PREFIX}%",
        )
        assert [any(row.values()) for row in rights] == [False, False]
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {_PREFIX}")
        await admin.execute(f"DROP ROLE IF EXISTS {_PREFIX}_owner, {_PREFIX}_app")
        await admin.close()


def test_the_names_are_those_of_the_local_stack() -> None:
    text = _ROLES.read_text()
    assert f"CREATE ROLE {OWNER_ROLE} LOGIN NOSUPERUSER NOCREATEROLE" in text
    assert f"CREATE ROLE {APP_ROLE} LOGIN NOSUPERUSER NOCREATEROLE" in text
    assert f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}" in text


def test_the_cluster_is_made_as_the_local_stack_makes_it() -> None:
    """Collation by code point, UTF-8 and SCRAM: an argument that the local stack does not give is an oversight."""
    arguments = services(load())["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split()
    source = (ROOT / "stack" / "servers" / "postgres.py").read_text()
    for argument in arguments:
        option, _, value = argument.partition("=")
        assert argument in source or (f'"{option}", "{value}"' in source), argument
    # From 18 on the data's folder is below the volume, so that an upgrade finds old and new side by side.
    assert ("ledger", "/var/lib/postgresql") in mounts(services(load())["postgres"])
