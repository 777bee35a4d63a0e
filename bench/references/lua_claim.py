"""Reference (e): the composition's script by a flood of EVALSHA, many calls under way on one connection.

    python -m bench.references.lua_claim COUNT        (REFERENCE_GATE_URL in the environment)

What ``redis-benchmark -P 64 EVALSHA …`` does; the wheel of the gate store brings no benchmark program. Each call is
another shopper's. Prints one line of JSON: accepted, seconds.
"""

import asyncio
import json
import os
import sys
import time

import uvloop

from bench.references.names import BUCKET, CLAIM_TERMS, CLAIMS, GATE_URL, JOURNAL, STOCK
from bench.references.pipelined import CLAIM, Pipelined

PIPELINE = 64


async def flood(count: int) -> dict[str, float]:
    """``count`` claims on as many units."""
    redis = await Pipelined.connect(os.environ[GATE_URL])
    await redis.call("DEL", CLAIMS, BUCKET, JOURNAL)
    await redis.call("SET", STOCK, count)
    sha = await redis.call("SCRIPT", "LOAD", CLAIM.read_bytes())
    accepted = 0
    began_s = time.perf_counter()
    for at in range(0, count, PIPELINE):
        shoppers = [f"shopper-{number:032d}" for number in range(at, min(at + PIPELINE, count))]
        replies = await asyncio.gather(
            *(redis.call("EVALSHA", sha, 4, STOCK, CLAIMS, BUCKET, JOURNAL, one, one, *CLAIM_TERMS) for one in shoppers)
        )
        accepted += sum(1 for left in replies if left >= 0)
    took_s = time.perf_counter() - began_s
    redis.close()
    return {"accepted": accepted, "seconds": took_s}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(flood(int(sys.argv[1])))))
