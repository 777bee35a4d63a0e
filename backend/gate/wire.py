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
from typing import Any

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

from backend.core.log import get_logger

log = get_logger()

PENDING_MAX = 10_000
"""Calls on the way at once; each may carry a batch. Above it a caller is refused instead of queued."""
# The server it names is no longer, or not yet, the one that takes writes: whoever comes next connects anew.
_ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS")


class GateUnavailable(Exception):
    """The store cannot be reached, or refused. The call may or may not have been carried out.

    Every script is idempotent by its cause, so whoever catches this may try again with the same ids.
    """


class UnknownScript(Exception):
    """``NOSCRIPT``: the server has not got the script's text. Nothing was carried out."""


class Wire:
    """Calls to one server. Connects when first used, and again by the first call after a loss."""

    def __init__(self, url: str, *, timeout_s: float, name: str) -> None:
        self._address: dict[str, Any] = dict(parse_url(url))
        self._timeout_s = timeout_s
        self._name = name
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None

    async def call(self, *command: bytes | str | float) -> Any:
        """The reply to one command, texts as ``str``.

        Raises ``UnknownScript``; ``GateUnavailable`` for everything else that went wrong, an error reply included.
        """
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self._connect()
        return await connection.call(command)

    async def close(self) -> None:
        """Close the connection; calls on the way end as ``GateUnavailable``."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._connection is not None:
            self._connection.drop("the client was closed")
            self._connection = None

    async def _connect(self) -> "_Connection":
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

    def _connected(self, task: asyncio.Task["_Connection"]) -> None:
        closed = task is not self._connecting
        if not closed:
            self._connecting = None
        if task.cancelled() or task.exception() is not None:
            return
        if closed:
            task.result().drop("the client was closed")
        else:
            self._connection = task.result()

    async def _open(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        address = self._address
        async with asyncio.timeout(self._timeout_s):
            if "path" in address:
                _, connection = await loop.create_unix_connection(self._protocol, address["path"])
            else:
                tls = _tls(address) if address.get("connection_class") is SSLConnection else None
                _, connection = await loop.create_connection(
                    self._protocol, address.get("host", "localhost"), address.get("port", 6379), ssl=tls
                )
            try:
                await asyncio.gather(*(connection.call(command) for command in self._greeting()))
            except BaseException:
                connection.drop("the sign-in failed")
                raise
        return connection

    def _protocol(self) -> "_Connection":
        return _Connection(self._timeout_s)

    def _greeting(self) -> list[tuple[str | int, ...]]:
        greeting: list[tuple[str | int, ...]] = []
        if password := self._address.get("password"):
            user = self._address.get("username")
            greeting.append(("AUTH", user, password) if user else ("AUTH", password))
        greeting.append(("CLIENT", "SETNAME", f"stampede-{self._name}"))
        greeting.append(("SELECT", self._address.get("db", 0)))
        return greeting


def _tls(address: dict[str, Any]) -> ssl.SSLContext:
    """The TLS context that a ``rediss://`` address asks for, by redis-py's names: ``?ssl_ca_certs=/ca.pem``."""
    context = ssl.create_default_context(cafile=address.get("ssl_ca_certs"))
    if address.get("ssl_certfile"):
        context.load_cert_chain(address["ssl_certfile"], address.get("ssl_keyfile"))
    if address.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif address.get("ssl_check_hostname") in (False, "false", "False", "0"):
        context.check_hostname = False
    return context


class _Connection(asyncio.Protocol):
    """One connection: what was sent is answered in order, or lost together."""

    def __init__(self, timeout_s: float) -> None:
        self.lost = False
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")
        self._pending: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def call(self, command: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Send at once; the reply to come. uvloop joins the writes of one turn into one system call."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.lost or len(self._pending) >= PENDING_MAX:
            future.set_exception(GateUnavailable("the connection is lost" if self.lost else "too many calls wait"))
            return future
        data = hiredis.pack_command(command)  # first: it may raise, and nobody may wait for what was not sent
        self._pending.append((time.monotonic() + self._timeout_s, future))
        self._transport.write(data)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look_at_the_clock)
        return future

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
        future.set_exception(GateUnavailable(text))
        if text.startswith(_ELSEWHERE):
            self._lose(text)
