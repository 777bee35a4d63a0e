"""Circuit breakers: who does not answer is not asked by everybody, but by one caller at a time, until it does.

closed ── ``failures_max`` in a row ──► open ── ``rest_s`` later ──► half open ── the probe fails ──► open
   ▲                                                                     └──── the probe gets through ──► closed

After M. Nygard, "Release It!". Without one, each request to a server that drops packets waits for its own time-out.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from backend.core.log import get_logger

log = get_logger()

FAILURES_MAX = 5
REST_S = 1.0
"""A dependency that is back is found within this: shoppers are told to come back after two seconds."""


class CircuitState(StrEnum):
    """Where a breaker stands; the words that metrics and the console use."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpen(ConnectionError):
    """The dependency did not answer lately, so it was not asked. Nothing was carried out."""


class Breaker:
    """The breaker of one dependency, in one process. Not for threads: its callers share an event loop."""

    def __init__(self, name: str, *, failures_max: int = FAILURES_MAX, rest_s: float = REST_S) -> None:
        self.name = name
        self._failures_max = failures_max
        self._rest_s = rest_s
        self._failures = 0
        self._open_until_s: float | None = None
        self._probing = False

    @property
    def state(self) -> CircuitState:
        """As the next caller will find it."""
        if self._open_until_s is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if self._must_rest() else CircuitState.HALF_OPEN

    def _must_rest(self) -> bool:
        return self._open_until_s is not None and (self._probing or time.monotonic() < self._open_until_s)

    @contextmanager
    def guard(self, is_failure: Callable[[BaseException], bool]) -> Iterator[None]:
        """Ask the dependency inside. Raises ``CircuitOpen`` instead while it rests.

        ``is_failure`` tells an exception that means "it did not answer" from one that was an answer. One that is
        neither (the caller was cancelled) says nothing, and lets the next caller probe.
        """
        if self._must_rest():
            raise CircuitOpen(f"{self.name} did not answer lately")
        probing = self._probing = self._open_until_s is not None
        try:
            yield
        except Exception as error:
            self._judge(failed=is_failure(error))
            raise
        else:
            self._judge(failed=False)
        finally:
            if probing:
                self._probing = False

    def _judge(self, *, failed: bool) -> None:
        if not failed:
            if self._open_until_s is not None:
                log.info("circuit.closed", dependency=self.name)
            self._failures, self._open_until_s = 0, None
            return
        self._failures += 1
        if self._failures < self._failures_max:
            return
        if self._open_until_s is None:
            log.warning("circuit.opened", dependency=self.name)
        self._open_until_s = time.monotonic() + self._rest_s
