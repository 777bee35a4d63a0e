"""What ``acknowledged`` costs beside ``everysec``, on each topology of the gate store: ``python -m bench.durability``.

One process, one lane, closed loop: a number of buyers, each of whom tries again (with a new key) once answered. Rounds
alternate, so that a slow minute of the machine meets both. Every attempt is a sale: refusals are never kept back and
cost the same under both.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import uvloop

from backend.gate import (
    Admission,
    Attempt,
    Durability,
    Gate,
    LaneConfig,
    LaneId,
    Outcome,
    Throttle,
    reservation_bytes,
)
from stack.servers import ClusterGate, GateServer, SentinelGate

UNITS = 10_000_000
STORES: dict[str, type[Any]] = {"standalone": GateServer, "sentinel": SentinelGate, "cluster": ClusterGate}


def _config(durability: Durability) -> LaneConfig:
    now_ms = time.time_ns() // 1_000_000
    return LaneConfig(
        config_version=1,
        opens_at_ms=now_ms - 60_000,
        closes_at_ms=now_ms + 3_600_000,
        paused=False,
        per_shopper_limit=1,
        throttle=Throttle(1e6, 1_000_000, 0, 0),
        backlog_max=UNITS,
        link_epoch=1,
        link_ttl_s=300,
        accepted_epochs={1: None},
        durability=durability,
    )


async def _round(gate: Gate, durability: Durability, buyers: int, seconds: float) -> tuple[float, list[float]]:
    """Sold a second, and how long each buyer waited, in ms."""
    lane_id = LaneId(uuid4())
    await gate.load(lane_id, generation=1, nonce="0" * 32, units=UNITS, config=_config(durability))
    lane = Admission(gate).lane(lane_id)
    lane.generation = 1
    waits_ms: list[float] = []
    end_s = time.perf_counter() + seconds

    async def buyer() -> None:
        while (start_s := time.perf_counter()) < end_s:
            shopper: UUID = uuid4()
            reservation = reservation_bytes(shopper.bytes, lane_id.item_id.bytes, "one")
            decision = await lane.submit(Attempt(reservation, shopper.bytes, 1, 1))
            assert decision.outcome is Outcome.RESERVED, decision
            waits_ms.append((time.perf_counter() - start_s) * 1000)

    began_s = time.perf_counter()
    await asyncio.gather(*(buyer() for _ in range(buyers)))
    return len(waits_ms) / (time.perf_counter() - began_s), waits_ms


async def _measure(name: str, data_dir: Path, rounds: int, buyers: Sequence[int], seconds: float) -> None:
    servers: AbstractAsyncContextManager[Any] = STORES[name](data_dir)
    async with servers as store:
        gate = Gate.connect(store.url, timeout_s=5.0, name="bench")
        for count in buyers:
            rates: dict[Durability, list[float]] = {one: [] for one in Durability}
            waits: dict[Durability, list[float]] = {one: [] for one in Durability}
            for number in range(rounds):
                for durability in list(Durability)[:: 1 if number % 2 else -1]:
                    rate, waits_ms = await _round(gate, durability, count, seconds)
                    rates[durability].append(rate)
                    waits[durability] += waits_ms
            _say(name, count, rates, waits)
        await gate.close()


def _say(name: str, buyers: int, rates: dict[Durability, list[float]], waits: dict[Durability, list[float]]) -> None:
    parts = []
    for durability in Durability:
        ordered = sorted(waits[durability])
        p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
        rate = statistics.median(rates[durability])
        parts.append(f"{durability} {rate:,.0f}/s, median {p50:.2f} ms, 99 % {p99:.2f} ms")
    everysec, acknowledged = (statistics.median(rates[one]) for one in (Durability.EVERYSEC, Durability.ACKNOWLEDGED))
    sys.stdout.write(f"{name}, {buyers} buyers: {'; '.join(parts)}; sold {acknowledged / everysec:.2f} times as fast\n")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--buyers", type=int, nargs="+", default=[1, 64, 2_000])
    options.add_argument("--stores", nargs="+", choices=list(STORES), default=list(STORES))
    chosen = options.parse_args()
    for name in chosen.stores:
        with tempfile.TemporaryDirectory() as folder:
            uvloop.run(_measure(name, Path(folder), chosen.rounds, chosen.buyers, chosen.seconds))


if __name__ == "__main__":
    main()
