"""Open loop: requests arrive at a fixed rate, like a crowd, whether or not the ones before were answered.

A latency runs from the *scheduled* arrival to the answer: time spent waiting for a free connection, or for a
generator that is late, counts. (A closed loop stops asking while the server is slow, and so leaves out the very
moments that matter: coordinated omission.)
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from stack.load.connection import Connection
from stack.load.generator import Generator
from stack.load.tally import Address, Tally

TICK_S = 0.001
"""Arrivals of one millisecond are sent together: a finer timer would eat the core that the platform needs."""
GRACE_S = 10.0
CONNECTIONS_MAX = 1_024


class _Open(Generator):
    def __init__(
        self, addresses: Sequence[Address], requests: Sequence[bytes], *, keep: bool, rate_per_s: float, most: int
    ) -> None:
        super().__init__(addresses, requests, keep=keep)
        self._rate_per_s = rate_per_s
        self._most = most
        self._arrived = 0
        self._waiting: deque[int] = deque()
        self._idle: list[Connection] = []

    def free(self, connection: Connection) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft())
            return
        self._idle.append(connection)
        if self._arrived >= len(self.requests) and self.tally.answered + self.tally.unanswered >= len(self.requests):
            self.ended.set()

    def _send(self, connection: Connection, at: int) -> None:
        connection.index = at
        connection.due_s = at / self._rate_per_s
        connection.send(self.requests[at])

    def arrive(self) -> bool:
        """Send what is due; False when that was the last."""
        now_s = time.perf_counter() - self.tally.started_s
        due = min(len(self.requests), int(now_s * self._rate_per_s) + 1)
        if due > self._arrived:
            self.tally.late_s = max(self.tally.late_s, now_s - self._arrived / self._rate_per_s)
        for at in range(self._arrived, due):
            connection = self._take()
            if connection is None:
                self._waiting.append(at)
            else:
                self._send(connection, at)
        self._arrived = due
        missing = min(len(self._waiting), self._most - self.size)
        for _ in range(missing):
            self.open_soon()
        return due < len(self.requests)

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None


async def open_loop(
    addresses: Sequence[Address],
    requests: Sequence[bytes],
    *,
    rate_per_s: float,
    connections: int = 64,
    connections_max: int = CONNECTIONS_MAX,
    keep: bool = False,
    start_s: float | None = None,
) -> Tally:
    """Let request ``i`` arrive at ``start + i / rate_per_s``.

    ``connections`` are opened beforehand, more as they are needed. ``start_s`` (as of ``time.perf_counter``) is when
    the first arrives; at once without. Answers later than ``GRACE_S`` after the last arrival count as unanswered.
    """
    load = _Open(addresses, requests, keep=keep, rate_per_s=rate_per_s, most=connections_max)
    async with load:
        for connection in await asyncio.gather(*(load.connect() for _ in range(connections))):
            load.free(connection)
        load.ended.clear()
        if start_s is not None:
            await asyncio.sleep(max(0.0, start_s - time.perf_counter()))
        load.tally.started_s = start_s if start_s is not None else time.perf_counter()
        while load.arrive():  # noqa: ASYNC110 - nothing to wait for but the time
            await asyncio.sleep(TICK_S)
        return await load.until_ended(GRACE_S)
