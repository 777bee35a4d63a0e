"""What the hot endpoints share: refusals become problems, slow ways become tasks, and nothing ever escapes."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from backend.api import is_passing
from backend.core.errors import Code, Refused
from backend.core.hot import HotRequest, Reply, problem_reply
from backend.core.log import get_logger
from backend.gate import GateUnavailable, Overloaded
from backend.shopper_api.answers import DEGRADED_RETRY_MS

log = get_logger()


class Endpoint:
    """A hot endpoint whose ``answer`` may raise ``Refused``, ``GateUnavailable`` and ``Overloaded``."""

    degraded_detail: str | None = None
    """What a shopper is told beside ``DEGRADED``, when a store is away."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        # Refusals without a detail of their own are most of a rush: their bytes are made once.
        self._ready: dict[Code, Reply] = {}

    def __call__(self, request: HotRequest, reply: Callable[[Reply], None]) -> None:
        """Answer one request. Never raises."""
        try:
            self.answer(request, reply)
        except Exception as error:  # noqa: BLE001 - whoever asked gets an answer, whatever went wrong
            self.failed(error, reply)

    def answer(self, request: HotRequest, reply: Callable[[Reply], None]) -> None:
        """Answer, now or later."""
        raise NotImplementedError

    def later(self, way: Coroutine[Any, Any, None], reply: Callable[[Reply], None]) -> None:
        """Go on in a task: for what has to ask somebody first. It answers by itself, or by what it raises."""
        task = asyncio.create_task(self._run(way, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, way: Coroutine[Any, Any, None], reply: Callable[[Reply], None]) -> None:
        try:
            await way
        except Exception as error:  # noqa: BLE001 - as above
            self.failed(error, reply)

    def failed(self, error: Exception, reply: Callable[[Reply], None]) -> None:
        """Answer with what an exception means."""
        if isinstance(error, Refused):
            self.refuse(error, reply)
        elif isinstance(error, (GateUnavailable, Overloaded)) or is_passing(error):
            self.refuse_degraded(reply)
        else:
            log.error("hot.failed", endpoint=type(self).__name__, exc_info=error)
            self.refuse(Refused(Code.INTERNAL), reply)

    def refuse_degraded(self, reply: Callable[[Reply], None]) -> None:
        """Answer that a store is away. A fresh refusal each time: one that is raised again and again keeps them all."""
        self.refuse(Refused(Code.DEGRADED, self.degraded_detail, retry_after_ms=DEGRADED_RETRY_MS), reply)

    def refuse(self, refused: Refused, reply: Callable[[Reply], None]) -> None:
        """Answer with the refusal's problem."""
        if refused.detail or refused.retry_after_ms is not None or refused.errors or refused.extra:
            reply(problem_reply(refused))
            return
        ready = self._ready.get(refused.code)
        if ready is None:
            ready = self._ready[refused.code] = problem_reply(refused)
        reply(ready)
