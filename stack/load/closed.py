"""Closed loop: so many connections, one request outstanding on each. For cost and throughput, never for latency."""

import asyncio
import time
from collections.abc import Sequence

from stack.load.connection import Connection
from stack.load.generator import Generator
from stack.load.tally import Address, Tally

WITHIN_S = 300.0


class _Closed(Generator):
    _next = 0

    def free(self, connection: Connection) -> None:
        at = self._next
        if at >= len(self.requests):
            if self.tally.answered + self.tally.unanswered >= len(self.requests):
                self.ended.set()
            return
        self._next = at + 1
        connection.index = at
        connection.due_s = time.perf_counter() - self.tally.started_s
        connection.send(self.requests[at])


async def closed_loop(
    addresses: Sequence[Address],
    requests: Sequence[bytes],
    *,
    connections: int = 64,
    keep: bool = False,
    within_s: float = WITHIN_S,
) -> Tally:
    """Send every request once, at most ``connections`` at a time. Raises OSError when nobody listens."""
    async with _Closed(addresses, requests, keep=keep) as load:
        count = max(1, min(connections, len(requests)))
        ready = await asyncio.gather(*(load.connect() for _ in range(count)))
        load.tally.started_s = time.perf_counter()
        for connection in ready:
            load.free(connection)
        return await load.until_ended(within_s)
