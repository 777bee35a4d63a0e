"""Reference (b), the textbook design: a FastAPI route, a Pydantic body, a redis-py call for each check, a Dramatiq
message for each order. Its worker is ``bench.references.textbook_worker``.

    python -m bench.references.textbook --port P        (REFERENCE_GATE_URL in the environment)

Sessions, window, limit, repeat window and rate are each looked up where a tutorial would keep them. It does not
oversell (DECRBY, put back when it went below zero).
"""

import os
import time
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from redis.asyncio import BlockingConnectionPool, Redis

from bench.references.bare_asgi import serve
from bench.references.names import BOUGHT, GATE_URL, RATE, SESSION, STOCK, TRIED, WINDOW
from bench.references.textbook_worker import place_order

_LIMIT, _TRIES_S, _RATE_PER_S = 1, 10, 1_000_000

app = FastAPI()
redis: Any = Redis(
    connection_pool=BlockingConnectionPool.from_url(os.environ[GATE_URL], max_connections=64, decode_responses=True)
)


class Body(BaseModel):
    quantity: Annotated[int, Field(ge=1, le=10)] = 1


class Placed(BaseModel):
    outcome: Literal["RESERVED"] = "RESERVED"
    reservation: str


@app.post("/api/v1/buy/{link}", status_code=202)
async def buy(
    link: str, body: Body, authorization: Annotated[str, Header()], idempotency_key: Annotated[str, Header()]
) -> Placed:
    """One attempt."""
    del link  # no signed links here
    shopper_id = await redis.get(SESSION + authorization.removeprefix("Bearer "))
    if shopper_id is None:
        raise HTTPException(401, {"code": "UNAUTHENTICATED"})
    opens_at = await redis.get(WINDOW)
    if opens_at is None or time.time() < float(opens_at):
        raise HTTPException(403, {"code": "NOT_OPEN"})
    if int(await redis.get(BOUGHT + shopper_id) or 0) + body.quantity > _LIMIT:
        raise HTTPException(409, {"code": "LIMIT_REACHED"})
    if not await redis.set(TRIED + shopper_id, 1, nx=True, ex=_TRIES_S):
        raise HTTPException(429, {"code": "REPEATED"})
    if await redis.incr(f"{RATE}{int(time.time())}") > _RATE_PER_S:
        raise HTTPException(429, {"code": "THROTTLED"})
    if await redis.decrby(STOCK, body.quantity) < 0:
        await redis.incrby(STOCK, body.quantity)
        raise HTTPException(409, {"code": "SOLD_OUT"})
    await redis.incrby(BOUGHT + shopper_id, body.quantity)
    place_order.send(shopper_id, idempotency_key, body.quantity)
    return Placed(reservation=idempotency_key)


if __name__ == "__main__":
    serve(app, "The textbook design.")
