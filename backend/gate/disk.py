"""When a standalone server's writes are on its disk, for servers whose ``WAITAOF`` says so too early.

Redis from 7.4 (mended in 8.0, redis/redis#13793) and Valkey, 8.1.8 included, answer ``WAITAOF 1 0`` under
``appendfsync everysec`` as soon as nothing waits to be *written*, up to a second before anything is synchronised: seen
by strace, the answer came before the ``fdatasync``. What can be relied on there: a write is handed to ``fdatasync`` at
most a second after it was made, in the turn of the event loop in which that second is over. So what was written a
second before a reading of the server's clock is on the disk once a later reading finds nothing on its way to it.
Under ``appendfsync always`` nothing is answered before it is on the disk; that is seen where ``CONFIG GET`` is allowed.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from backend.gate.wire import GateUnavailable

_LOOK_EVERY_S = 0.05
_EVERY_MS = 1_000
_MARGIN_MS = 20
"""The server judges by the clock as it was when the turn began."""
_HONEST = ((7, 2), (7, 4))
_MENDED = (8, 0)


def waits_for_the_disk(info: str) -> bool:
    """Whether a server's ``WAITAOF`` can be believed under ``everysec``, by its ``INFO server``."""
    if "valkey_version:" in info:
        return False  # it says redis_version:7.2.4 of itself, for old clients
    match = re.search(r"redis_version:(\d+)\.(\d+)", info)
    if match is None:
        return False
    version = (int(match[1]), int(match[2]))
    return _HONEST[0] <= version < _HONEST[1] or version >= _MENDED


class DiskHorizon:
    """Until when everything that was written is on the disk, by the server's clock; looked at while somebody waits."""

    def __init__(self, call: Callable[..., Awaitable[Any]], *, timeout_s: float) -> None:
        self._call = call
        self._timeout_s = timeout_s
        self._believed: bool | None = None
        self._may_ask = True
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._looking: asyncio.Task[None] | None = None

    async def passes_now(self) -> None:
        """Wait until what was written before this call is on the disk. Raises ``GateUnavailable``."""
        if self._believed is None:
            self._believed = waits_for_the_disk(str(await self._call("INFO", "server")))
        if self._believed or await self._is_synchronous():
            return
        written_ms = await self._clock_ms()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((written_ms, future))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(self._timeout_s + _EVERY_MS / 1000):
                await future
        except TimeoutError:
            raise GateUnavailable("carried out, but not on the disk in time") from None

    async def _is_synchronous(self) -> bool:
        """Whether every write is synchronised before its answer; False when that may not be asked."""
        if not self._may_ask:
            return False
        try:
            policy = await self._call("CONFIG", "GET", "appendfsync")
        except GateUnavailable as error:
            if "NOPERM" not in str(error):
                raise
            self._may_ask = False
            return False
        return list(policy) == ["appendfsync", "always"]

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        try:
            while self._waiting:
                before_ms = await self._clock_ms()
                # In a later turn of the server's loop than the clock was read in: that one's end begins what is due.
                await asyncio.sleep(_LOOK_EVERY_S)
                facts = str(await self._call("INFO", "persistence"))
                if "aof_last_write_status:ok" not in facts:
                    raise GateUnavailable("the append-only file cannot be written")
                if "aof_pending_bio_fsync:0" in facts and "aof_buffer_length:0" in facts:
                    self._passed(before_ms - _EVERY_MS - _MARGIN_MS)
        except GateUnavailable as error:
            self._give_up(error)
        except BaseException:
            self._give_up(GateUnavailable("the client was closed"))
            raise
        finally:
            self._looking = None

    def _passed(self, horizon_ms: int) -> None:
        for written_ms, future in self._waiting:
            if written_ms <= horizon_ms and not future.done():
                future.set_result(None)
        self._waiting = [one for one in self._waiting if not one[1].done()]

    def _give_up(self, error: GateUnavailable) -> None:
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting = []

    async def _clock_ms(self) -> int:
        seconds, micros = await self._call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000
