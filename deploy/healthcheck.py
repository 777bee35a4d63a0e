"""Is this container's process well? Exit status 0 or 1, and a line that says why.

``healthcheck.py http URL``: it answers 200.

``healthcheck.py works``: for a process that listens on nothing (worker, clock). It holds a connection to the broker,
and its threads have been scheduled within ``WATCH_S``: an idle worker looks at its queues twice a second, the clock
wakes every second, so a process that was not scheduled once is frozen or waits for a lock that never comes. Limit:
one stuck thread beside others that run is not seen; the alarms of docs/operations.md tell of work that is not done.
"""

import http.client
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

ANSWER_TIMEOUT_S = 3.0
WATCH_S = 2.5
HTTP_OK = 200
DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}

_PROC = Path("/proc")
_ESTABLISHED = "01"


def answers(url: str) -> str | None:
    """Why the URL does not answer 200; None when it does."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {type(error).__name__}"
    finally:
        connection.close()
    return None if status == HTTP_OK else f"{url}: answers {status}"


def works(pid: int, broker_port: int) -> str | None:
    """Why the process is not at work; None when it is."""
    before = _switches(pid)
    if before is None:
        return f"process {pid} is gone"
    if not _is_connected(pid, broker_port):
        return f"no connection to port {broker_port}, the broker's"
    time.sleep(WATCH_S)
    after = _switches(pid)
    if after is None or after <= before:
        return f"process {pid} was not scheduled within {WATCH_S} s"
    return None


def broker_port(url: str) -> int:
    """The port in a broker's URL, or its scheme's own."""
    parts = urlsplit(url)
    return parts.port or DEFAULT_PORTS[parts.scheme]


def _switches(pid: int) -> int | None:
    """How often the process's threads have gone to sleep of their own accord so far."""
    total, threads = 0, 0
    for status in _PROC.glob(f"{pid}/task/*/status"):
        try:
            lines = status.read_text().splitlines()
        except OSError:
            continue  # a thread that has just ended
        threads += 1
        total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))
    return total if threads else None


def _is_connected(pid: int, port: int) -> bool:
    """Whether something in the process's network namespace (in a container: it alone) is connected to the port."""
    for table in ("tcp", "tcp6"):
        try:
            rows = (_PROC / str(pid) / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            _, _, remote, state, *_ = row.split()
            if state == _ESTABLISHED and int(remote.rpartition(":")[2], 16) == port:
                return True
    return False


def main(argv: list[str]) -> int:
    match argv:
        case ["http", url]:
            fault = answers(url)
        case ["works"]:
            # The command itself is the container's first process: the entry point has become it.
            fault = works(1, broker_port(os.environ["STAMPEDE_BROKER_URL"]))
        case _:
            fault = "usage: healthcheck.py http URL | works"
    sys.stdout.write(f"{fault or 'well'}\n")
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
