"""What other systems do, for negative controls: each lacks one guard of ours, and the checker must see it.

None of this can be switched on in the product; the tests put it in the product's place.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from backend.gate import Applied, Attempt, Batch, Decision, EntryId, Gate, GateAnswer, LaneId, LaneKeys, Outcome
from backend.gate.store import Store
from backend.orders import Drain, Drained
from tests.support.shop import Shop


class GetThenDecrGate(Gate):
    """Reads the units and the shopper's count, thinks, then takes: three commands instead of one script."""

    def __init__(self, store: Store, shop: Shop, meet: asyncio.Barrier) -> None:
        super().__init__(store)
        self._admin = shop.lane.admin
        # All processes have read before the first one takes: what chance does in production, every time.
        self._meet = meet

    async def admit(self, lane_id: LaneId, attempts: Sequence[Attempt], **knowledge: Any) -> Batch:
        keys = LaneKeys(lane_id)
        decisions = []
        for one in attempts:
            shopper = one.shopper_id.hex
            available = int(await self._admin.hget(keys.lane, "available") or 0)
            row = await self._admin.hget(keys.shoppers, shopper)
            await self._meet.wait()
            if row or available < one.quantity:
                decisions.append(Decision(Outcome.LIMIT_REACHED if row else Outcome.SOLD_OUT))
                continue
            await self._admin.hincrby(keys.lane, "available", -one.quantity)
            await self._admin.hincrby(keys.lane, "held", one.quantity)
            seq = await self._admin.hincrby(keys.lane, "seq", 1)
            reservation = one.reservation_id.hex
            await self._admin.hset(keys.shoppers, shopper, f"1 0 {reservation}")
            await self._admin.hset(keys.claims, reservation, f"1 {seq} {one.quantity} 1 {shopper} live")
            decisions.append(Decision(Outcome.RESERVED, EntryId(1, seq), 1, 1))
        return Batch(EntryId(1, 0), 0, None, decisions)


class ForgetfulReleaseGate(Gate):
    """Gives back whatever it is asked to: no cause, no claim, no upper bound."""

    async def release(self, lane_id: LaneId, releases: Any, *, generation: int) -> list[Applied]:
        keys = LaneKeys(lane_id)
        for _ in releases:
            await self.store.client.hincrby(keys.lane, "available", 1)
            await self.store.client.hincrby(keys.lane, "held", -1)
        return [Applied(GateAnswer.DONE, EntryId(1, 1), 1)] * len(releases)


class UpdateFirstDrain(Drain):
    """No cursor: reads from the start each time, takes the units first, inserts ON CONFLICT DO NOTHING second."""

    async def drain_lane(self, lane_id: LaneId) -> Drained:
        entries = await self._gate.entries(lane_id, start=EntryId(1, 0), count=1_000)
        async with self._database.transaction() as session:
            item = {"item": lane_id.item_id}
            (sale_id,) = (await session.execute(text("SELECT sale_id FROM sale_items WHERE id = :item"), item)).one()
            for entry in entries:
                if entry.kind != "reserve":
                    continue
                taken = await session.execute(
                    text("UPDATE sale_items SET available = available - 1, sold = sold + 1 "
                         "WHERE id = :item AND available > 0 RETURNING 1"), item)  # fmt: skip
                if taken.first() is None:
                    continue
                await session.execute(
                    text("""
                        INSERT INTO reservations (id, sale_id, item_id, lane, generation, seq, shopper_id, quantity,
                                                  status, admitted_at)
                        VALUES (:id, :sale, :item, 0, 1, :seq, :shopper, 1, 'confirmed', now())
                        ON CONFLICT DO NOTHING
                    """),
                    item | {"id": entry.cause, "sale": sale_id, "seq": entry.entry_id.seq, "shopper": entry.shopper},
                )
        return Drained(applied=len(entries))


class CarelessExpiry:
    """Reads what is due, then ends it: no lock, no conditional UPDATE. Two sweeps meet between reading and ending."""

    def __init__(self) -> None:
        self._both_have_read = asyncio.Barrier(2)

    async def sweep(self, shop: Shop) -> None:
        due = await shop.rows("SELECT id, seq FROM reservations WHERE status = 'reserved' AND expires_at <= now()")
        await self._both_have_read.wait()
        for reservation, seq in due:
            await shop.rows("UPDATE reservations SET status = 'expired' WHERE id = :r", r=reservation)
            await shop.rows("UPDATE sale_items SET available = available + 1, reserved = reserved - 1 "
                            "WHERE id = :item AND reserved > 0")  # fmt: skip
            await shop.rows(
                """
                INSERT INTO gate_outbox (id, sale_id, item_id, lane, kind, status, quantity, reservation_id, generation,
                                         seq)
                VALUES (:id, :sale, :item, 0, 'release', 'pending', 1, :r, 1, :seq) ON CONFLICT DO NOTHING
                """,
                id=uuid4(), r=reservation, seq=seq)  # fmt: skip
