"""Reference (f), the bare composition: ASGI, one pipelined script an attempt, a journal. Its consumer is
``bench.references.consumer``.

    python -m bench.references.composition --port P        (REFERENCE_GATE_URL in the environment)

It sells exactly its stock, once a shopper, with a token bucket and a journal that survives; it has no identity (the
bearer token is taken at its word), no replay and no ledger entries: what those cost is the difference to us.
"""

import os
from typing import Any

import orjson

from bench.references.bare_asgi import HEADERS, serve
from bench.references.names import BUCKET, CLAIM_TERMS, CLAIMS, GATE_URL, JOURNAL, STOCK
from bench.references.pipelined import CLAIM, Pipelined

_OUTCOMES = {-1: (429, "REPEATED"), -2: (409, "SOLD_OUT"), -3: (429, "THROTTLED")}


class Composition:
    """The ASGI application."""

    def __init__(self) -> None:
        self._redis: Pipelined | None = None
        self._sha = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        headers = dict(scope["headers"])
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        orjson.loads(body)
        assert self._redis is not None
        shopper, reservation = headers[b"authorization"], headers[b"idempotency-key"]
        left = await self._redis.call(
            "EVALSHA", self._sha, 4, STOCK, CLAIMS, BUCKET, JOURNAL, shopper, reservation, *CLAIM_TERMS
        )
        if left >= 0:
            status, answer = 202, orjson.dumps({"outcome": "RESERVED", "left": left})
        else:
            status, code = _OUTCOMES[left]
            answer = orjson.dumps({"code": code, "status": status})
        sized = [*HEADERS, (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": sized})
        await send({"type": "http.response.body", "body": answer})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        self._redis = await Pipelined.connect(os.environ[GATE_URL])
        self._sha = await self._redis.call("SCRIPT", "LOAD", CLAIM.read_bytes())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._redis.close()
        await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    serve(Composition(), "The bare composition.")
