"""The gate store: Valkey or Redis with an append-only file, on loopback, behind passwords.

The application's user cannot flush, reconfigure or stop the server, nor list all keys: a fault in the
product must not be able to empty the gate. Supervisor and tests have another user for that.
"""

import asyncio
import hashlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from stack.binaries import find_gate_server
from stack.files import SecretBook, make_private_dir, write_private
from stack.process import Process
from stack.servers.base import LOOPBACK, Server

ADMIN_USER = "stampede_admin"
APP_USER = "stampede"
BROKER_USER = "stampede_broker"
# The first database is the gate's, the second the broker's.
GATE_DATABASE = 0
BROKER_DATABASE = 1
# All but administration and what blocks or empties the whole server (`@dangerous` holds KEYS, FLUSHALL,
# FLUSHDB, SWAPDB, CONFIG, DEBUG, SHUTDOWN …), with INFO back: readiness and the audit read it.
APP_RULES = "~* &* +@all -@admin -@dangerous -script|flush -script|kill -function +info"

# What a replicated store asks of its clients more: whose part a server plays, and its `min-replicas-*`, which INFO does
# not tell in full. `CONFIG GET` shows the replicas' password too, of a user that may do nothing but follow.
REPLICATED_RULES = f"{APP_RULES} +role +config|get"
REPLICA_USER = "stampede_replica"

# Dramatiq's own scripts list the acknowledgements of dead workers with KEYS, so its user may, and sees no other keys.
BROKER_RULES = "~dramatiq* &* +@all -@admin -@dangerous -script|flush -script|kill -function +info +keys"

# The default user cannot sign in, but keeps its rights: the server replays its append-only file as that user, and
# EXEC checks them. With a bare `user default off` every script's writes are refused at the next start, with a line in
# the log and an empty store.
_CONFIG = """\
bind {host}
port {port}
protected-mode yes
daemonize no
supervised no
dir "{folder}"
logfile ""
loglevel notice
databases 2
tcp-backlog 1024
tcp-keepalive 60
save ""
appendonly yes
appendfsync everysec
aof-load-truncated yes
maxmemory {maxmemory}
maxmemory-policy noeviction
user default off resetpass ~* &* +@all
user {admin} on #{admin_hash} ~* &* +@all
user {app} on #{app_hash} {rules}
user {broker} on #{app_hash} {broker_rules}
"""


def gate_config(
    *,
    host: str,
    port: int,
    folder: str,
    maxmemory: str,
    admin_password: str,
    app_password: str,
    rules: str = APP_RULES,
    further: Sequence[str] = (),
) -> str:
    """The server's configuration. Passwords stand in it as SHA-256: of 256 random bits that tells nobody anything.

    ``rules`` are the application's rights, ``further`` more lines, for a member of a replicated store.
    """
    text = _CONFIG.format(
        host=host,
        port=port,
        folder=folder,
        maxmemory=maxmemory,
        admin=ADMIN_USER,
        admin_hash=hashlib.sha256(admin_password.encode()).hexdigest(),
        app=APP_USER,
        app_hash=hashlib.sha256(app_password.encode()).hexdigest(),
        rules=rules,
        broker=BROKER_USER,
        broker_rules=BROKER_RULES,
    )
    return text + "".join(f"{line}\n" for line in further)


def replication_config(password: str, *, min_replicas_max_lag_s: int) -> list[str]:
    """What every member of a replicated store needs, whatever part it plays.

    A primary without a replica that answered within the lag refuses writes: one that was cut off, or wakes after
    another was elected, sells nothing. No delay before a copy: it is for many replicas that come at once.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    return [
        f"user {REPLICA_USER} on #{digest} resetkeys resetchannels -@all +psync +replconf +ping",
        f"masteruser {REPLICA_USER}",
        f"masterauth {password}",
        f"min-replicas-to-write {1 if min_replicas_max_lag_s else 0}",
        f"min-replicas-max-lag {min_replicas_max_lag_s}",
        "repl-diskless-sync yes",
        "repl-diskless-sync-delay 0",
        "shutdown-timeout 0",
        # A replica that is still writing its first file would not end otherwise.
        "shutdown-on-sigterm force",
    ]


class GateServer(Server):
    """One standalone gate store."""

    role = "gate"
    stop_grace_s = 3.5  # as PostgreSQL's, beside which it stops
    rules = APP_RULES

    def __init__(
        self,
        data_dir: Path,
        *,
        name: str = "gate",
        port: int | None = None,
        maxmemory: str = "1gb",
        passwords: str | None = None,
    ) -> None:
        """Keep its data in ``data_dir/<name>``; members of one store share the ``passwords`` of that name."""
        super().__init__(name, data_dir, port=port)
        self._folder = self.data_dir / name
        self._maxmemory = maxmemory
        secrets = SecretBook(self.data_dir)
        self._admin_password = secrets.get(f"{passwords or name}_admin_password")
        self._app_password = secrets.get(f"{passwords or name}_app_password")

    @property
    def url(self) -> str:
        """The gate's database, as the application's user."""
        return self._url(APP_USER, self._app_password, GATE_DATABASE)

    app_url = url

    @property
    def broker_url(self) -> str:
        """The broker's database, as the broker's user."""
        return self._url(BROKER_USER, self._app_password, BROKER_DATABASE)

    @property
    def admin_url(self) -> str:
        """The gate's database, with every right."""
        return self._url(ADMIN_USER, self._admin_password, GATE_DATABASE)

    def _url(self, user: str, password: str, database: int) -> str:
        return f"redis://{user}:{password}@{LOOPBACK}:{self.port}/{database}"

    def further_config(self) -> Sequence[str]:
        """Lines that a member of a replicated store adds."""
        return ()

    async def prepare(self) -> None:
        """Write the configuration; passwords stand in it as hashes alone."""
        make_private_dir(self._folder)
        config = gate_config(
            host=LOOPBACK,
            port=self.port,
            folder=_quoted(self._folder),
            maxmemory=self._maxmemory,
            admin_password=self._admin_password,
            app_password=self._app_password,
            rules=self.rules,
            further=self.further_config(),
        )
        write_private(self._folder / "gate.conf", config)

    def process(self) -> Process:
        """The server on its configuration; it has no children to think of."""
        return Process(
            [str(find_gate_server()), str(self._folder / "gate.conf")],
            log_path=self.log_path,
            cwd=self._folder,
            stop_signal=signal.SIGTERM,
        )

    async def probe(self) -> bool:
        """Answers PING and has loaded its file (``LOADING`` is an error until then)."""
        try:
            async with self.admin() as client:
                return bool(await client.ping())
        except redis.RedisError:
            return False

    def freeze(self) -> None:
        """Stop it in its tracks, its connections open: a machine that hangs. ``thaw`` lets it go on."""
        self._signal(signal.SIGSTOP)
        if self.pid is not None:  # the signal takes its time on a busy machine
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let a frozen server go on where it was."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send(number)

    async def flush(self) -> None:
        """Empty all databases, scripts included."""
        async with self.admin() as client:
            await client.flushall()
            await client.script_flush()

    def admin(self) -> redis.Redis:
        """A client with every right on this very server; the caller closes it."""
        return redis.Redis.from_url(self.admin_url, retry=Retry(NoBackoff(), 0), socket_timeout=5)


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


async def start_all(servers: Sequence[Server]) -> None:
    """Start servers side by side. The first fault is raised when none is still starting: the caller can stop them."""
    results = await asyncio.gather(*(one.start() for one in servers), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def ask(client: Any, *command: str | int) -> Any:
    """The reply to a command that redis-py has no method for."""
    return await client.execute_command(*command)


async def plays(member: GateServer, part: str) -> bool:
    """Whether a member says of itself that it is ``master`` or ``slave``; False when it does not answer."""
    if not member.running:
        return False
    try:
        async with asyncio.timeout(1), member.admin() as client:
            said = (await ask(client, "ROLE"))[0]
    except (redis.RedisError, OSError, TimeoutError):
        return False
    return bool(said.decode() == part)


async def replicas_in_step(member: GateServer) -> int:
    """How many replicas a primary has that follow its stream."""
    async with member.admin() as client:
        facts = await client.info("replication")
    replicas = [value for name, value in facts.items() if name.startswith("slave") and isinstance(value, dict)]
    return sum(1 for replica in replicas if replica.get("state") == "online")
