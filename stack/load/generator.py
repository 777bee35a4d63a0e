"""What both kinds of load share: connections, the count of answers, the end."""

import asyncio
import gc
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from stack.load.connection import Connection
from stack.load.messages import outcome_of
from stack.load.tally import ACCEPTED, Address, Kept, Tally

_TRIES_MAX = 3
"""Connections that fail one after the other before the load gives up: a server that is down is no load's fault."""


class Generator:
    """Connections to ``addresses`` in turn, and the tally of what they answer."""

    def __init__(self, addresses: Sequence[Address], requests: Sequence[bytes], *, keep: bool) -> None:
        """``keep``: keep every 202 whole."""
        self.tally = Tally()
        self.requests = requests
        self.ended = asyncio.Event()
        self._addresses = addresses
        self._keep = keep
        self._connections: set[Connection] = set()
        self._opened = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._failures = 0

    async def __aenter__(self) -> Self:
        # A collection in the middle would stand in the latencies; what lives now is not looked at again.
        gc.collect()
        gc.freeze()
        gc.disable()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        gc.enable()
        gc.unfreeze()
        for task in self._opening:
            task.cancel()
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)

    @property
    def size(self) -> int:
        """Connections, those about to open included."""
        return len(self._connections) + len(self._opening)

    async def connect(self) -> Connection:
        """One more connection. Raises OSError."""
        address = self._addresses[self._opened % len(self._addresses)]
        self._opened += 1
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(self._answered, self._lost), address.host, address.port
        )
        self._failures = 0
        self._connections.add(connection)
        return connection

    def open_soon(self) -> None:
        """Begin to open one more, which then asks for work."""
        task = asyncio.get_running_loop().create_task(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        try:
            connection = await self.connect()
        except OSError:
            self._failures += 1
            if self._failures >= _TRIES_MAX:
                self.ended.set()
            else:
                self.open_soon()
        else:
            self.free(connection)

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        now = time.perf_counter()
        tally = self.tally
        tally.answers[status, outcome_of(body)] += 1
        at_s = now - tally.started_s
        tally.due_s.append(connection.due_s)
        tally.latency_s.append(at_s - connection.due_s)
        if self._keep and status == ACCEPTED:
            tally.kept.append(Kept(connection.index, now, body))
        if connection.is_open:
            self.free(connection)

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self.ended.is_set():
            return
        if connection.busy:
            connection.busy = False
            self.tally.unanswered += 1
        self.open_soon()

    def free(self, connection: Connection) -> None:
        """A connection has nothing to do: give it work, or end the load."""
        raise NotImplementedError

    async def until_ended(self, within_s: float) -> Tally:
        """Wait for the end. What is under way after ``within_s`` counts as unanswered."""
        try:
            async with asyncio.timeout(within_s):
                await self.ended.wait()
        except TimeoutError:
            self.ended.set()
        self.tally.elapsed_s = time.perf_counter() - self.tally.started_s
        self.tally.unanswered = len(self.requests) - self.tally.answered
        return self.tally
