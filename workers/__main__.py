"""``python -m workers --queues orders,release,control``: one worker process."""

import argparse
import os
import signal
import threading

import dramatiq
from dramatiq import Worker

from backend.core.collector import quiet_collector
from backend.core.log import configure_logging, get_logger
from backend.core.metrics import serve_metrics
from backend.jobs import Enqueuer, Queue, make_broker
from backend.settings import get_settings
from workers.actors import register
from workers.life import SignsOfLife
from workers.runtime import Runtime

log = get_logger()

IDLE_POLL_MS = 500
"""How long an idle queue is left alone: polling five queues every 100 ms cost 9 % of a core for nothing."""
STOP_TIMEOUT_MS = 4_000
"""A drain stops between batches, at most a second; the rest is left to the next worker."""
STOP_WITHIN_S = 4.5
"""The whole of it, whatever state the broker is in."""


def _queues(text: str) -> set[str]:
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = names - {queue.value for queue in Queue}
    if not names or unknown:
        known = ", ".join(queue.value for queue in Queue)
        raise argparse.ArgumentTypeError(f"choose from {known}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("--queues", type=_queues, default={queue.value for queue in Queue}, help="default: all")
    parser.add_argument("--threads", type=int, default=8, choices=range(2, 65), metavar="2..64")
    options = parser.parse_args()

    settings = get_settings()
    configure_logging("worker", settings.log_level)
    broker = make_broker(settings.broker_url)
    dramatiq.set_broker(broker)
    enqueuer = Enqueuer(broker)
    runtime = Runtime(settings, enqueuer)
    register(broker, runtime)
    broker.add_middleware(SignsOfLife(runtime.gate))

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker = Worker(broker, queues=options.queues, worker_threads=options.threads, worker_timeout=IDLE_POLL_MS)
    quiet_collector()
    worker.start()
    if settings.metrics_listen is not None and Queue.CONTROL.value in options.queues:
        runtime.tell_of_sales()
    serve_metrics(settings.metrics_listen)
    log.info("worker.started", queues=sorted(options.queues))
    stop.wait()
    runtime.stop()
    stopped = _stop(worker, enqueuer)
    log.info("worker.stopped")
    if not stopped:
        # dramatiq's threads still wait for the broker, and Python would wait for them.
        os._exit(0)


def _stop(worker: Worker, enqueuer: Enqueuer) -> bool:
    """Stop consumers and threads, in bounded time: closing a connection to a frozen broker waits for its answer, one
    consumer after the other. What is left open the broker closes, and gives its messages to the next worker.
    False when the time was up."""

    def stop() -> None:
        worker.stop(timeout=STOP_TIMEOUT_MS)
        enqueuer.close()

    thread = threading.Thread(target=stop, name="stop", daemon=True)
    thread.start()
    thread.join(STOP_WITHIN_S)
    return not thread.is_alive()


if __name__ == "__main__":
    main()
