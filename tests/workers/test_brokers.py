"""Sending and receiving, on either broker: the enqueuer and real consumers, without worker processes."""

import asyncio
import gc
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Self

import dramatiq
import pytest
import pytest_asyncio

from backend.gate import Gate
from backend.jobs import ALL, Enqueuer, Job, JobBroker, Queue, contracts, limits, make_broker, messages
from tests.support.brokers import FAULTS, BrokerServer
from workers.clock import EVERY_S, Clock

WITHIN_S = 40
"""For what must happen at last; a consumer that lost its broker comes back every three seconds."""


async def eventually(what: str, look: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not look():
        assert time.monotonic() < until, f"{what}: not within {WITHIN_S} s"
        await asyncio.sleep(0.02)


@pytest_asyncio.fixture(loop_scope="session")
async def broker_server(running: BrokerServer) -> AsyncIterator[BrokerServer]:
    await running.empty()
    yield running
    # What pika had open over a connection that was killed goes with the next collection: now, not in another's test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest_asyncio.fixture(loop_scope="session")
async def enqueuer(broker_server: BrokerServer) -> AsyncIterator[Enqueuer]:
    opened = Enqueuer(make_broker(broker_server.url))
    yield opened
    await asyncio.to_thread(opened.close)


class Hands:
    """A dramatiq worker of two threads whose actors only write down what reached them."""

    def __init__(self, url: str, queues: set[str]) -> None:
        self.done: list[tuple[str, tuple]] = []
        self.broker: JobBroker = make_broker(url)
        self.failing: set[str] = set()
        for job in ALL:
            self._bind(job)
        self._worker = dramatiq.Worker(self.broker, queues=queues, worker_threads=2, worker_timeout=100)

    def _bind(self, job: Job) -> None:
        def work(*args: str) -> None:
            self.done.append((job.name, args))
            if job.name in self.failing:
                raise RuntimeError("it always does")

        dramatiq.actor(
            work, broker=self.broker, actor_name=job.name, queue_name=job.queue.value, max_retries=job.max_retries,
            max_age=job.max_age_ms,
        )  # fmt: skip

    def names(self) -> list[str]:
        return [name for name, _ in self.done]

    def __enter__(self) -> Self:
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.stop(timeout=3_000)
        self.broker.close()


@pytest.fixture
def hands(broker_server: BrokerServer) -> Iterator[Hands]:
    with Hands(broker_server.url, {queue.value for queue in Queue}) as working:
        yield working


async def test_every_job_reaches_its_actor(hands: Hands, enqueuer: Enqueuer) -> None:
    for job in ALL:
        assert await enqueuer(job, *(("a-sale-id",) if job is contracts.PUBLISH else ()))
    await eventually("every job", lambda: len(hands.done) == len(ALL))
    assert sorted(hands.names()) == sorted(job.name for job in ALL)
    assert ("pages.publish", ("a-sale-id",)) in hands.done


async def test_one_thread_and_one_connection_send_for_a_hundred_callers(enqueuer: Enqueuer) -> None:
    before = threading.active_count()
    assert all(await asyncio.gather(*(enqueuer(contracts.DRAIN) for _ in range(limits.WAITING_MAX // 20))))
    assert threading.active_count() <= before + 1


async def test_a_nudge_that_is_too_old_is_dropped(
    broker_server: BrokerServer, hands: Hands, enqueuer: Enqueuer
) -> None:
    assert contracts.DRAIN.max_age_ms is not None
    stale: dramatiq.Message[None] = dramatiq.Message(
        queue_name="orders", actor_name="orders.drain", args=(), kwargs={}, options={},
        message_timestamp=int(time.time() * 1_000) - contracts.DRAIN.max_age_ms - 1,
    )  # fmt: skip
    sender = make_broker(broker_server.url)
    await asyncio.to_thread(sender.enqueue, stale)
    assert await enqueuer(contracts.EXPIRE)
    await eventually("the fresh one", lambda: "orders.expire" in hands.names())
    assert hands.names() == ["orders.expire"]
    await asyncio.to_thread(sender.close)


async def test_a_queue_that_nobody_works_on_stops_growing(broker_server: BrokerServer, enqueuer: Enqueuer) -> None:
    sent = [await enqueuer(contracts.DRAIN) for _ in range(limits.WAITING_MAX + 5)]
    assert sent == [True] * limits.WAITING_MAX + [False] * 5
    assert await broker_server.waiting("orders") == limits.WAITING_MAX
    assert await enqueuer(contracts.NOTIFY), "the other queues take what they are given"
    await broker_server.empty()
    assert await enqueuer(contracts.DRAIN)


GARBAGE = {
    "not JSON": b"\xff\xfe no JSON",
    "a list": b"[1, 2]",
    "an empty object": b"{}",
    "nothing": b"null",
    "an unknown actor": b'{"queue_name":"orders","actor_name":"orders.nonsense","args":[],"kwargs":{},"options":{},'
    b'"message_id":"m","message_timestamp":1}',
    "another queue's job": b'{"queue_name":"pages","actor_name":"pages.states","args":[],"kwargs":{},"options":{},'
    b'"message_id":"m","message_timestamp":1}',
    "another queue's name": b'{"queue_name":"pages","actor_name":"orders.drain","args":[],"kwargs":{},"options":{},'
    b'"message_id":"m","message_timestamp":1}',
    "options that are none": b'{"queue_name":"orders","actor_name":"orders.drain","args":[],"kwargs":{},"options":7,'
    b'"message_id":"m","message_timestamp":1}',
    "an id that is none": b'{"queue_name":"orders","actor_name":"orders.drain","args":[],"kwargs":{},"options":{},'
    b'"message_id":["m"],"message_timestamp":1}',
    "arguments by name": b'{"queue_name":"orders","actor_name":"orders.drain","args":[],"kwargs":{"self":1},'
    b'"options":{},"message_id":"m","message_timestamp":1}',
    "a time that is none": b'{"queue_name":"orders","actor_name":"orders.drain","args":[],"kwargs":{},"options":{},'
    b'"message_id":"m","message_timestamp":"soon"}',
}


async def _survives(broker_server: BrokerServer, hands: Hands, enqueuer: Enqueuer) -> list[str]:
    """What was done after each kind of garbage was put on the queue three times, and a real job after it."""
    await broker_server.put("orders", *(3 * list(GARBAGE.values())))
    assert await enqueuer(contracts.DRAIN)
    await eventually("the job behind the garbage", lambda: "orders.drain" in hands.names())
    return hands.names()


async def test_garbage_on_a_queue_harms_nobody(broker_server: BrokerServer, enqueuer: Enqueuer) -> None:
    """Two threads work, so a kind of garbage that ends one would have ended both."""
    with Hands(broker_server.url, {"orders"}) as hands:
        assert await enqueuer(contracts.DRAIN)  # the queues are there
        await eventually("the first", lambda: len(hands.done) == 1)
        hands.done.clear()
        assert await _survives(broker_server, hands, enqueuer) == ["orders.drain"]
        assert all(thread.is_alive() for thread in hands._worker.workers)


async def test_garbage_is_found_harmful_without_the_check(
    broker_server: BrokerServer, enqueuer: Enqueuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: dramatiq alone loses its threads to it."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # it is meant to happen
    for module in ("redis_broker", "rabbitmq_broker"):
        __import__(f"backend.jobs.{module}")
        monkeypatch.setattr(f"backend.jobs.{module}.is_ours", lambda *_: True)
    with Hands(broker_server.url, {"orders"}) as hands:
        assert await enqueuer(contracts.DRAIN)
        await eventually("the first", lambda: len(hands.done) == 1)
        for _ in hands._worker.workers:
            await broker_server.put("orders", GARBAGE["another queue's name"])
        await eventually("no thread left", lambda: not any(thread.is_alive() for thread in hands._worker.workers))


async def test_a_job_that_always_fails_starves_nobody(hands: Hands, enqueuer: Enqueuer) -> None:
    hands.failing = {"orders.expire", "pages.publish"}
    for _ in range(20):
        assert await enqueuer(contracts.EXPIRE)
        assert await enqueuer(contracts.PUBLISH, "a-sale-id")
    assert await enqueuer(contracts.SETTLE)  # of the failing one's queue
    assert await enqueuer(contracts.PAGE_STATES)
    await eventually("both", lambda: {"orders.settle", "pages.states"} <= set(hands.names()))
    await eventually("all of the failing", lambda: hands.names().count("orders.expire") == 20)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broker_at_fault_holds_up_neither_sender_nor_clock(
    broker_server: BrokerServer, gate_url: str, fault: str
) -> None:
    """Each tick ends, the second as the first; no thread is added by asking again; afterwards all is well by itself."""
    enqueuer = Enqueuer(make_broker(broker_server.url))
    gate = Gate.connect(gate_url, timeout_s=10.0, name="tests")
    clock = Clock(gate, enqueuer)
    try:
        assert await enqueuer(contracts.DRAIN)
        threads = threading.active_count()
        async with broker_server.suffering(fault):
            async with asyncio.timeout(WITHIN_S):
                first = await enqueuer(contracts.DRAIN)
                assert first is False
                for second in range(5_000, 5_010):
                    await clock.tick(second)
            assert threading.active_count() <= threads
        until = time.monotonic() + WITHIN_S
        while not await enqueuer(contracts.DRAIN):
            assert time.monotonic() < until, f"{fault}: still refused"
            await asyncio.sleep(0.1)
        assert len(await clock.tick(6_000)) == len(EVERY_S)
    finally:
        await gate.close()
        async with asyncio.timeout(WITHIN_S):
            await asyncio.to_thread(enqueuer.close)


def test_well_formed_is_what_we_send() -> None:
    for job in ALL:
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=job.queue.value, actor_name=job.name, args=("x", 1), kwargs={}, options={}
        )
        proxy = dramatiq.MessageProxy(message)
        assert messages.is_ours(proxy, job.queue.value)
        assert not messages.is_ours(proxy, "elsewhere")
        assert not messages.is_ours(proxy, f"{job.queue.value}.DQ"), "it lay on another queue than it says"
