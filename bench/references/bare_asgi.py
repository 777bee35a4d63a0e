"""Reference (a): a bare POST. ``python -m bench.references.bare_asgi --port P``.

The same uvicorn with the same settings as ``backend.main``, no framework: it reads the small JSON body, looks at it,
and answers JSON of the size and with the headers of a 202.
"""

import argparse
from typing import Any

import orjson
import uvicorn

from backend.core.hot import SAFE_HEADERS
from backend.main import SERVER_OPTIONS

_TICKET = "T" * 91
HEADERS = [(b"content-type", b"application/json"), *SAFE_HEADERS]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """One request, whatever its path."""
    if scope["type"] != "http":
        return
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    quantity = orjson.loads(body)["quantity"] if body else 0
    answer = orjson.dumps(
        {
            "outcome": "RESERVED",
            "ticket": _TICKET,
            "ticket_path": f"/api/v1/tickets/{_TICKET}",
            "position": quantity,
            "poll_after_ms": 300,
        }
    )
    headers = [*HEADERS, (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def serve(application: Any, description: str) -> None:
    """Run ``application`` on ``--port`` with the product's own server settings."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    uvicorn.run(application, host="127.0.0.1", port=port, http="httptools", **SERVER_OPTIONS)


if __name__ == "__main__":
    serve(app, "A bare POST.")
