"""What the slower shopper routes share: published sales, the gate's clock, payment providers; one each a process."""

import asyncio
import time
from typing import Annotated

from fastapi import Depends, Request

from backend.api import AppState, State
from backend.core.clock import now_ms as process_now_ms
from backend.gate import Gate, GateUnavailable
from backend.orders import Settlements
from backend.pages import PublishedSales
from backend.payments import Provider, providers

CLOCK_MAX_AGE_S = 1.0
"""Two clocks drift apart by some 0.1 ms in that time; asking for each request would cost a round trip each."""


class GateClock:
    """The gate's clock as an offset to this process's monotonic one, measured at most once a second."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._offset_ms: int | None = None
        self._measured_at_s = float("-inf")
        self._measuring = asyncio.Lock()

    async def now_ms(self) -> int:
        """Milliseconds since the epoch by Redis TIME. While the gate is down, by the last offset known, else by the
        process's own clock: a page's countdown is no decision."""
        if time.monotonic() - self._measured_at_s > CLOCK_MAX_AGE_S:
            async with self._measuring:
                if time.monotonic() - self._measured_at_s > CLOCK_MAX_AGE_S:
                    await self._measure()
        if self._offset_ms is None:
            return process_now_ms()
        return self._offset_ms + _monotonic_ms()

    async def _measure(self) -> None:
        try:
            gate_ms = await self._gate.now_ms()
            self._offset_ms = gate_ms - _monotonic_ms()
        except GateUnavailable:
            pass  # the next try is a second away, so that a dead gate's time-out is not paid by every request
        self._measured_at_s = time.monotonic()


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Shared:
    """The per-process objects of these routes, made when first asked for."""

    def __init__(self, state: AppState) -> None:
        self.sales = PublishedSales(state.database)
        self.clock = GateClock(state.gate)
        self.providers: dict[str, Provider] = providers(state.settings)
        self.settlements = Settlements(state.database)


def _shared(request: Request, state: State) -> Shared:
    held = request.app.state
    if not hasattr(held, "shopper_shared"):
        held.shopper_shared = Shared(state)
    shared: Shared = held.shopper_shared
    return shared


SharedState = Annotated[Shared, Depends(_shared)]
