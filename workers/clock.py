"""The clock: ``python -m workers.clock``. It only enqueues; what is due, the jobs find in the ledger.

Two of them at once are harmless: each tick takes its slot with one ``SET NX``, and a nudge that is sent twice all
the same finds nothing left to do. When the store that holds the slots is down the clock ticks without them.
"""

import asyncio
import signal
import time
from contextlib import suppress

from backend.core.ids import new_id
from backend.core.log import configure_logging, get_logger
from backend.core.metrics import CLOCK_TICKS, CLOCK_TICKS_MISSED, serve_metrics
from backend.gate import Gate, GateUnavailable, Heartbeats
from backend.jobs import Enqueuer, Job, contracts, make_broker
from backend.settings import get_settings

log = get_logger()

EVERY_S: dict[Job, int] = {
    contracts.DRAIN: 1,
    contracts.EXPIRE: 1,
    contracts.SETTLE: 1,
    contracts.RELAY: 1,
    contracts.RECOVER: 1,
    contracts.TRANSITIONS: 1,
    contracts.NOTIFY: 1,
    contracts.PAGE_STATES: 1,
    contracts.CLOCKS: 1,
    contracts.CONFIGURE: 5,
    contracts.AUDIT: 5,
}
SLOT_TTL_MS = 60_000


class Clock:
    """Sends each job once a slot of its interval, whoever else does too."""

    def __init__(self, gate: Gate, enqueuer: Enqueuer) -> None:
        self._gate = gate
        self._enqueue = enqueuer
        self._heartbeats = Heartbeats(gate)
        self._owner = new_id().hex
        self._broker_took = ""
        """What became of the newest nudge: ``up`` or ``down``; nothing while another clock sends them all."""

    async def tick(self, second: int) -> list[Job]:
        """Nudge what is due in this second (since the epoch). Returns what was sent."""
        due = [job for job, every in EVERY_S.items() if second % every == 0]
        try:
            mine = await self._gate.take_slots(
                [f"{job.name}:{second // EVERY_S[job]}" for job in due], self._owner, ttl_ms=SLOT_TTL_MS
            )
        except GateUnavailable:
            mine = [True] * len(due)
        sent = [job for job, is_mine in zip(due, mine, strict=True) if is_mine]
        for job in sent:
            taken = await self._enqueue(job)
            self._broker_took = "up" if taken else "down"
            if not taken:
                break  # the broker is down: the other nudges would only wait for the same time-out
        if not sent:
            self._broker_took = ""
        return sent

    async def _beat(self) -> None:
        with suppress(GateUnavailable):  # nobody can read it either
            await self._heartbeats.beat("clock", self._owner, self._broker_took)

    async def run(self, stopping: asyncio.Event) -> None:
        """Tick at each full second until told to stop. A tick that comes late is not made up for."""
        last = int(time.time()) - 1
        while not stopping.is_set():
            now = time.time()
            await self.tick(int(now))
            await self._beat()
            CLOCK_TICKS.inc()
            CLOCK_TICKS_MISSED.inc(max(0, int(now) - last - 1))
            last = int(now)
            try:
                async with asyncio.timeout(max(0.05, int(now) + 1 - time.time())):
                    await stopping.wait()
            except TimeoutError:
                continue


async def main() -> None:
    settings = get_settings()
    configure_logging("clock", settings.log_level)
    serve_metrics(settings.metrics_listen)
    enqueuer = Enqueuer(make_broker(settings.broker_url))
    gate = Gate.connect(settings.gate_url, timeout_s=settings.gate_timeout_s, name="clock")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    log.info("clock.started")
    try:
        await Clock(gate, enqueuer).run(stopping)
    finally:
        await gate.close()
        enqueuer.close()
        log.info("clock.stopped")


if __name__ == "__main__":
    asyncio.run(main())
