"""Tests on the event loop of production (uvloop) and on asyncio's own: what a transport does at its end differs."""

import asyncio
import functools
import gc
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

LIMIT_S = 30
"""A test that waits for what never comes fails instead of hanging."""


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine function as a test on each loop, and fail it for whatever went wrong behind its back."""

    @functools.wraps(test)
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        behind_the_back: list[str] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(
                lambda _, context: behind_the_back.append(f"{context['message']}: {context.get('exception')!r}")
            )
            async with asyncio.timeout(LIMIT_S):
                await test(**arguments)
            await turns()
            gc.collect()  # a future whose error nobody took speaks when it is collected

        gc.freeze()  # what the tests before left alive need not be looked through
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(watched())
        finally:
            gc.unfreeze()
        assert behind_the_back == []

    own = inspect.signature(test).parameters.values()
    loop = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = inspect.Signature([*own, loop])  # type: ignore[attr-defined]
    factories = [asyncio.new_event_loop, uvloop.new_event_loop]
    return pytest.mark.parametrize("loop_factory", factories, ids=["asyncio", "uvloop"])(run)


async def turns(count: int = 5) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)
