"""How everything that a sale depends on is, in one word each, for the console."""

import time
from collections.abc import Sequence
from typing import Literal, TypeAlias

from backend.gate import Gate, GateUnavailable, Heartbeat, Heartbeats
from backend.models import Database
from backend.sales import database_now

DependencyState: TypeAlias = Literal["up", "slow", "down", "unknown"]
"""``unknown``: whoever would tell does not answer."""
BEAT_EVERY_S = 2.0
_SILENT_AFTER_MS = 6_000
"""Three beats."""
_IDLE_AFTER_S = 10
"""The clock has a job for each worker process every second, and one that runs long leaves the others their threads."""
_SLOW_AFTER_S = 0.25
"""A question that both stores answer in about a millisecond; a shopper's buy waits for the gate's answer."""


async def dependencies(database: Database, gate: Gate) -> dict[str, DependencyState]:
    """Database, gate, broker, workers and clock. Raises what ``database`` raises when it is down."""
    began_s = time.monotonic()
    async with database.transaction() as session:
        await database_now(session)
    database_is = _speed(time.monotonic() - began_s)
    began_s = time.monotonic()
    try:
        beats = await Heartbeats(gate).read()
    except GateUnavailable:
        return {"database": database_is, "gate": "down", "broker": "unknown", "workers": "unknown", "clock": "unknown"}
    gate_is = _speed(time.monotonic() - began_s)
    return {"database": database_is, "gate": gate_is, **judge(beats)}


def _speed(took_s: float) -> DependencyState:
    return "slow" if took_s > _SLOW_AFTER_S else "up"


def judge(beats: Sequence[Heartbeat]) -> dict[str, DependencyState]:
    """Broker, workers and clock by their signs of life."""
    alive = [one for one in beats if one.age_ms <= _SILENT_AFTER_MS]
    clocks = [one for one in alive if one.kind == "clock"]
    workers = [one for one in alive if one.kind == "worker"]
    took = {one.said for one in clocks} - {""}
    # Two clocks share the nudges: one that could not send the newest of its own tells of now.
    broker: DependencyState = "unknown" if not took else "down" if "down" in took else "up"
    return {
        "broker": broker,
        "workers": _workers(workers, has_jobs=broker == "up"),
        "clock": "up" if clocks else "down",
    }


def _workers(workers: Sequence[Heartbeat], *, has_jobs: bool) -> DependencyState:
    if not workers:
        return "down"
    idle = has_jobs and min(int(one.said) for one in workers) > _IDLE_AFTER_S
    return "slow" if idle else "up"
