"""Reference (b)'s worker: a Dramatiq message an order, a transaction a message.

python -m bench.references.textbook_worker     (REFERENCE_BROKER_URL, REFERENCE_DATABASE_URL in the environment)
"""

import os
import signal
import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.asyncio import AsyncIO
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from bench.references.names import BROKER_URL, DATABASE_URL

broker = RedisBroker(url=os.environ[BROKER_URL])  # type: ignore[no-untyped-call]
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)

# The API process sends messages and has no database.
_engine = create_async_engine(
    os.environ.get(DATABASE_URL, "postgresql+asyncpg://").replace("postgresql://", "postgresql+asyncpg://"),
    pool_size=8,
)
_sessions = async_sessionmaker(_engine)


@dramatiq.actor
async def place_order(shopper_id: str, idempotency_key: str, quantity: int) -> None:
    """The order and its unit, in one transaction."""
    values = {"shopper": shopper_id, "key": idempotency_key, "quantity": quantity}
    async with _sessions() as session, session.begin():
        placed = await session.execute(
            text("""
                INSERT INTO orders (item_id, shopper_id, idempotency_key, quantity, price_minor)
                VALUES (1, :shopper, :key, :quantity, 1900) ON CONFLICT (idempotency_key) DO NOTHING RETURNING id
            """),
            values,
        )
        if placed.first() is not None:
            await session.execute(text("UPDATE items SET available = available - :quantity WHERE id = 1"), values)


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.start()
    stop.wait()
    worker.stop(timeout=2_000)
    broker.close()


if __name__ == "__main__":
    main()
