"""What one worker process holds open. Everything connects when first used."""

import asyncio
from pathlib import Path

from dramatiq.asyncio import get_event_loop_thread
from prometheus_client import REGISTRY

from backend.core.metrics import watch_circuit
from backend.gate import Gate
from backend.jobs import Enqueue, Enqueuer
from backend.models import Database, make_engine
from backend.monitoring import SalesCollector, take_snapshot
from backend.settings import Settings


class Runtime:
    """Database, gate and settings for the actors, which all run on one event loop."""

    def __init__(self, settings: Settings, enqueuer: Enqueuer) -> None:
        self.settings = settings
        self.database = Database(make_engine(settings, role="worker"))
        self.gate = Gate.connect(settings.gate_url, timeout_s=settings.gate_timeout_s, name="worker")
        self.enqueue: Enqueue = enqueuer
        watch_circuit("ledger", lambda: self.database.circuit)
        watch_circuit("gate", lambda: self.gate.circuit)
        watch_circuit("broker", lambda: enqueuer.circuit)
        self.stopping = asyncio.Event()
        """Set once, when the process is told to end: a drain then stops between two batches."""

    @property
    def pages_dir(self) -> Path:
        return self.settings.pages_dir

    def tell_of_sales(self) -> None:
        """Let this process's metrics say how the sales stand; called once its event loop runs."""
        thread = get_event_loop_thread()
        assert thread is not None
        REGISTRY.register(
            SalesCollector(
                lambda: take_snapshot(self.database, self.gate), thread.loop, backlog_max=self.settings.backlog_max
            )
        )

    def stop(self) -> None:
        """Ask running actors to come to an end; called from the main thread."""
        thread = get_event_loop_thread()
        if thread is not None:
            thread.loop.call_soon_threadsafe(self.stopping.set)
