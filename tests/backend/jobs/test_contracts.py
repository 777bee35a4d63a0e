"""Every job is a named contract, and asking for one never fails who asks."""

import asyncio

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, AsyncIO, Retries, TimeLimit

from backend.jobs import ALL, Enqueuer, Job, Queue, contracts, make_broker
from backend.jobs import enqueue as enqueue_module
from stack.servers import GateServer


@pytest.fixture
def broker(broker_url: str):
    broker = make_broker(broker_url)
    yield broker
    broker.close()


def _take(broker: dramatiq.Broker, queue: Queue) -> list[tuple[str, tuple, dict]]:
    consumer = broker.consume(queue.value, prefetch=100, timeout=100)
    taken = []
    try:
        while (message := next(consumer)) is not None:
            taken.append((message.actor_name, tuple(message.args), message.kwargs))
            consumer.ack(message)
    finally:
        consumer.close()
    return taken


def test_all_jobs_are_listed_named_once_and_bounded() -> None:
    spelled = [one for one in vars(contracts).values() if isinstance(one, Job)]
    assert sorted(job.name for job in spelled) == sorted(job.name for job in ALL)
    assert len({job.name for job in ALL}) == len(ALL)
    for job in ALL:
        assert 0 < job.time_limit_ms <= 120_000
        assert 0 <= job.max_retries <= 3
        # Who waits for a person is retried; a nudge is dropped when it is old, because a newer one does it all.
        assert (job.max_retries == 0) == (job.max_age_ms is not None)
    assert {job.queue for job in ALL} == set(Queue), "every queue has its work"


def test_slow_work_has_its_own_queue() -> None:
    by_queue = {queue: {job.name for job in ALL if job.queue is queue} for queue in Queue}
    assert by_queue[Queue.ORDERS] == {"orders.drain"}
    assert by_queue[Queue.NOTIFY] == {"notifications.deliver"}


def test_the_broker_has_our_queues_and_middleware(broker: dramatiq.Broker) -> None:
    assert isinstance(broker, RedisBroker)
    declared = {name for name in broker.get_declared_queues() if not name.endswith((".DQ", ".XQ"))}
    assert declared == {queue.value for queue in Queue}
    kinds = [type(one) for one in broker.middleware]
    assert {AgeLimit, TimeLimit, Retries, AsyncIO} <= set(kinds)
    assert not [kind for kind in kinds if "prometheus" in kind.__module__], "no metrics server is opened"


@pytest.mark.parametrize("job", ALL, ids=lambda job: job.name)
async def test_a_job_arrives_in_its_queue_once(broker: dramatiq.Broker, job: Job) -> None:
    arguments = ("a-sale-id",) if job is contracts.PUBLISH else ()
    assert await Enqueuer(broker)(job, *arguments) is True
    arrived = {queue: await asyncio.to_thread(_take, broker, queue) for queue in Queue}
    assert arrived.pop(job.queue) == [(job.name, arguments, {})]
    assert not any(arrived.values())


async def test_a_broker_that_is_down_is_answered_with_false(gate_server: GateServer) -> None:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    broker = make_broker(f"redis://127.0.0.1:{port}/1")
    assert await Enqueuer(broker)(contracts.DRAIN) is False
    broker.close()


async def test_a_broker_that_is_silent_is_answered_with_false_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.jobs.redis_broker.BROKER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(enqueue_module, "ENQUEUE_TIMEOUT_S", 1.0)
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    broker = make_broker(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/1")
    async with asyncio.timeout(20):
        assert await Enqueuer(broker)(contracts.DRAIN) is False
    silent.set()
    broker.close()
    server.close()
    await server.wait_closed()


async def test_a_read_only_broker_is_answered_with_false(broker: dramatiq.Broker, gate_server: GateServer) -> None:
    import redis.asyncio as redis

    admin = redis.Redis.from_url(gate_server.admin_url)
    normal = (await admin.config_get("maxmemory"))["maxmemory"]
    await admin.config_set("maxmemory", 1)
    try:
        assert await Enqueuer(broker)(contracts.DRAIN) is False
    finally:
        await admin.config_set("maxmemory", normal)
        await admin.aclose()
    assert await Enqueuer(broker)(contracts.DRAIN) is True
    assert len(await asyncio.to_thread(_take, broker, Queue.ORDERS)) == 1
