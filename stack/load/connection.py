"""One keep-alive connection with at most one request under way."""

import asyncio
from collections.abc import Callable
from typing import cast

from stack.load.messages import Unreadable, read_answer


class Connection(asyncio.Protocol):
    """Sends ready-made bytes and hands each answer to ``answered(connection, status, body)``.

    A protocol, not streams: a reader and a writer cost 100 µs and more a request. ``lost`` is called when the other
    side closes; ``index`` and ``due_s`` are the load's own notes on the request under way.
    """

    __slots__ = ("_answered", "_data", "_lost", "_transport", "busy", "due_s", "index")

    def __init__(
        self,
        answered: Callable[["Connection", int, bytes], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self._answered = answered
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self.busy = False
        self.index = -1
        self.due_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's word that it is open."""
        # uvloop's is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> None:
        """Send one request; the answer comes by the callback."""
        assert self._transport is not None
        self.busy = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """asyncio's word that bytes have come."""
        if self._data:
            data = self._data + data
        try:
            answer = read_answer(data)
        except Unreadable:
            self.close()
            return
        if answer is None:
            self._data = data
            return
        self._data = b""
        status, body, stays = answer
        self.busy = False
        if not stays:
            self.close()
        self._answered(self, status, body)

    def connection_lost(self, _: Exception | None) -> None:
        """asyncio's word that it is closed."""
        self._transport = None
        self._lost(self)

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Close it, whatever is under way."""
        if self._transport is not None:
            self._transport.close()
