"""Writes that are safe before anybody hears of them: one wait for all that meet (group commit).

    run(script) ─┐
    run(script) ─┼─► script, script, …, WAIT ─► each caller's answer        the next round takes who came meanwhile
    run(script) ─┘   on one connection, nothing between them

``WAIT`` vouches for the writes of its own connection and no others: a connection that wrote nothing is told at once
that all is well, also of a store whose replica hangs (tried). So each of these scripts writes something, and what it
found written before stands before that in the replication stream and in the file.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backend.core.store_address import HostPort, StoreAddress, StoreTopology
from backend.gate.disk import DiskHorizon
from backend.gate.plain import Door
from backend.gate.scripts import Script
from backend.gate.wire import GateUnavailable, UnknownScript

ROUND_MAX = 64
"""Scripts in one round; each speaks for a whole batch of attempts."""
_PATIENCE = 0.75
"""Part of the connection's time-out that the store may wait: its "not yet" must still arrive in time."""


@dataclass(frozen=True, slots=True)
class _Asked:
    script: Script
    keys: Sequence[str]
    args: Sequence[Any]
    answer: "asyncio.Future[Any]"

    def by_hash(self) -> tuple[Any, ...]:
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)

    def by_text(self) -> tuple[Any, ...]:
        return ("EVAL", self.script.source, len(self.keys), *self.keys, *self.args)


class Acknowledger:
    """Runs scripts that write, and answers when what they wrote is safe."""

    def __init__(self, door: Door, address: StoreAddress, *, timeout_s: float) -> None:
        """``door`` is this object's alone: a waiting connection takes no other command."""
        self._door = door
        wait_ms = int(timeout_s * 1000 * _PATIENCE)
        self._alone = address.topology is StoreTopology.STANDALONE
        self._wait: tuple[Any, ...] = ("WAITAOF", 1, 0, wait_ms) if self._alone else ("WAIT", address.acks, wait_ms)
        self._acks = address.acks
        self._disk = DiskHorizon(door.call, timeout_s=timeout_s) if self._alone else None
        self._waiting: dict[HostPort, deque[_Asked]] = {}
        self._rounds: dict[HostPort, asyncio.Task[None]] = {}

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """The script's answer, once it is safe. Raises ``GateUnavailable``: carried out or not, nobody knows."""
        place = await self._door.place(keys[0])
        asked = _Asked(script, keys, args, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(place, deque()).append(asked)
        if place not in self._rounds:
            self._rounds[place] = asyncio.create_task(self._go_round(place))
        answer = await asked.answer
        if self._disk is not None:
            await self._disk.passes_now()
        return answer

    async def close(self) -> None:
        """End the rounds; who waits is told that nobody knows."""
        for task in list(self._rounds.values()):
            task.cancel()
            await asyncio.wait([task])
        if self._disk is not None:
            await self._disk.close()

    async def _go_round(self, place: HostPort) -> None:
        queue = self._waiting[place]
        try:
            while queue:
                together = [queue.popleft() for _ in range(min(len(queue), ROUND_MAX))]
                try:
                    answers = await self._round(together)
                except GateUnavailable as error:
                    answers = [error] * len(together)
                except BaseException as error:
                    _tell(together, [GateUnavailable(f"{type(error).__name__}: {error}")] * len(together))
                    raise
                _tell(together, answers)
        finally:
            del self._rounds[place]
            _tell(queue, [GateUnavailable("the client was closed")] * len(queue))
            del self._waiting[place]

    async def _round(self, together: Sequence[_Asked]) -> list[Any]:
        *answers, safe = await self._door.together([*(one.by_hash() for one in together), self._wait])
        if any(isinstance(answer, UnknownScript) for answer in answers):
            # Nothing of those was carried out, and the others may be carried out again.
            *answers, safe = await self._door.together([*(one.by_text() for one in together), self._wait])
        if isinstance(safe, BaseException):
            raise safe if isinstance(safe, GateUnavailable) else GateUnavailable(str(safe))
        if not (safe[0] >= 1 if self._alone else safe >= self._acks):
            raise GateUnavailable("carried out, but not acknowledged in time")
        return answers


def _tell(asked: Sequence[_Asked] | deque[_Asked], answers: Sequence[Any]) -> None:
    for one, answer in zip(asked, answers, strict=True):
        if one.answer.done():  # its caller may have gone
            continue
        if isinstance(answer, BaseException):
            one.answer.set_exception(answer)
        else:
            one.answer.set_result(answer)
