"""The one thread of a process that sends jobs.

The brokers' clients block, and RabbitMQ's keeps a connection for each thread that ever sent, which somebody has to
keep alive. So all sending is done here, one message after the other. A call that outlasts its caller holds up nobody:
while it does, new messages are refused instead of queued.
"""

import queue
import threading
import time
from concurrent.futures import Future
from typing import Any, Protocol

from dramatiq import Message
from dramatiq.errors import BrokerError

STUCK_AFTER_S = 4.0
"""A call to the broker that has taken longer is not waited for by anybody else."""
HELD_MAX = 100
"""Messages that may wait for the thread; about 150 µs each."""
KEEP_ALIVE_S = 3.0
"""An idle connection's heartbeats are answered this often: thrice in RabbitMQ's ten seconds."""
CLOSE_TIMEOUT_S = 1.0


class SenderBusy(BrokerError):
    """The broker has not answered an earlier call yet."""

    def __init__(self) -> None:
        super().__init__("the broker has not answered an earlier call")


class _Broker(Protocol):
    def enqueue(self, message: "Message[Any]") -> Any: ...
    def keep_alive(self) -> None: ...
    def close(self) -> None: ...


class Sender:
    """Sends messages over ``broker``. The thread starts with the first one, and never keeps a process from ending."""

    def __init__(self, broker: _Broker) -> None:
        self._broker = broker
        self._held: queue.SimpleQueue[tuple[Message[Any], Future[None]] | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, message: "Message[Any]") -> "Future[None]":
        """Send ``message``: the future has the broker's answer. Raises ``SenderBusy``."""
        busy_since = self._busy_since
        stuck = busy_since is not None and time.monotonic() - busy_since > STUCK_AFTER_S
        if stuck or self._held.qsize() >= HELD_MAX:
            raise SenderBusy
        future: Future[None] = Future()
        self._held.put((message, future))
        self._start()
        return future

    def close(self) -> None:
        """Close the broker's connection, for at most ``CLOSE_TIMEOUT_S``: a frozen broker must not hold up a stop."""
        thread = self._thread
        if thread is not None:
            self._held.put(None)
            thread.join(CLOSE_TIMEOUT_S)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="job-sender", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                held = self._held.get(timeout=KEEP_ALIVE_S)
            except queue.Empty:
                self._broker.keep_alive()
                continue
            if held is None:
                self._broker.close()
                return
            message, future = held
            if future.set_running_or_notify_cancel():  # else its caller has stopped waiting
                self._send(message, future)

    def _send(self, message: "Message[Any]", future: "Future[None]") -> None:
        self._busy_since = time.monotonic()
        try:
            self._broker.enqueue(message)
        except BaseException as error:  # noqa: BLE001 - the caller gets it, whatever it is
            future.set_exception(error)
        else:
            future.set_result(None)
        finally:
            self._busy_since = None
