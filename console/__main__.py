"""`python -m console --port P`: the operator console on 127.0.0.1:P, under `/console`."""

import argparse
import sys

from pydantic import ValidationError

from console import logs, server
from console.settings import get_settings

STOP_WITHIN_S = 3
"""Open websockets are closed after this; the stack expects every process to end within 5 s."""


def main() -> int:
    """Run until SIGTERM or SIGINT; the exit status is 0 after a clean stop, 2 for bad settings."""
    parser = argparse.ArgumentParser(prog="python -m console", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    port = parser.parse_args().port
    try:
        settings = get_settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            variable = f"STAMPEDE_{'_'.join(map(str, problem['loc']))}".upper()
            sys.stderr.write(f"console: {variable}: {problem['msg']}\n")
        return 2
    app = server.build_app(settings)
    logs.configure(settings.log_level)

    import uvicorn

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=4 * 1024 * 1024,  # the browser sends widget states: kilobytes
        ws_ping_interval=20,
        timeout_graceful_shutdown=STOP_WITHIN_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
