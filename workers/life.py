"""This worker's signs of life: that it runs, and when it last finished a job."""

import asyncio
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from dramatiq import Broker, MessageProxy, Worker
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import Middleware

from backend.core.ids import new_id
from backend.gate import Gate, GateUnavailable, Heartbeats
from backend.monitoring import BEAT_EVERY_S


class SignsOfLife(Middleware):
    """Beats from the start of the worker to its end. A worker that runs and finishes nothing is told from one that
    does: the clock has a job for it each second."""

    def __init__(self, gate: Gate) -> None:
        self._heartbeats = Heartbeats(gate)
        self._name = new_id().hex
        self._ended_at_s = time.monotonic()
        self._beating: Future[None] | None = None

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002 - dramatiq's names
        message: MessageProxy,  # noqa: ARG002
        *,
        result: Any = None,  # noqa: ARG002
        exception: BaseException | None = None,  # noqa: ARG002
    ) -> None:
        self._ended_at_s = time.monotonic()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        thread = get_event_loop_thread()
        assert thread is not None  # the broker's AsyncIO has started it, before it started this worker
        self._beating = asyncio.run_coroutine_threadsafe(self._beat(), thread.loop)

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        if self._beating is not None:
            self._beating.cancel()

    async def _beat(self) -> None:
        while True:
            with suppress(GateUnavailable):  # nobody can read it either
                await self._heartbeats.beat("worker", self._name, str(int(time.monotonic() - self._ended_at_s)))
            await asyncio.sleep(BEAT_EVERY_S)
