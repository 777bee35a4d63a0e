"""One computation for all who ask within a moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")

KEYS_MAX = 1_000


class SharedAnswers:
    """Answers that are computed at most once each ``max_age_s``, however many ask.

    Who asks while one is being computed waits for that one. A failure is told to all who wait and is not kept.
    Bounded to ``KEYS_MAX`` answers; the oldest goes first.
    """

    def __init__(self) -> None:
        self._answers: dict[Hashable, tuple[float, Any]] = {}
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, key: Hashable, max_age_s: float, make: Callable[[], Awaitable[T]]) -> T:
        """The answer for ``key``: a fresh enough one, or a new one from ``make``."""
        known = self._answers.get(key)
        if known is not None and time.monotonic() - known[0] <= max_age_s:
            return cast("T", known[1])
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._make(key, make))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        # Shielded: a viewer who leaves must not cancel what the others wait for.
        return cast("T", await asyncio.shield(task))

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        asked_at = time.monotonic()
        answer = await make()
        self._answers.pop(key, None)
        while len(self._answers) >= KEYS_MAX:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = (asked_at, answer)
        return answer
