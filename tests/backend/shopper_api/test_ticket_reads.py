"""Tickets' rows are read together, and nobody's answer waits for what goes wrong with another's."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from backend.gate import EntryId, Ticket
from backend.shopper_api import ticket_reads
from backend.shopper_api.ticket_reads import READ_MAX, TicketReads
from tests.backend.shop import Shop

LIMIT_S = 10.0


async def test_nobody_waits_for_the_answer_of_another_that_goes_wrong(shop: Shop) -> None:
    """More tickets than one query takes; one whose answer raises, and one that the ledger has."""
    stall = await shop.sale()
    bought = await shop.buy(stall)
    await shop.drain(stall)
    reads = TicketReads(shop.database)
    answers: list[object] = []

    def ticket(reservation: UUID) -> Ticket:
        entry_id = bought.entry_id if reservation == bought.reservation_id else EntryId(1, 1_000_000)
        return Ticket(stall.lane(), reservation, entry_id, 0)

    def spoil(_: object) -> None:
        raise ValueError

    done = asyncio.Event()
    reads.read(ticket(uuid4()), spoil)
    for _ in range(READ_MAX):
        reads.read(ticket(uuid4()), answers.append)
    reads.read(ticket(bought.reservation_id), lambda row: (answers.append(row), done.set()))
    async with asyncio.timeout(LIMIT_S):
        await done.wait()
    assert answers[:-1] == [None] * READ_MAX
    assert answers[-1] is not None
    again = asyncio.Event()
    reads.read(ticket(bought.reservation_id), lambda _: again.set())
    async with asyncio.timeout(LIMIT_S):
        await again.wait()


async def test_a_database_that_hangs_is_waited_for_once_and_not_for_long(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen server keeps its callers for half a minute; shoppers hear "queued" before, and the truth after."""
    monkeypatch.setattr(ticket_reads, "PATIENCE_S", 0.3)
    stall = await shop.sale()
    bought = await shop.buy(stall)
    await shop.drain(stall)
    ticket = Ticket(stall.lane(), bought.reservation_id, bought.entry_id, 0)
    reads = TicketReads(shop.database)

    async def ask() -> object:
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        reads.read(ticket, answer.set_result)
        async with asyncio.timeout(LIMIT_S):
            return await answer

    async with shop.database.transaction() as session:
        await session.execute(text("LOCK TABLE reservations IN ACCESS EXCLUSIVE MODE"))
        assert await asyncio.gather(*(ask() for _ in range(3))) == [None] * 3
        answered: list[object] = []
        reads.read(ticket, answered.append)
        assert answered == [None], "who comes while the query hangs is told at once, and starts no other"
    reader = reads._reader
    assert reader is not None
    async with asyncio.timeout(LIMIT_S):
        await reader
    assert await ask() is not None
