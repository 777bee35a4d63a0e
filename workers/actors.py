"""The actors: each binds one job to what does it. They take ids or nothing, and may run twice at once."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import dramatiq

from backend import notifications, orders, pages, reconciliation, sales
from backend.gate import GateUnavailable
from backend.jobs import Job, contracts
from workers.runtime import Runtime

DRAIN_FOR_S = 30.0
"""A drain lives this long and waits for entries itself; the clock's next nudge starts its successor."""


def register(broker: dramatiq.Broker, runtime: Runtime) -> None:
    """Declare every actor on ``broker``."""

    def bind(job: Job, function: Callable[..., Awaitable[None]]) -> None:
        declare = dramatiq.actor(
            broker=broker,
            actor_name=job.name,
            queue_name=job.queue.value,
            time_limit=job.time_limit_ms,
            max_retries=job.max_retries,
            max_age=job.max_age_ms,
        )
        declare(function)

    work = Work(runtime)
    bind(contracts.DRAIN, work.drain)
    bind(contracts.EXPIRE, work.expire)
    bind(contracts.SETTLE, work.settle)
    bind(contracts.RELAY, work.relay)
    bind(contracts.RECOVER, work.recover)
    bind(contracts.TRANSITIONS, work.transitions)
    bind(contracts.CONFIGURE, work.configure)
    bind(contracts.CLOCKS, work.clocks)
    bind(contracts.AUDIT, work.audit)
    bind(contracts.PAGE_STATES, work.page_states)
    bind(contracts.PUBLISH, work.publish)
    bind(contracts.NOTIFY, work.notify)


class Once:
    """Lets one call through at a time in this process: a nudge that finds its work under way has nothing to add."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def run(self, work: Callable[[], Awaitable[object]]) -> None:
        if self._lock.locked():
            return
        async with self._lock:
            await work()


class Work:
    """One method a job, in terms of the domain."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._drain = orders.Drain(runtime.database, runtime.gate)
        self._clock_watch = sales.ClockWatch()
        self._recovery = orders.Recovery(runtime.database, runtime.gate, runtime.settings)
        self._once: dict[Job, Once] = {job: Once() for job in contracts.ALL}

    async def drain(self) -> None:
        """Apply journals to the ledger for half a minute."""
        await self._once[contracts.DRAIN].run(lambda: self._drain.run(self._runtime.stopping, for_s=DRAIN_FOR_S))

    async def expire(self) -> None:
        """End holds whose time is up, and tell the gate at once; none while it is open which clock is wrong."""

        async def work() -> None:
            try:
                if not await sales.clocks_agree(self._runtime.database, self._runtime.gate):
                    return
            except GateUnavailable:
                pass  # nothing to compare with: holds end by the database's clock
            if await orders.expire_due(self._runtime.database):
                await self._runtime.enqueue(contracts.RELAY)

        await self._once[contracts.EXPIRE].run(work)

    async def settle(self) -> None:
        """Settle captured payments that nobody has settled."""
        await self._once[contracts.SETTLE].run(
            lambda: orders.settle_captured(self._runtime.database, self._runtime.gate)
        )

    async def relay(self) -> None:
        """Tell the gate of units given back; pages stop saying "sold out" first."""
        await self._once[contracts.RELAY].run(
            lambda: orders.relay_all(self._runtime.database, self._runtime.gate, self._clear_sold_out)
        )

    async def recover(self) -> None:
        """Rebuild gates that have lost history."""
        await self._once[contracts.RECOVER].run(self._recovery.tick)

    async def _clear_sold_out(self, slug: str, sku: str) -> None:
        await pages.clear_sold_out(self._runtime.settings, slug, sku)

    async def transitions(self) -> None:
        """Preload, rotate and publish what is due."""

        async def work() -> None:
            database, gate, settings = self._runtime.database, self._runtime.gate, self._runtime.settings
            await sales.run_due_transitions(database, gate, settings)
            for sale_id in await pages.due_for_publication(database):
                await self._runtime.enqueue(contracts.PUBLISH, str(sale_id))

        await self._once[contracts.TRANSITIONS].run(work)

    async def configure(self) -> None:
        """Re-apply the ledger's wishes to every lane."""
        await self._once[contracts.CONFIGURE].run(
            lambda: sales.apply_configs(self._runtime.database, self._runtime.gate, self._runtime.settings)
        )

    async def clocks(self) -> None:
        """Stop sales when the gate's clock and the database's disagree."""
        await self._once[contracts.CLOCKS].run(
            lambda: self._clock_watch.check(self._runtime.database, self._runtime.gate)
        )

    async def audit(self) -> None:
        """Reconcile every live sale."""
        await self._once[contracts.AUDIT].run(
            lambda: reconciliation.audit_tick(self._runtime.database, self._runtime.gate)
        )

    async def page_states(self) -> None:
        """Write each sale's state.json."""
        await self._once[contracts.PAGE_STATES].run(
            lambda: pages.write_states(self._runtime.database, self._runtime.gate, self._runtime.settings)
        )

    async def publish(self, sale_id: str) -> None:
        """Publish one sale's page."""
        await pages.publish(self._runtime.database, UUID(sale_id), self._runtime.settings, published_by=None)

    async def notify(self) -> None:
        """Send what is due."""
        await self._once[contracts.NOTIFY].run(
            lambda: notifications.deliver_due(self._runtime.database, self._runtime.settings)
        )
