"""Waiting for streams to grow: ``XREAD BLOCK``, each on a connection that nobody else needs meanwhile."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from backend.gate.cluster import slot_of
from backend.gate.plain import Door
from backend.gate.wire import GateUnavailable

Streams = Mapping[str, str]
"""Key → the entry after which something is waited for."""


class BlockingReads:
    """Connections for reads that block, as many as are under way at once; kept for the next."""

    def __init__(self, new_door: Callable[[], Door], *, one_slot_each: bool) -> None:
        """``one_slot_each``: a cluster refuses a command on keys of several slots."""
        self._new_door = new_door
        self._one_slot_each = one_slot_each
        self._idle: list[Door] = []

    async def read(self, streams: Streams, *, block_ms: int) -> list[Any]:
        """``[key, entries]`` of the streams that grew first; empty when the time is up. Raises ``GateUnavailable``.

        A node that does not answer keeps nobody from the others' news.
        """
        groups = self._groups(streams)
        if len(groups) == 1:
            return await self._read(groups[0], block_ms)
        reads = [asyncio.create_task(self._read(group, block_ms)) for group in groups]
        try:
            return await _first_news(reads)
        finally:
            for read in reads:
                read.cancel()
            await asyncio.wait(reads)

    async def close(self) -> None:
        """Close what is idle; reads under way end with their callers."""
        while self._idle:
            await self._idle.pop().close()

    def _groups(self, streams: Streams) -> list[Streams]:
        if not self._one_slot_each:
            return [streams]
        groups: dict[int, dict[str, str]] = {}
        for key, after in streams.items():
            groups.setdefault(slot_of(key), {})[key] = after
        return list(groups.values())

    async def _read(self, streams: Streams, block_ms: int) -> list[Any]:
        door = self._idle.pop() if self._idle else self._new_door()
        try:
            command = ("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", *streams, *streams.values())
            reply = await door.call(*command)
        except BaseException:
            await door.close()  # its answer, if one comes, is nobody's
            raise
        self._idle.append(door)
        return list(reply or [])


async def _first_news(reads: list["asyncio.Task[list[Any]]"]) -> list[Any]:
    waiting = set(reads)
    failed: GateUnavailable | None = None
    answered = False
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        news = []
        for read in done:
            with suppress(GateUnavailable):
                news += read.result()
                answered = True
                continue
            failed = GateUnavailable(str(read.exception()))
        if news:
            return news
    if failed is not None and not answered:
        raise failed
    return []
