"""Finding the primary of a store that Redis Sentinels watch.

One sentinel's word is enough to try an address, and none is enough to believe it: a sentinel that was cut off names
yesterday's primary. So the server itself is asked for its part (``ROLE``) before it gets a command, and the next
sentinel is asked when it is not the primary. Nothing is remembered between connections but which sentinel was right.
"""

import asyncio
from typing import Any

from backend.core.log import get_logger
from backend.core.store_address import HostPort, StoreAddress
from backend.gate.wire import Connection, Endpoint, GateUnavailable

log = get_logger()

_TRIES = 4
"""Parts of the whole time-out that one sentinel, or one server, gets: two sentinels may be dead and silent."""


class PrimaryFinder:
    """Dials the primary; ``dial`` is what a ``Wire`` takes."""

    def __init__(self, address: StoreAddress, *, timeout_s: float, name: str) -> None:
        self._address = address
        self._name = name
        self._timeout_s = timeout_s
        self._part_s = timeout_s / _TRIES
        self._first = 0

    async def dial(self) -> Connection:
        """A connection to the server that a sentinel names and that says of itself that it is the primary.

        Raises ``GateUnavailable`` when there is none.
        """
        hosts = self._address.hosts
        doubts = []
        for turn in range(len(hosts)):
            at = (self._first + turn) % len(hosts)
            try:
                named = await self._ask(hosts[at])
                if named is None:
                    doubts.append(f"{hosts[at][0]}:{hosts[at][1]} does not know {self._address.service}")
                    continue
                connection = await self._connect(named)
            except (OSError, TimeoutError, GateUnavailable) as error:
                doubts.append(f"{hosts[at][0]}:{hosts[at][1]}: {type(error).__name__} {str(error)[:60]}")
                continue
            self._first = at
            return connection
        raise GateUnavailable(f"no sentinel led to a primary: {'; '.join(doubts)}"[:300])

    async def _ask(self, sentinel: HostPort) -> HostPort | None:
        address = self._address
        host, port = sentinel
        endpoint = Endpoint(
            host, port, self._name, address.sentinel_username, address.sentinel_password, tls=address.tls
        )
        connection = await endpoint.dial(self._part_s)
        try:
            row = await connection.call(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service))
        finally:
            connection.drop("asked")
        return (row[0], int(row[1])) if row else None

    async def _connect(self, server: HostPort) -> Connection:
        endpoint = Endpoint.of(self._address, server, name=self._name, database=self._address.database)
        connection = await endpoint.dial(self._timeout_s, within_s=self._part_s)
        try:
            async with asyncio.timeout(self._part_s):
                role: list[Any] = await connection.call(("ROLE",))
            if role[0] != "master":
                raise GateUnavailable(f"{server[0]}:{server[1]} is no primary now")
        except BaseException:
            connection.drop("not the primary")
            raise
        return connection
