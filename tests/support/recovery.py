"""Faults of a gate store as a lane sees them, and its recovery."""

from typing import Any

from redis.asyncio import Redis

from backend.gate import Attempt, Decision, EntryId, Gate, Outcome, Ticket
from backend.models import Database
from backend.orders import Recovery, ticket_rows
from backend.settings import Settings
from tests.support.checker import findings
from tests.support.shop import Shop


class Steps(list[tuple[str, dict[str, Any]]]):
    """What a recovery says, in order."""

    def __call__(self, event: str, **figures: Any) -> None:
        self.append((event, figures))

    def figures(self, event: str) -> dict[str, Any]:
        """Of the last step of that name."""
        return [figures for name, figures in self if name == event][-1]


async def follow(shop: Shop) -> None:
    """Have the lane's handle speak of the generation that the ledger is at."""
    ((shop.lane.generation, shop.lane.nonce),) = await shop.rows(
        "SELECT generation, nonce FROM journal_cursors WHERE item_id = :item"
    )


async def recover(
    shop: Shop, settings: Settings, *, database: Database | None = None, gate: Gate | None = None
) -> Steps:
    """One tick of recovery over everything."""
    steps = Steps()
    await Recovery(database or shop.database, gate or shop.gate, settings, say=steps).tick()
    await follow(shop)
    return steps


async def lose_everything(shop: Shop) -> None:
    """The store comes back empty, its directory with it."""
    await shop.lane.admin.flushdb()


async def ask_for_rebuild(shop: Shop) -> None:
    """As an operator's command does it."""
    await shop.rows("UPDATE sales SET fault = 'rebuild', config_version = config_version + 1 WHERE id = :sale")
    await shop.rows(
        "INSERT INTO sale_events (id, sale_id, kind, alarm, detail) "
        "VALUES (gen_random_uuid(), :sale, 'sale.rebuild_requested', false, '{}')"
    )


Won = list[tuple[Attempt, Decision]]
"""Attempts that were accepted, with what they were told."""


async def buy(shop: Shop, count: int) -> Won:
    attempts = [shop.lane.attempt() for _ in range(count)]
    won = await shop.lane.admit(*attempts)
    assert {one.outcome for one in won} <= {Outcome.RESERVED}
    return list(zip(attempts, won, strict=True))


async def verdicts(shop: Shop, won: Won) -> list[str]:
    """What each ticket says: its status, with the reason of a rejection; ``queued`` for none."""
    tickets = []
    for attempt, decision in won:
        assert decision.entry_id is not None
        tickets.append(Ticket(shop.lane.lane_id, attempt.reservation_id, decision.entry_id, decision.at_ms))
    rows = await ticket_rows(shop.database, tickets)
    said = []
    for ticket in tickets:
        row = rows.get(ticket.reservation_id)
        said.append("queued" if row is None else row.reason or row.status)
    return said


async def assert_whole(shop: Shop) -> None:
    """Nothing stops the sale any more, and both stores agree."""
    await follow(shop)
    assert await shop.fault() is None
    assert await shop.lane.lane_field("fault") == ""
    await shop.settle()
    assert await findings(shop, at_rest=True) == []


async def replay(shop: Shop, won: Won) -> list[tuple[Outcome, EntryId | None, int]]:
    again = await shop.lane.admit(*(attempt for attempt, _ in won))
    return [(one.outcome, one.entry_id, one.at_ms) for one in again]


def same(won: Won) -> list[tuple[Outcome, EntryId | None, int]]:
    return [(Outcome.REPLAYED, decision.entry_id, decision.at_ms) for _, decision in won]


async def held_shop(
    database: Database, gate: Gate, admin: Redis, count: int, **more: Any
) -> tuple[Shop, list[Attempt]]:
    """A sale that asks for payment, with ``count`` holds in the ledger."""
    shop = await Shop.open(database, gate, admin, hold_s=600, **more)
    won = await buy(shop, count)
    await shop.settle()
    return shop, [attempt for attempt, _ in won]
