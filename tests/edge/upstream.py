"""What stands behind the edge in these tests: a real ASGI server that says what it received.

``python upstream.py --port P``. A request's path chooses what happens: ``…/die`` kills the server
after the request was read, ``…/slow`` answers late; everything else is echoed. ``/api/v1/seen`` counts the
requests by path; a websocket under ``/console`` answers with what it is sent.
"""

import argparse
import asyncio
import json
import os
import signal
from collections import Counter
from typing import Any

import uvicorn

_SLOW_S = 0.3
seen: Counter[str] = Counter()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Dispatch by protocol."""
    if scope["type"] == "http":
        await _http(scope, receive, send)
    elif scope["type"] == "websocket":
        await _websocket(receive, send)


async def _http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    path = scope["raw_path"].decode("latin-1")
    if path == "/api/v1/seen":
        await _answer(send, dict(seen))
        return
    seen[path] += 1
    if path.endswith("/die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if path.endswith("/slow"):
        await asyncio.sleep(_SLOW_S)
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    await _answer(
        send, {"method": scope["method"], "path": path, "headers": headers, "body_bytes": len(body), "port": _port}
    )


async def _answer(send: Any, value: Any) -> None:
    body = json.dumps(value).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"public, max-age=60"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _websocket(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    _port = parser.parse_args().port
    uvicorn.run(app, host="127.0.0.1", port=_port, log_level="warning", lifespan="off")
