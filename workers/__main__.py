"""``python -m workers --queues orders,release,control``: one worker process."""

import argparse
import signal
import threading

import dramatiq
from dramatiq import Worker

from backend.core.collector import quiet_collector
from backend.core.log import configure_logging, get_logger
from backend.jobs import Enqueuer, Queue, make_broker
from backend.settings import get_settings
from workers.actors import register
from workers.runtime import Runtime

log = get_logger()

IDLE_POLL_MS = 500
"""How long an idle queue is left alone: polling five queues every 100 ms cost 9 % of a core for nothing."""
STOP_TIMEOUT_MS = 4_000
"""A drain stops between batches, at most a second; the rest is left to the next worker."""


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
    runtime = Runtime(settings, Enqueuer(broker))
    register(broker, runtime)

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker = Worker(broker, queues=options.queues, worker_threads=options.threads, worker_timeout=IDLE_POLL_MS)
    quiet_collector()
    worker.start()
    log.info("worker.started", queues=sorted(options.queues))
    stop.wait()
    runtime.stop()
    worker.stop(timeout=STOP_TIMEOUT_MS)
    broker.close()
    log.info("worker.stopped")


if __name__ == "__main__":
    main()
