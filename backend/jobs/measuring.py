"""How long jobs take, and how they end."""

import threading
import time
from typing import Any

from dramatiq import Broker, MessageProxy
from dramatiq.middleware import Middleware

from backend.core.metrics import JOB_FAILURES, JOB_SECONDS, JOBS_OUTDATED


class Measuring(Middleware):
    """Observes each run. A message begins and ends in the same thread of the worker."""

    def __init__(self) -> None:
        self._begun = threading.local()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002 - dramatiq's names
        self._begun.at_s = time.monotonic()

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002
        message: MessageProxy,
        *,
        result: Any = None,  # noqa: ARG002
        exception: BaseException | None = None,
    ) -> None:
        JOB_SECONDS.labels(message.actor_name).observe(time.monotonic() - self._begun.at_s)
        if exception is not None:
            JOB_FAILURES.labels(message.actor_name).inc()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002
        JOBS_OUTDATED.labels(message.actor_name).inc()
