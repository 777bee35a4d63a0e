"""One connection to the store on which all callers of an event loop share the way: pipelined, never re-sent.

    call() ─► written at once ─► [pending, in order] ─► reply ─► that caller's future

redis-py's asyncio client takes a connection per call and about 42 µs of CPU for one ``EVALSHA``; here calls that meet
share one connection. What a lost connection or a time-out leaves open stays open: every caller with a call on the way
gets ``GateUnavailable``, and nothing is sent a second time.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import hiredis

from backend.core.breaker import Breaker
from backend.core.log import get_logger
from backend.core.store_address import HostPort, StoreAddress

log = get_logger()

PENDING_MAX = 10_000
"""Calls on the way at once; each may carry a batch. Above it a caller is refused instead of queued."""
QUIET_MAX_S = 0.5
"""Well below the shortest time in which another primary can be elected."""
_HERE: HostPort = ("", 0)
# The server it names is no longer, or not yet, the one that takes writes: whoever comes next connects anew.
_ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "UNBLOCKED")


class GateUnavailable(Exception):
    """The store cannot be reached, or refused. The call may or may not have been carried out.

    Every script is idempotent by its cause, so whoever catches this may try again with the same ids.
    """


class UnknownScript(Exception):
    """``NOSCRIPT``: the server has not got the script's text. Nothing was carried out."""


class Moved(GateUnavailable):
    """``MOVED``: another node of the cluster serves this slot for good. Nothing was carried out."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.address = redirected_to(text)


class Asked(Moved):
    """``ASK``: the slot is on its way to another node, which has this key already. Nothing was carried out."""


def redirected_to(text: str) -> HostPort:
    """The address in ``MOVED 3999 host:port``; the host is empty when it is the one that was asked."""
    host, _, port = text.split(" ")[2].rpartition(":")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server, and how to sign in to it."""

    host: str
    port: int
    name: str
    """Of this client, as ``CLIENT LIST`` shows it."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int | None = None
    """None where there is only one: a sentinel, a node of a cluster."""
    tls: Mapping[str, str] | None = None

    @classmethod
    def of(cls, address: StoreAddress, host_port: HostPort, *, name: str, database: int | None = None) -> Self:
        """A server of the store, by the store's own credentials."""
        host, port = host_port
        return cls(host, port, name, address.username, address.password, database, address.tls)

    async def dial(self, timeout_s: float, *, within_s: float | None = None) -> "Connection":
        """A connection that is signed in, ``within_s``; ``timeout_s`` is how long its calls may take later.

        Raises OSError, TimeoutError, ``GateUnavailable``.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(within_s or timeout_s):
            tls = _tls(self.tls) if self.tls is not None else None
            _, connection = await loop.create_connection(lambda: Connection(timeout_s), self.host, self.port, ssl=tls)
            try:
                await asyncio.gather(*(connection.call(command) for command in self._greeting()))
            except BaseException:
                connection.drop("the sign-in failed")
                raise
        return connection

    def _greeting(self) -> list[tuple[str | int, ...]]:
        greeting: list[tuple[str | int, ...]] = []
        if self.password:
            greeting.append(("AUTH", self.username, self.password) if self.username else ("AUTH", self.password))
        greeting.append(("CLIENT", "SETNAME", f"stampede-{self.name}"))
        if self.database is not None:
            greeting.append(("SELECT", self.database))
        return greeting


Dial = Callable[[], Awaitable["Connection"]]
"""Makes a connection to the server that is the right one now."""


class Wire:
    """Calls to one server. Connects when first used, and again by the first call after a loss."""

    def __init__(
        self, where: str | Endpoint | Dial, *, timeout_s: float, name: str = "", breaker: Breaker | None = None
    ) -> None:
        """``where`` is a ``redis://`` address, a server, or what finds one anew for each connection.

        A server that accepts connections and says nothing costs whoever dials it the whole time-out: ``breaker``
        lets one caller a time do so. A connection that is up needs none, for a call that is not answered ends it.
        """
        if isinstance(where, str):
            address = StoreAddress.parse(where)
            where = Endpoint.of(address, address.hosts[0], name=name, database=address.database)
        self._where = where
        self._timeout_s = timeout_s
        self._breaker = breaker
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None

    async def call(self, *command: bytes | str | float) -> Any:
        """The reply to one command, texts as ``str``.

        Raises ``UnknownScript``; ``GateUnavailable`` for everything else that went wrong, an error reply included.
        """
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self._connect()
        return await connection.call(command)

    async def together(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to commands sent one directly after another over one connection; errors in their places.

        Raises ``GateUnavailable`` when there is no connection to be had; nothing was sent then.
        """
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self._connect()
        return await asyncio.gather(*connection.call_all(commands), return_exceptions=True)

    async def everywhere(self, *command: Any) -> list[Any]:
        """The reply of every primary: there is one."""
        return [await self.call(*command)]

    async def place(self, key: str) -> HostPort:  # noqa: ARG002 wherever there is but one
        """Which server has a key."""
        return _HERE

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything from it."""
        return self._connecting is None and (self._connection is None or not self._connection.waited_for)

    async def close(self) -> None:
        """Close the connection; calls on the way end as ``GateUnavailable``."""
        self.forget()

    def forget(self) -> None:
        """The same, at once."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._connection is not None:
            self._connection.drop("the client was closed")
            self._connection = None

    async def _connect(self) -> "Connection":
        # Whoever comes meanwhile waits for the same attempt: a store that is down is knocked at once at a time.
        connecting = self._connecting
        if connecting is None:
            connecting = self._connecting = asyncio.create_task(self._open())
            connecting.add_done_callback(self._connected)
        try:
            return await asyncio.shield(connecting)
        except (OSError, TimeoutError) as error:
            raise GateUnavailable(f"{type(error).__name__}: {str(error)[:200]}") from error
        except asyncio.CancelledError:
            if not connecting.cancelled():
                raise  # the caller was
            raise GateUnavailable("the client was closed") from None

    def _connected(self, task: asyncio.Task["Connection"]) -> None:
        closed = task is not self._connecting
        if not closed:
            self._connecting = None
        if task.cancelled() or task.exception() is not None:
            return
        if closed:
            task.result().drop("the client was closed")
        else:
            self._connection = task.result()

    async def _open(self) -> "Connection":
        if self._breaker is None:
            return await self._dial()
        with self._breaker.guard(lambda _: True):
            return await self._dial()

    async def _dial(self) -> "Connection":
        if isinstance(self._where, Endpoint):
            return await self._where.dial(self._timeout_s)
        async with asyncio.timeout(self._timeout_s):
            return await self._where()


def _tls(address: Mapping[str, str]) -> ssl.SSLContext:
    """The TLS context that a ``rediss://`` address asks for, by redis-py's names: ``?ssl_ca_certs=/ca.pem``."""
    context = ssl.create_default_context(cafile=address.get("ssl_ca_certs"))
    if address.get("ssl_certfile"):
        context.load_cert_chain(address["ssl_certfile"], address.get("ssl_keyfile"))
    if address.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif address.get("ssl_check_hostname") in ("false", "False", "0"):
        context.check_hostname = False
    return context


class PrimaryWire(Wire):
    """Calls to a server that another may have replaced: one that was frozen and wakes does not know it yet.

    It carries out what reaches it in the first turn of its loop before it notices that its replica has gone, and
    only then refuses writes (seen: one call got through). So a connection that has been quiet is asked for a sign of
    life first; the answer ends that turn. What was under way when the server froze has timed out before another can
    be elected, as long as the time-out is shorter than ``down-after-milliseconds`` or ``cluster-node-timeout``.
    """

    async def call(self, *command: bytes | str | float) -> Any:
        """As ``Wire.call``."""
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self._connect()
        elif time.monotonic() - connection.heard_at_s > QUIET_MAX_S:
            await connection.call(("PING",))
        return await connection.call(command)


class Connection(asyncio.Protocol):
    """One connection: what was sent is answered in order, or lost together."""

    def __init__(self, timeout_s: float) -> None:
        self.lost = False
        self.heard_at_s = time.monotonic()
        """When the server last said something."""
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")
        self._pending: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def call(self, command: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Send at once; the reply to come. uvloop joins the writes of one turn into one system call."""
        if self.lost or len(self._pending) >= PENDING_MAX:
            return self._refused()
        future: asyncio.Future[Any] = self._loop.create_future()
        data = hiredis.pack_command(command)  # first: it may raise, and nobody may wait for what was not sent
        self._pending.append((time.monotonic() + self._timeout_s, future))
        self._transport.write(data)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look_at_the_clock)
        return future

    def _refused(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        future.set_exception(GateUnavailable("the connection is lost" if self.lost else "too many calls wait"))
        return future

    def call_all(self, commands: Sequence[tuple[Any, ...]]) -> list[asyncio.Future[Any]]:
        """Send all, with nothing between them, or none; the replies to come."""
        if self.lost or len(self._pending) + len(commands) > PENDING_MAX:
            return [self._refused() for _ in commands]
        for command in commands:
            hiredis.pack_command(command)  # raises here, before the first is sent
        return [self.call(command) for command in commands]

    @property
    def waited_for(self) -> bool:
        """Whether a reply is still to come."""
        return bool(self._pending)

    def drop(self, reason: str) -> None:
        """End the connection and everybody's wait."""
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.abort()
        while self._pending:
            _, future = self._pending.popleft()
            if not future.done():
                future.set_exception(GateUnavailable(reason))

    def _lose(self, reason: str) -> None:
        """The same for a reason that somebody should read about."""
        if not self.lost:
            log.warning("gate.connection_lost", reason=reason)
        self.drop(reason)

    def _look_at_the_clock(self) -> None:
        """One timer for all: it looks at the oldest call, which is the first to run out."""
        self._timer = None
        if not self._pending:
            return
        left_s = self._pending[0][0] - time.monotonic()
        if left_s <= 0:
            # Later replies could not be told from the one that is missing.
            self._lose(f"no answer within {self._timeout_s} s")
        else:
            self._timer = self._loop.call_later(left_s, self._look_at_the_clock)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._lose(f"the connection was lost: {type(error).__name__ if error else 'closed by the server'}")

    def data_received(self, data: bytes) -> None:
        self.heard_at_s = time.monotonic()
        self._reader.feed(data)
        try:
            while self._pending and (reply := self._reader.gets()) is not False:
                _, future = self._pending.popleft()
                if not future.done():  # its caller may have gone
                    self._answer(future, reply)
            if not self._pending and self._reader.has_data():
                self._lose("an answer that nobody asked for")  # or the next caller would take it for its own
        except hiredis.ProtocolError as error:
            self._lose(f"not the protocol of Redis: {str(error)[:100]}")

    def _answer(self, future: asyncio.Future[Any], reply: Any) -> None:
        if not isinstance(reply, hiredis.ReplyError):
            future.set_result(reply)
            return
        text = str(reply)[:200]
        if text.startswith("NOSCRIPT"):
            future.set_exception(UnknownScript())
            return
        if text.startswith(("MOVED ", "ASK ")):
            future.set_exception((Moved if text.startswith("MOVED") else Asked)(text))
            return
        future.set_exception(GateUnavailable(text))
        if text.startswith(_ELSEWHERE):
            self._lose(text)
