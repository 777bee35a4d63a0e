"""The faults themselves, each a function from its parameters to what a drill injects."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from tests.faults.drill import Inject, Scene
from tests.faults.freezing import frozen, send
from tests.faults.proxy import Weather

KILL_POINT_WITHIN_S = 30.0
"""Holds run out, and units come back, within ten seconds of the opening."""


def kill_at(point: str, *, nth_max: int = 3) -> Inject:
    """Whoever comes to a point of its work for the first, second or third time ends there."""

    async def inject(scene: Scene) -> None:
        nth = scene.random.randint(1, nth_max)
        scene.platform.arms.arm(point, nth)
        if await scene.platform.arms.taken(point, within_s=KILL_POINT_WITHIN_S):
            scene.begin()

    return inject


def kill(*names: str, times: int = 1, pause_s: float = 2.0) -> Inject:
    """``kill -9``, of these at once; again after a pause."""

    async def inject(scene: Scene) -> None:
        for again in range(times):
            if again:
                await asyncio.sleep(pause_s)
            for server in [scene.platform.server(name) for name in names]:
                if server.pid is not None:
                    os.kill(server.pid, signal.SIGKILL)
            scene.begin()

    return inject


def kill_one_of(role: str) -> Inject:
    """``kill -9`` of one of a pair."""

    async def inject(scene: Scene) -> None:
        server = scene.random.choice(scene.platform.of_role(role))
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        scene.begin()

    return inject


def shut_down(name: str, number: signal.Signals) -> Inject:
    """A server is told to end, by a signal that it obeys; the supervisor starts it again."""

    async def inject(scene: Scene) -> None:
        server = scene.platform.server(name)
        assert server.pid is not None
        os.kill(server.pid, number)
        scene.begin()

    return inject


def freeze(*names: str, short_s: float = 4.0, long_s: float = 20.0) -> Inject:
    """SIGSTOP, and SIGCONT some seconds later."""

    async def inject(scene: Scene) -> None:
        with frozen(*(scene.platform.server(name) for name in names)):
            scene.begin()
            await scene.for_s(short_s, long_s)
        scene.end()

    return inject


def fail_over(*, then_kill: bool = False) -> Inject:
    """The primary of the sale's lane is frozen until another is elected; then it wakes, or is killed and comes back."""

    async def inject(scene: Scene) -> None:
        old = await scene.platform.primary(scene.sale.item_id)
        with frozen(old) as stopped:
            scene.begin()
            new = await scene.platform.next_primary(old, scene.sale.item_id)
            scene.notes.append(f"{new.name} after {old.name}")
            await scene.for_s(1.0, 5.0)
            if then_kill:
                send(stopped, signal.SIGKILL)
        scene.end()

    return inject


def kill_primary() -> Inject:
    """``kill -9`` of the primary of the sale's lane; the supervisor starts it again at once."""

    async def inject(scene: Scene) -> None:
        primary = await scene.platform.primary(scene.sale.item_id)
        assert primary.pid is not None
        os.kill(primary.pid, signal.SIGKILL)
        scene.begin()

    return inject


def freeze_replicas(*, short_s: float = 8.0, long_s: float = 20.0) -> Inject:
    """No replica follows: the primary must stop selling rather than sell what it alone knows."""

    async def inject(scene: Scene) -> None:
        with frozen(*await scene.platform.replicas(scene.sale.item_id)):
            scene.begin()
            await scene.for_s(short_s, long_s)
        scene.end()

    return inject


def weather(proxy: str, kind: Weather, *, short_s: float = 4.0, long_s: float = 20.0) -> Inject:
    """A partition, or worse, between two kinds of processes."""

    async def inject(scene: Scene) -> None:
        between = scene.platform.proxies[proxy]
        scene.begin()
        try:
            between.change(kind)
            await scene.for_s(short_s, long_s)
        finally:
            between.change(Weather.FAIR)
            scene.end()

    return inject


def latency(proxy: str, seconds: float, *, short_s: float = 3.0, long_s: float = 20.0) -> Inject:
    """Every answer comes later."""

    async def inject(scene: Scene) -> None:
        between = scene.platform.proxies[proxy]
        scene.begin()
        try:
            between.latency_s = seconds
            await scene.for_s(short_s, long_s)
        finally:
            between.latency_s = 0.0
            scene.end()

    return inject


def drop_replies(proxy: str, times: int = 5, every_s: float = 0.3) -> Inject:
    """Answers get lost, one after the other: what was asked has been done, and nobody is told."""

    async def inject(scene: Scene) -> None:
        between = scene.platform.proxies[proxy]
        for _ in range(times):
            before = between.dropped_replies
            between.drop_reply_once()
            await _until(lambda before=before: between.dropped_replies > before, 10.0)
            scene.begin()
            await asyncio.sleep(every_s)

    return inject


def without_data(name: str) -> Inject:
    """A store loses its folder and its process: it comes back empty."""

    async def inject(scene: Scene) -> None:
        server = scene.platform.server(name)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        shutil.rmtree(scene.platform.data_dir / name / "appendonlydir")
        os.kill(server.pid, signal.SIGKILL)
        scene.begin()

    return inject


def without_tail(*, share: float = 0.3, quiet: bool = False) -> Inject:
    """The gate loses the end of its append-only file, as a failover to a lagging replica would.

    ``quiet``: when everything is sold and nothing new is written afterwards.
    """

    async def inject(scene: Scene) -> None:
        if quiet:
            await _sold_out(scene)
        server = scene.platform.server("gate")
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        file = _newest_part(scene.platform.data_dir / "gate" / "appendonlydir")
        size = file.stat().st_size
        lost = int(_bytes_of_sale(file, scene) * share)
        os.truncate(file, size - lost)
        scene.notes.append(f"{lost} of {size} bytes lost")
        os.kill(server.pid, signal.SIGKILL)
        scene.begin()

    return inject


def _newest_part(folder: Path) -> Path:
    return max(folder.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)


def _bytes_of_sale(file: Path, scene: Scene) -> int:
    """What the file has of this sale: from the first mention of its lane to the end."""
    at = file.read_bytes().find(scene.sale.item_id.hex.encode())
    assert at >= 0, "the sale is not in the append-only file"
    return file.stat().st_size - at


def kill_back_end(application: str) -> Inject:
    """``kill -9`` of one PostgreSQL back end: the postmaster ends all others and recovers."""

    async def inject(scene: Scene) -> None:
        rows = await scene.books.rows("SELECT pid FROM pg_stat_activity WHERE application_name = $1", application)
        assert rows, f"{application} has no connection"
        os.kill(scene.random.choice(rows)["pid"], signal.SIGKILL)
        scene.begin()

    return inject


def lock_row(*, short_s: float = 6.0, long_s: float = 30.0) -> Inject:
    """The hot row is held by somebody who does not let go."""

    async def inject(scene: Scene) -> None:
        async with _connected(scene) as connection, connection.transaction():
            await connection.execute("SELECT 1 FROM sale_items WHERE id = $1 FOR UPDATE", scene.sale.item_id)
            scene.begin()
            await scene.for_s(short_s, long_s)
        scene.end()

    return inject


@asynccontextmanager
async def _connected(scene: Scene) -> AsyncIterator[asyncpg.Connection]:
    connection = await scene.platform.postgres.connect()
    try:
        yield connection
    finally:
        connection.terminate()


def full_disk(name: str, *, short_s: float = 4.0, long_s: float = 15.0) -> Inject:
    """The disk below a store is full for some seconds."""

    async def inject(scene: Scene) -> None:
        disk = scene.platform.disks[name]
        scene.begin()
        try:
            await asyncio.to_thread(disk.fill)
            if name == "postgres":
                await _use_up_wal(scene)
            await scene.for_s(short_s, long_s)
        finally:
            disk.heal()
            scene.end()

    return inject


async def _use_up_wal(scene: Scene) -> None:
    """Segments that are there already are written without asking for space: go through them."""
    try:
        async with _connected(scene) as connection:
            for _ in range(64):
                await connection.execute("SELECT pg_logical_emit_message(false, 'drill', 'x'), pg_switch_wal()")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        scene.notes.append(f"the ledger stopped: {type(error).__name__}")


def one_after_the_other(*faults: Inject, pause_s: float = 1.0) -> Inject:
    """Several faults in one sale."""

    async def inject(scene: Scene) -> None:
        for number, fault in enumerate(faults):
            if number:
                await asyncio.sleep(pause_s)
            await fault(scene)

    return inject


async def _sold_out(scene: Scene) -> None:
    async def look() -> bool:
        page = await scene.books.page(scene.sale.item_id)
        return page is not None and page.ledger.sold == scene.sale.stock

    await _until_true(look, 60.0)


async def _until(look: Callable[[], bool], within_s: float) -> None:
    async def ask() -> bool:
        return look()

    await _until_true(ask, within_s)


async def _until_true(look: Callable[[], Awaitable[bool]], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not await look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:.0f} s")
        await asyncio.sleep(0.05)
