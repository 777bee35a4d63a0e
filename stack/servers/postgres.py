"""The ledger's PostgreSQL: made at first start, on loopback, with three roles.

``stampede_admin`` owns the server (supervisor and tests), ``stampede_owner`` owns the database and runs
migrations, ``stampede_app`` is what the product runs as: it owns nothing, so the append-only ledger is
append-only for it. All three sign in by SCRAM with generated passwords; there is no unix socket (its path
has room for 107 bytes, a data folder may be longer).
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from stack.binaries import find_postgres
from stack.errors import StackError, StartError
from stack.files import SecretBook, write_private
from stack.process import Process, run_to_end
from stack.servers.base import LOOPBACK, Server
from stack.servers.privileges import Unprivileged, find_unprivileged

ADMIN_ROLE = "stampede_admin"
OWNER_ROLE = "stampede_owner"
APP_ROLE = "stampede_app"
DATABASE = "stampede"

_INITDB_TIMEOUT_S = 60
_CONNECT_TIMEOUT_S = 5
# PostgreSQL 17 brought collation by code point that no operating system's update can change.
_BUILTIN_LOCALE_SINCE = 17

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    # Each API process and worker keeps a pool; 200 leaves room for 8 of them, the console and an operator.
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Our queries are short and many: compiling one costs more than running it.
    "jit": "off",
    # A transaction that waits for its client holds locks of the hot row: end it.
    "idle_in_transaction_session_timeout": "60s",
    # A statement whose client is gone (killed worker) gives its locks back within this.
    "client_connection_check_interval": "2s",
    "tcp_keepalives_idle": "60",
    "log_lock_waits": "on",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


class PostgresServer(Server):
    """One PostgreSQL server on ``data_dir/<name>``."""

    role = "postgres"
    # With the 5 s of the services before it, below the 10 s in which the stack promises to be down.
    stop_grace_s = 3.5

    def __init__(
        self,
        data_dir: Path,
        *,
        name: str = "postgres",
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``settings`` are added to, or replace, the server settings above."""
        super().__init__(name, data_dir, port=port)
        self._cluster = self.data_dir / name
        self._settings = {**_SETTINGS, **(settings or {})}
        secrets = SecretBook(self.data_dir)
        self._passwords = {role: secrets.get(role) for role in (ADMIN_ROLE, OWNER_ROLE, APP_ROLE)}

    @property
    def url(self) -> str:
        """The stack's database as its owner: for migrations."""
        return self.url_for(DATABASE, OWNER_ROLE)

    owner_url = url

    @property
    def app_url(self) -> str:
        """The stack's database as the product's role."""
        return self.url_for(DATABASE, APP_ROLE)

    @property
    def admin_url(self) -> str:
        """The maintenance database as superuser."""
        return self.url_for("postgres", ADMIN_ROLE)

    def url_for(self, database: str, role: str = APP_ROLE) -> str:
        """A SQLAlchemy URL of any database on this server."""
        password = self._passwords[role]
        return f"postgresql+asyncpg://{role}:{password}@{LOOPBACK}:{self.port}/{database}"

    async def prepare(self) -> None:
        """Make the cluster at the first start; hand it to the right user; clear a stale lock file."""
        unprivileged = await asyncio.to_thread(find_unprivileged)
        if not (self._cluster / "PG_VERSION").exists():
            await self._initdb(unprivileged)
        unprivileged.take_over(self._cluster)
        self._check_version()
        self._remove_stale_lock()

    def process(self) -> Process:
        """The postmaster. SIGINT is its fast shutdown; SIGQUIT, when orphaned, ends its children at once."""
        options = {**self._settings, "port": str(self.port)}
        arguments = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return Process(
            [str(find_postgres().postgres), "-D", str(self._cluster), *arguments],
            log_path=self.log_path,
            env=_environment(),
            cwd=self.data_dir,
            wrapper=find_unprivileged().wrapper,
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGQUIT,
        )

    async def probe(self) -> bool:
        """Accepts the superuser's connection, which it does not before recovery has ended."""
        try:
            connection = await self.connect("postgres", ADMIN_ROLE)
        except asyncpg.PostgresError:
            return False
        await connection.close()
        return True

    async def start(self) -> None:
        """Start, and see that roles and database exist."""
        await super().start()
        await self._bootstrap()

    async def connect(self, database: str = DATABASE, role: str = ADMIN_ROLE) -> asyncpg.Connection:
        """A plain connection, for maintenance."""
        return await asyncpg.connect(
            host=LOOPBACK,
            port=self.port,
            user=role,
            password=self._passwords[role],
            database=database,
            timeout=_CONNECT_TIMEOUT_S,
        )

    async def create_database(self, name: str, *, template: str | None = None) -> None:
        """Make a database of the owner's; a copy of ``template`` (which nobody may be using) if given."""
        connection = await self.connect("postgres")
        try:
            copy = f' TEMPLATE "{template}"' if template else ""
            await connection.execute(f'CREATE DATABASE "{name}" OWNER {OWNER_ROLE}{copy}')
        finally:
            await connection.close()

    async def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        connection = await self.connect("postgres")
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await connection.close()

    async def _bootstrap(self) -> None:
        connection = await self.connect("postgres")
        try:
            for role in (OWNER_ROLE, APP_ROLE):
                exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
                # CREATE ROLE takes no parameters; the password is hexadecimal by construction.
                verb = "ALTER" if exists else "CREATE"
                await connection.execute(
                    f"{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEROLE PASSWORD '{self._passwords[role]}'"
                )
            found = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE)
        finally:
            await connection.close()
        if not found:
            await self.create_database(DATABASE)

    async def _initdb(self, unprivileged: Unprivileged) -> None:
        """Make the cluster aside and move it in place: a start that is cut here leaves no half of one."""
        scratch = self._cluster.with_name(f"{self._cluster.name}.new")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        unprivileged.take_over(scratch)
        password_file = self.data_dir / f"{self.name}.initdb-password"
        write_private(password_file, self._passwords[ADMIN_ROLE])
        unprivileged.take_over(password_file)
        binaries = find_postgres()
        command = [str(binaries.initdb), "-D", str(scratch), "--username", ADMIN_ROLE]
        command += ["--pwfile", str(password_file), "--auth", "scram-sha-256", "--encoding", "UTF8"]
        if binaries.major >= _BUILTIN_LOCALE_SINCE:
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        else:
            command += ["--locale=C"]  # the same order, by code point
        process = Process(
            [*command, "--no-instructions"],
            log_path=self.log_path,
            env=_environment(),
            cwd=self.data_dir,
            wrapper=unprivileged.wrapper,
        )
        try:
            await run_to_end(process, timeout_s=_INITDB_TIMEOUT_S, what="initdb")
        finally:
            password_file.unlink()
        scratch.rename(self._cluster)

    def _check_version(self) -> None:
        made_by = int((self._cluster / "PG_VERSION").read_text())
        found = find_postgres().major
        if made_by != found:
            msg = (
                f"{self._cluster} was made by PostgreSQL {made_by}, but {found} was found: "
                f"set STAMPEDE_POSTGRES_BIN to a PostgreSQL {made_by}, or use another --data-dir"
            )
            raise StackError(msg)

    def _remove_stale_lock(self) -> None:
        """Remove ``postmaster.pid`` when its process id now belongs to something else.

        PostgreSQL ignores the file of a dead process by itself, but not one whose number was reused; after
        ``kill -9`` in a container, where numbers begin again at each start, that is common. A live
        postmaster is never touched: two servers on one cluster destroy it.
        """
        lock = self._cluster / "postmaster.pid"
        try:
            pid = int(lock.read_text().split("\n", 1)[0])
            running = Path(f"/proc/{pid}/exe").readlink().name
        except (OSError, ValueError):
            return
        if running.startswith("postgres"):
            msg = f"process {pid} already serves {self._cluster}; stop it first"
            if (Path(f"/proc/{pid}/cwd")).resolve() == self._cluster.resolve():
                raise StartError(msg)
        lock.unlink()


def _environment() -> dict[str, str]:
    """The surroundings of PostgreSQL's programs, without the settings of a client (``PGHOST``, ``PGUSER`` …)."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {"LC_ALL": "C"}
