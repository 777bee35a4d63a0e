"""Every drill there is. The CI size takes those with ``ci_seeds``; the long size takes all, twenty seeds each."""

import signal
from dataclasses import replace

from tests.faults.drill import Drill
from tests.faults.platform import Shape
from tests.faults.proxy import Weather
from tests.faults.seams import POINTS
from tests.faults.shop import Terms
from tests.faults.tools import (
    drop_replies,
    fail_over,
    freeze,
    freeze_replicas,
    full_disk,
    kill,
    kill_at,
    kill_back_end,
    kill_one_of,
    kill_primary,
    latency,
    lock_row,
    one_after_the_other,
    shut_down,
    weather,
    without_data,
    without_tail,
)

CI_KILL_POINTS = (
    "drain.before-commit",
    "drain.after-commit",
    "relay.after-telling",
    "notify.after-sending",
    "admit.after-script",
)
CI_KILL_SEEDS = 3
AT_ONCE = (0.0, 0.5)
HOLDS = Terms(stock=40, shoppers=70, spread_s=2.0, hold_s=5)
"""Payment is asked for, a quarter of the holds runs out: units go back through the relay and are sold again."""
QUICK = Terms(stock=50, shoppers=90, spread_s=2.5)
LONG_SPREAD = Terms(spread_s=6.0)
_NEED_HOLDS = ("expiry.", "relay.", "settle.")
_FEW = ("expiry.", "relay.")
"""What a sale of a drill does once or twice: holds that began together end together."""
SMALL_DISKS = Shape(small_disks=True)
SENTINEL, CLUSTER = Shape(topology="sentinel"), Shape(topology="cluster")
WAKE_S = {"sentinel": 15.0, "cluster": 5.0}
"""Sentinels tell a primary that wakes to follow the new one after some ten seconds; until then it answers readers.
The nodes of a cluster tell it at once."""
RABBITMQ = Shape(broker="rabbitmq")


def _kill_points() -> list[Drill]:
    return [
        Drill(
            point,
            f"kill -9, {where}",
            kill_at(point, nth_max=1 if point.startswith(_FEW) else 3),
            HOLDS if point.startswith(_NEED_HOLDS) else QUICK,
            ci_seeds=CI_KILL_SEEDS if point in CI_KILL_POINTS else 0,
            after_s=AT_ONCE,
        )
        for point, where in POINTS.items()
    ]


def _kills() -> list[Drill]:
    return [
        Drill("kill.api", "kill -9 of one API process", kill_one_of("api")),
        Drill("kill.both-api", "kill -9 of both API processes", kill("api-1", "api-2")),
        Drill("kill.worker", "kill -9 of one worker", kill_one_of("worker")),
        Drill("kill.both-workers", "kill -9 of both workers, twice", kill("worker-1", "worker-2", times=2)),
        Drill("kill.clocks", "kill -9 of both clocks", kill("clock-1", "clock-2")),
        Drill("kill.edge", "kill -9 of nginx", kill("edge"), ci_seeds=1),
        Drill("kill.gate", "kill -9 of the gate, append-only file kept", kill("gate"), HOLDS, ci_seeds=1),
        Drill("kill.gate-thrice", "the same three times in a row", kill("gate", times=3), LONG_SPREAD),
        Drill("kill.postgres", "kill -9 of the postmaster", kill("postgres"), HOLDS),
        Drill("kill.back-end", "kill -9 of one PostgreSQL back end", kill_back_end("stampede-worker"), ci_seeds=1),
        Drill("stop.postgres", "PostgreSQL shut down at once (SIGQUIT)", shut_down("postgres", signal.SIGQUIT)),
        Drill("stop.gate", "the gate shut down (SIGTERM)", shut_down("gate", signal.SIGTERM)),
        Drill("kill.broker", "kill -9 of the broker, data kept", kill("broker")),
        Drill(
            "kill.everything",
            "kill -9 of gate, PostgreSQL, broker, workers, clocks and API at once",
            kill("gate", "postgres", "broker", "worker-1", "worker-2", "clock-1", "clock-2", "api-1", "api-2"),
            HOLDS,
        ),
    ]


def _losses() -> list[Drill]:
    gate = [
        Drill("lost.gate", "the gate comes back without its data", without_data("gate"), HOLDS, ci_seeds=1),
        Drill("lost.tail", "the gate loses its newest entries, sale going on", without_tail(), HOLDS, ci_seeds=1),
        Drill("lost.tail-quiet", "the same when all is sold and nobody writes", without_tail(quiet=True), QUICK),
        Drill(
            "lost.gate-twice",
            "the gate comes back without its data, and again while it is rebuilt",
            one_after_the_other(without_data("gate"), without_data("gate"), pause_s=2.0),
            HOLDS,
        ),
    ]
    return [
        *(replace(drill, may_lose=True) for drill in gate),
        Drill("lost.broker", "the broker comes back without its data", without_data("broker"), ci_seeds=1),
    ]


def _freezes() -> list[Drill]:
    return [
        Drill("freeze.api", "one API process stopped and continued", freeze("api-1"), LONG_SPREAD),
        Drill("freeze.worker", "one worker stopped and continued", freeze("worker-1"), HOLDS),
        Drill("freeze.both-workers", "both workers", freeze("worker-1", "worker-2"), LONG_SPREAD),
        Drill("freeze.clock", "one clock of two", freeze("clock-1"), HOLDS, ci_seeds=1),
        Drill("freeze.edge", "nginx", freeze("edge"), LONG_SPREAD),
        Drill("freeze.gate", "the gate", freeze("gate"), LONG_SPREAD, ci_seeds=1),
        Drill("freeze.postgres", "PostgreSQL", freeze("postgres"), LONG_SPREAD),
        Drill("freeze.broker", "the broker", freeze("broker"), LONG_SPREAD),
    ]


def _partitions() -> list[Drill]:
    pairs = ("api-gate", "worker-gate", "api-postgres", "worker-postgres")
    ci = {("api-gate", Weather.SILENT), ("worker-postgres", Weather.SILENT)}
    drills = [
        Drill(
            f"{kind}.{pair}",
            f"{words} between {pair.replace('-', ' and ')}",
            weather(pair, kind),
            LONG_SPREAD,
            ci_seeds=int((pair, kind) in ci),
        )
        for kind, words in (
            (Weather.SILENT, "packets dropped"),
            (Weather.DOWN, "connections refused"),
            (Weather.RESET, "connections reset"),
        )
        for pair in pairs
    ]
    drills += [
        Drill(f"latency.{pair}", f"300 ms more between {pair.replace('-', ' and ')}", latency(pair, 0.3))
        for pair in pairs
    ]
    drills += [
        Drill(
            f"reply-lost.{pair}",
            f"five answers lost between {pair.replace('-', ' and ')}",
            drop_replies(pair),
            HOLDS,
            ci_seeds=int(pair == "api-gate"),
        )
        for pair in pairs
    ]
    return drills


def _failovers() -> list[Drill]:
    drills = []
    for shape in (SENTINEL, CLUSTER):
        name = shape.topology
        drills += [
            Drill(
                f"failover.{name}",
                f"{name}: primary frozen, another elected, the old one wakes",
                fail_over(),
                LONG_SPREAD,
                shape,
                ci_seeds=1,
                may_lose=True,
            ),
            Drill(
                f"failover.{name}-acknowledged",
                f"the same, durability `acknowledged` ({name})",
                fail_over(),
                replace(LONG_SPREAD, durability="acknowledged"),
                shape,
                ci_seeds=1,
            ),
            Drill(
                f"failover.{name}-killed",
                f"{name}: primary frozen, another elected, the old one killed and back on its data",
                fail_over(then_kill=True),
                LONG_SPREAD,
                shape,
                may_lose=True,
            ),
            Drill(f"kill.{name}-primary", f"{name}: kill -9 of the primary", kill_primary(), LONG_SPREAD, shape),
            Drill(f"freeze.{name}-replicas", f"{name}: every replica frozen", freeze_replicas(), LONG_SPREAD, shape),
        ]
    drills.append(
        Drill(
            "kill.sentinels",
            "kill -9 of all three sentinels",
            kill("sentinel-1", "sentinel-2", "sentinel-3"),
            LONG_SPREAD,
            SENTINEL,
        )
    )
    return [replace(drill, linger_s=WAKE_S[drill.shape.topology]) for drill in drills]


def _rabbitmq() -> list[Drill]:
    return [
        Drill("kill.rabbitmq", "RabbitMQ: kill -9, data kept", kill("broker"), HOLDS, RABBITMQ),
        Drill("freeze.rabbitmq", "RabbitMQ: stopped and continued", freeze("broker"), LONG_SPREAD, RABBITMQ, 1),
    ]


def _others() -> list[Drill]:
    return [
        Drill("lock.hot-row", "the item's row held by somebody else", lock_row(), LONG_SPREAD, ci_seeds=1),
        Drill("disk.gate", "the gate's disk full, and healed", full_disk("gate"), LONG_SPREAD, SMALL_DISKS, 1),
        Drill("disk.postgres", "PostgreSQL's log disk full, and healed", full_disk("postgres"), HOLDS, SMALL_DISKS, 1),
    ]


DRILLS: dict[str, Drill] = {
    drill.name: drill
    for drill in (
        *_kill_points(),
        *_kills(),
        *_losses(),
        *_freezes(),
        *_partitions(),
        *_others(),
        *_rabbitmq(),
        *_failovers(),
    )
}
CONTROL_DRILL = Drill("control", "nothing but a broken part", kill_at("clock.after-slots"), HOLDS, rest_within_s=14.0)
"""What a broken product is put through: one harmless fault, and the judge."""
