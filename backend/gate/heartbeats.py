"""Signs of life of the processes without a door of their own: workers and clocks.

They stand in the gate's store because every process has it open; while it is down nobody knows who else lives.
"""

from dataclasses import dataclass

from backend.gate.gate import Gate
from backend.gate.keys import HEARTBEATS
from backend.gate.store import unavailable_on_error

FORGET_AFTER_MS = 60_000
"""A process that was taken away is not missed for ever."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What one process said last."""

    kind: str
    """``worker`` or ``clock``."""
    age_ms: int
    said: str


class Heartbeats:
    """Raises ``GateUnavailable``."""

    def __init__(self, gate: Gate) -> None:
        self._store = gate.store

    async def beat(self, kind: str, name: str, said: str = "") -> None:
        """A process of ``kind`` is alive; ``name`` tells it from others of its kind."""
        await self._store.run("beat", (HEARTBEATS,), (f"{kind}:{name}", said, FORGET_AFTER_MS))

    async def read(self) -> list[Heartbeat]:
        """Of all that were alive within the last minute."""
        async with unavailable_on_error():
            rows = await self._store.client.hgetall(HEARTBEATS)
            seconds, micros = await self._store.client.time()
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        found = []
        for process, text in rows.items():
            at_ms, _, said = text.partition(" ")
            found.append(Heartbeat(process.partition(":")[0], max(0, now_ms - int(at_ms)), said))
        return [one for one in found if one.age_ms <= FORGET_AFTER_MS]
