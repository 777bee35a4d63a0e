"""A gate store that survives its primary: a primary, replicas, and three Redis Sentinels that elect the next one.

Every member keeps an append-only file, and a primary without a replica refuses writes (``min-replicas-to-write 1``).
With one replica an elected primary therefore takes no writes until the old one is back as a replica: the price of
having each unit on two machines. With two it goes on at once.
"""

import asyncio
import hashlib
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from stack.binaries import find_gate_server
from stack.errors import StartError
from stack.files import SecretBook, make_private_dir, write_private
from stack.process import Process
from stack.servers.base import LOOPBACK, Server
from stack.servers.gate import (
    APP_USER,
    REPLICATED_RULES,
    GateServer,
    ask,
    plays,
    replicas_in_step,
    replication_config,
    start_all,
)

SENTINEL_USER = "stampede_sentinel"
SERVICE = "stampede"
MIN_REPLICAS_MAX_LAG_S = 5
# What Redis's documentation lists for the user by which the sentinels steer the stores.
_SENTINEL_RULES = (
    "resetkeys allchannels -@all +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish +info "
    "+client|setname +client|kill +script|kill"
)
# What a client of the sentinels needs, and nothing by which it could steer them.
_ASKING_RULES = "-@all +auth +hello +ping +client|setname +sentinel|get-master-addr-by-name"
_LOOK_EVERY_S = 0.05
_WAIT_LIMIT_S = 60.0
_QUORUM = 2

_SENTINEL_CONFIG = """\
bind {host}
port {port}
protected-mode yes
daemonize no
dir "{folder}"
logfile ""
user default off resetpass
user {app} on #{app_hash} {asking_rules}
user {sentinel} on #{sentinel_hash} allchannels +@all
sentinel sentinel-user {sentinel}
sentinel sentinel-pass {sentinel_password}
sentinel monitor {service} {primary_host} {primary_port} {quorum}
sentinel auth-user {service} {sentinel}
sentinel auth-pass {service} {sentinel_password}
sentinel down-after-milliseconds {service} {down_after_ms}
sentinel failover-timeout {service} {failover_timeout_ms}
sentinel parallel-syncs {service} 1
"""


def steering_config(sentinel_password: str) -> str:
    """The line by which a store lets the sentinels steer it."""
    digest = hashlib.sha256(sentinel_password.encode()).hexdigest()
    return f"user {SENTINEL_USER} on #{digest} {_SENTINEL_RULES}"


def sentinel_config(
    *,
    host: str,
    port: int,
    folder: str,
    primary: tuple[str, int],
    down_after_ms: int,
    app_password: str,
    sentinel_password: str,
) -> str:
    """A sentinel's first configuration. It holds ``sentinel_password``: sentinels sign in with it at the stores."""
    return _SENTINEL_CONFIG.format(
        host=host,
        port=port,
        folder=folder,
        app=APP_USER,
        app_hash=hashlib.sha256(app_password.encode()).hexdigest(),
        asking_rules=_ASKING_RULES,
        sentinel=SENTINEL_USER,
        sentinel_hash=hashlib.sha256(sentinel_password.encode()).hexdigest(),
        sentinel_password=sentinel_password,
        service=SERVICE,
        primary_host=primary[0],
        primary_port=primary[1],
        quorum=_QUORUM,
        down_after_ms=down_after_ms,
        failover_timeout_ms=10 * down_after_ms,
    )


class SentinelMember(GateServer):
    """One store: the primary, or following the one on ``primary_port``."""

    rules = REPLICATED_RULES

    def __init__(self, data_dir: Path, number: int, *, min_replicas_max_lag_s: int) -> None:
        """Share the passwords of the whole store."""
        super().__init__(data_dir, name=f"gate-{number}", passwords="gate")
        secrets = SecretBook(self.data_dir)
        self._replica_password = secrets.get("gate_replica_password")
        self._sentinel_password = secrets.get("gate_sentinel_password")
        self._min_replicas_max_lag_s = min_replicas_max_lag_s
        self.primary_port: int | None = None

    def further_config(self) -> Sequence[str]:
        """Follow the primary, and let the sentinels steer."""
        lines = replication_config(self._replica_password, min_replicas_max_lag_s=self._min_replicas_max_lag_s)
        lines.append(steering_config(self._sentinel_password))
        if self.primary_port is not None and self.primary_port != self.port:
            lines.append(f"replicaof {LOOPBACK} {self.primary_port}")
        return lines


class SentinelServer(Server):
    """One sentinel. It keeps what it has learned in its configuration, so that is written once."""

    role = "sentinel"
    stop_grace_s = 3.5

    def __init__(self, data_dir: Path, number: int, *, primary_port: int, down_after_ms: int) -> None:
        """Watch the primary on that port."""
        super().__init__(f"sentinel-{number}", data_dir)
        self._folder = self.data_dir / self.name
        self._primary_port = primary_port
        self._down_after_ms = down_after_ms
        secrets = SecretBook(self.data_dir)
        self._app_password = secrets.get("gate_app_password")
        self._sentinel_password = secrets.get("gate_sentinel_password")

    @property
    def _path(self) -> Path:
        return self._folder / "sentinel.conf"

    def remembered_primary_port(self) -> int | None:
        """Where the primary was when it last ran, by the configuration that it has rewritten."""
        try:
            found = re.search(rf"^sentinel monitor {SERVICE} \S+ (\d+) ", self._path.read_text(), re.MULTILINE)
        except FileNotFoundError:
            return None
        return int(found[1]) if found else None

    def begin_anew(self, primary_port: int) -> None:
        """Forget what it has learned but for the primary: the whole store starts, maybe on other ports."""
        self._primary_port = primary_port
        self._path.unlink(missing_ok=True)

    async def prepare(self) -> None:
        """Write the first configuration; the sentinel rewrites it itself."""
        make_private_dir(self._folder)
        path = self._path
        if path.exists():
            return
        text = sentinel_config(
            host=LOOPBACK,
            port=self.port,
            folder=str(self._folder),
            primary=(LOOPBACK, self._primary_port),
            down_after_ms=self._down_after_ms,
            app_password=self._app_password,
            sentinel_password=self._sentinel_password,
        )
        write_private(path, text)

    def process(self) -> Process:
        """The store's own program, as a sentinel."""
        return Process(
            [str(find_gate_server()), str(self._folder / "sentinel.conf"), "--sentinel"],
            log_path=self.log_path,
            cwd=self._folder,
            stop_signal=signal.SIGTERM,
        )

    def client(self) -> redis.Redis:
        """A client with the sentinels' own rights; the caller closes it."""
        return redis.Redis(
            host=LOOPBACK,
            port=self.port,
            username=SENTINEL_USER,
            password=self._sentinel_password,
            decode_responses=True,
            socket_timeout=2,
            retry=Retry(NoBackoff(), 0),
        )

    async def probe(self) -> bool:
        """Answers PING."""
        try:
            async with self.client() as client:
                return bool(await client.ping())
        except redis.RedisError:
            return False

    async def primary_port(self) -> int | None:
        """Where it believes the primary is; None when it does not answer."""
        try:
            async with self.client() as client:
                address = await ask(client, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        except (redis.RedisError, OSError):
            return None
        return int(address[1]) if address else None

    async def knows(self, *, replicas: int, sentinels: int) -> bool:
        """Whether it has found that many replicas and other sentinels: before that it cannot elect."""
        try:
            async with self.client() as client:
                row = await ask(client, "SENTINEL", "MASTER", SERVICE)
        except (redis.RedisError, OSError):
            return False
        facts = row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True))
        return int(facts["num-slaves"]) >= replicas and int(facts["num-other-sentinels"]) >= sentinels


class SentinelGate:
    """The whole store: ``members`` (the first begins as primary) and ``sentinels``, started and stopped together."""

    def __init__(
        self,
        data_dir: Path,
        *,
        replicas: int = 1,
        sentinels: int = 3,
        down_after_ms: int = 1_000,
        min_replicas_max_lag_s: int = MIN_REPLICAS_MAX_LAG_S,
    ) -> None:
        """Describe it. ``min_replicas_max_lag_s`` 0 leaves the guard off: for negative controls alone."""
        self.data_dir = data_dir
        self.members = [
            SentinelMember(data_dir, number, min_replicas_max_lag_s=min_replicas_max_lag_s)
            for number in range(1, replicas + 2)
        ]
        first = self.members[0].port
        self.sentinels = [
            SentinelServer(data_dir, number, primary_port=first, down_after_ms=down_after_ms)
            for number in range(1, sentinels + 1)
        ]
        secrets = SecretBook(data_dir)
        self._app_password = secrets.get("gate_app_password")
        self._admin_password = secrets.get("gate_admin_password")

    @property
    def url(self) -> str:
        """The address for the application: the sentinels, and the name of the service."""
        hosts = ",".join(f"{LOOPBACK}:{one.port}" for one in self.sentinels)
        asking = f"sentinel_username={APP_USER}&sentinel_password={self._app_password}"
        return f"redis+sentinel://{APP_USER}:{self._app_password}@{hosts}/{SERVICE}?{asking}"

    app_url = url

    @property
    def pids(self) -> dict[str, int | None]:
        """Process ids by name; None for one that does not run."""
        return {one.name: one.pid for one in (*self.members, *self.sentinels)}

    async def start(self) -> None:
        """Start everything, and wait until a failover could be survived. StartError with nothing left running."""
        try:
            ports = [member.port for member in self.members]
            remembered = self.sentinels[0].remembered_primary_port() if self.sentinels else None
            first = remembered if remembered in ports else ports[0]
            for member in self.members:
                member.primary_port = first
            for sentinel in self.sentinels:
                sentinel.begin_anew(first)
            await start_all(self.members)
            await self.wait_for_replicas()
            await start_all(self.sentinels)
            await self._wait_until_known()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End everything, the frozen too."""
        for member in self.members:
            member.thaw()
        await asyncio.gather(*(one.stop() for one in self.sentinels))
        await asyncio.gather(*(one.stop() for one in self.members))

    async def flush(self) -> None:
        """Empty the store, scripts included, on every member."""
        await (await self.primary()).flush()
        for member in self.members:
            async with member.admin() as client:
                await client.script_flush()

    async def primary(self) -> SentinelMember:
        """The member that the sentinels name and that says so itself; waits through a failover."""
        deadline = time.monotonic() + _WAIT_LIMIT_S
        while time.monotonic() < deadline:
            ports = [await one.primary_port() for one in self.sentinels if one.running]
            for member in self.members:
                if member.port in ports and await plays(member, "master"):
                    return member
            await asyncio.sleep(_LOOK_EVERY_S)
        raise StartError("the sentinels name no primary that answers")

    async def wait_for_failover(self, old: SentinelMember) -> SentinelMember:
        """The next primary, once every living sentinel names it and it says so itself."""
        deadline = time.monotonic() + _WAIT_LIMIT_S
        while time.monotonic() < deadline:
            ports = {await one.primary_port() for one in self.sentinels if one.running}
            if len(ports) == 1 and old.port not in ports:
                (port,) = ports
                for member in self.members:
                    if member.port == port and await plays(member, "master"):
                        return member
            await asyncio.sleep(_LOOK_EVERY_S)
        raise StartError(f"no primary after {old.name} within {_WAIT_LIMIT_S:.0f} s")

    async def restart(self, member: SentinelMember) -> None:
        """Bring a killed member back on its data, following whoever is primary now."""
        member.primary_port = (await self.primary()).port
        await member.start()

    async def wait_for_replicas(self, count: int | None = None) -> None:
        """Wait until the primary has that many replicas (default: all others) in step."""
        wanted = len(self.members) - 1 if count is None else count
        deadline = time.monotonic() + _WAIT_LIMIT_S
        while time.monotonic() < deadline:
            for member in self.members:
                if await plays(member, "master") and await replicas_in_step(member) >= wanted:
                    return
            await asyncio.sleep(_LOOK_EVERY_S)
        raise StartError(f"the primary does not have {wanted} replicas after {_WAIT_LIMIT_S:.0f} s")

    async def _wait_until_known(self) -> None:
        deadline = time.monotonic() + _WAIT_LIMIT_S
        others, replicas = len(self.sentinels) - 1, len(self.members) - 1
        while time.monotonic() < deadline:
            known = [await one.knows(replicas=replicas, sentinels=others) for one in self.sentinels]
            if all(known):
                return
            await asyncio.sleep(_LOOK_EVERY_S)
        raise StartError(f"the sentinels did not find each other within {_WAIT_LIMIT_S:.0f} s")

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()
