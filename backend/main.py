"""``python -m backend.main --port P``: one API process. Several stand behind nginx, one for each core."""

import argparse
import sys
from typing import Any

import uvicorn

from backend.app import create_app
from backend.core.collector import quiet_collector
from backend.core.hot_protocol import hot_protocol
from backend.core.log import configure_logging
from backend.core.metrics import serve_metrics
from backend.settings import get_settings

CONNECTIONS_MAX = 16_384
"""Held-back answers and keep-alive connections of nginx together; above it uvicorn answers 503 at once."""
BACKLOG = 4_096
"""Connections that wait to be accepted: an opening brings thousands in one second. The kernel caps it too."""
GRACE_S = 4
"""Requests under way get this long at a stop; one second is left of the five for pools to close."""
KEEP_ALIVE_S = 75
"""Longer than nginx keeps its own end, so that nginx is the one who closes and no request meets a closed door."""
SERVER_OPTIONS: dict[str, Any] = {
    "loop": "uvloop",
    "ws": "none",
    "lifespan": "on",
    "log_config": None,
    "access_log": False,
    # Nothing here believes a forwarded header.
    "proxy_headers": False,
    "server_header": False,
    "date_header": False,
    "limit_concurrency": CONNECTIONS_MAX,
    "backlog": BACKLOG,
    "timeout_keep_alive": KEEP_ALIVE_S,
    "timeout_graceful_shutdown": GRACE_S,
}
"""What the benchmark's references run with too."""


def server(port: int, host: str) -> uvicorn.Server:
    """A server with our limits."""
    platform = create_app(get_settings())
    config = uvicorn.Config(platform, host=host, port=port, http=hot_protocol(platform.find_hot), **SERVER_OPTIONS)
    return uvicorn.Server(config)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="backend.main", description="One API process.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args(argv)
    configure_logging("api", get_settings().log_level)
    api = server(options.port, options.host)
    serve_metrics(get_settings().metrics_listen)
    quiet_collector()
    api.run()
    return 0 if api.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
