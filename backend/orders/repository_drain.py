"""The drain's statements: what a batch of journal entries changes, in one transaction that holds cursor and item."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.ids import new_id
from backend.gate import EntryId, JournalEntry, LaneId
from backend.models import DeadLetter, OutboxKind, ReservationStatus
from backend.orders.identifiers import new_ids
from backend.orders.plan import GiveBack, ItemFacts, Placed, Plan, Rejection, Unappliable
from backend.orders.repository_settlement import insert_retaken, refund_late

JOURNAL = "journal"
"""Source of the dead letters that were journal entries."""


async def open_lanes(session: AsyncSession) -> dict[LaneId, EntryId]:
    """Every lane of a sale that is not reconciled, with the last entry applied (``g-0`` before the first)."""
    rows = await session.execute(
        text("""
            SELECT c.item_id, c.lane, c.generation, c.seq FROM journal_cursors c JOIN sales s ON s.id = c.sale_id
            WHERE s.stage IN ('scheduled', 'cancelled') ORDER BY c.item_id, c.lane
        """)
    )
    return {LaneId(item, lane): EntryId(generation, -1 if seq is None else seq) for item, lane, generation, seq in rows}


async def known_reservations(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, EntryId]:
    """The journal entries of those reservations that the ledger has."""
    if not ids:
        return {}
    rows = await session.execute(
        text("SELECT id, generation, seq FROM reservations WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": list(ids)},
    )
    return {one: EntryId(generation, seq) for one, generation, seq in rows}


async def write_plan(
    session: AsyncSession, plan: Plan, facts: ItemFacts, lane_id: LaneId, *, recovered: bool = False
) -> None:
    """Write all of a plan. Raises when the guarded counters do not have the units (nothing is then committed).

    ``recovered`` marks what a rebuild brings in: two histories of a fork have the same entry ids.
    """
    alike: defaultdict[tuple[ReservationStatus, Rejection | None], list[Placed]] = defaultdict(list)
    for one in plan.placed:
        alike[one.status, one.reason].append(one)
    for (status, reason), placed in alike.items():
        await insert_placed(session, placed, status, reason, facts, lane_id, recovered=recovered)
    if plan.retaken:
        await insert_retaken(session, plan.retaken, facts, lane_id, recovered=recovered)
    if plan.refunds:
        await refund_late(session, plan.refunds)
    if plan.given_back:
        await insert_given_back(session, plan.given_back, facts, lane_id)
    if plan.returned:
        await session.execute(
            text("""
                UPDATE gate_outbox SET status = 'done', done_at = now()
                WHERE id = ANY(CAST(:ids AS uuid[])) AND status IN ('pending', 'refused')
            """),
            {"ids": plan.returned},
        )
    for reduction in plan.reductions:
        await session.execute(
            text("""
                INSERT INTO ledger_entries (sale_id, item_id, kind, quantity, allotment_delta, available_delta,
                                            reserved_delta, sold_delta, command_id, generation, seq)
                VALUES (:sale, :item, 'adjust', :n, -CAST(:n AS integer), -CAST(:n AS integer), 0, 0,
                        :command, :generation, :seq)
            """),
            {
                "sale": facts.sale_id,
                "item": facts.item_id,
                "n": -reduction.entry.quantity,
                "command": reduction.command_id,
                "generation": reduction.entry.entry_id.generation,
                "seq": reduction.entry.entry_id.seq,
            },
        )
    await _move_counters(session, facts.item_id, plan)


async def _move_counters(session: AsyncSession, item_id: UUID, plan: Plan) -> None:
    reserved, sold, reduced = plan.reserved_units, plan.sold_units, plan.reduced_units
    if not (reserved or sold or reduced):
        return
    moved = await session.execute(
        text("""
            UPDATE sale_items SET available = available - CAST(:taken AS integer), reserved = reserved + :reserved,
                                  sold = sold + :sold, allotment = allotment - :reduced, version = version + 1
            WHERE id = :item AND available >= CAST(:taken AS integer)
        """),
        {
            "taken": reserved + sold + reduced,
            "reserved": reserved,
            "sold": sold,
            "reduced": reduced,
            "item": item_id,
        },
    )
    if moved.rowcount != 1:  # type: ignore[attr-defined]  # an UPDATE's cursor result has it
        raise Unappliable(f"item {item_id} has fewer than {reserved + sold + reduced} units")


async def insert_placed(
    session: AsyncSession,
    placed: Sequence[Placed],
    status: ReservationStatus,
    reason: Rejection | None,
    facts: ItemFacts,
    lane_id: LaneId,
    *,
    at_ms: int | None = None,
    recovered: bool = False,
) -> None:
    """Reservations, orders, notifications and ledger entries of one status in one statement, whatever their number.
    ``at_ms`` stands in for the entries' own stamps.

    ``unnest`` carries a batch in one round trip, three to four times faster than one VALUES row a parameter set. An
    array costs the driver 0.2 µs an element: each goes over once, and what all rows share is no array.
    """
    await session.execute(
        text("""
            WITH placed AS (
                SELECT *, CASE WHEN CAST(:status AS text) = 'reserved' THEN
                              greatest(now(), to_timestamp(at_ms / 1000.0)) + make_interval(secs => :hold)
                          END AS expires_at
                FROM unnest(CAST(:ids AS uuid[]), CAST(:orders AS uuid[]), CAST(:notifications AS uuid[]),
                            CAST(:shoppers AS uuid[]), CAST(:seqs AS bigint[]), CAST(:quantities AS integer[]),
                            CAST(:ats AS bigint[]))
                     AS t (id, order_id, notification_id, shopper_id, seq, quantity, at_ms)
            ), reserved AS (
                INSERT INTO reservations (id, sale_id, item_id, lane, generation, seq, shopper_id, quantity, status,
                                          reason, recovered, admitted_at, expires_at, ended_at)
                SELECT id, :sale, :item, :lane, :generation, seq, shopper_id, quantity, CAST(:status AS text), :reason,
                       :recovered, to_timestamp(at_ms / 1000.0), expires_at,
                       CASE WHEN CAST(:status AS text) <> 'reserved' THEN now() END
                FROM placed
            ), ordered AS (
                INSERT INTO orders (id, reservation_id, sale_id, item_id, shopper_id, sku, quantity, status,
                                    price_minor, currency, pay_by)
                SELECT order_id, id, :sale, :item, shopper_id, :sku, quantity, CAST(:status AS text), :price,
                       :currency, expires_at
                FROM placed
            ), told AS (
                INSERT INTO notifications (id, kind, status, sale_id, order_id)
                SELECT notification_id, 'order_' || CAST(:status AS text), 'pending', :sale, order_id FROM placed
                WHERE CAST(:tells AS boolean)
            )
            -- A confirmed reservation is reserved and sold in one go; the ledger shows both movements.
            INSERT INTO ledger_entries (sale_id, item_id, kind, quantity, allotment_delta, available_delta,
                                        reserved_delta, sold_delta, reservation_id, generation, seq)
            SELECT :sale, :item, k.kind, quantity, 0, k.available * quantity, k.reserved * quantity,
                   k.sold * quantity, id, :generation, seq
            FROM placed
            JOIN (VALUES ('reserved', 'reserve', -1, 1, 0), ('confirmed', 'reserve', -1, 1, 0),
                         ('confirmed', 'sell', 0, -1, 1), ('rejected', 'reject', 0, 0, 0))
                 AS k (status, kind, available, reserved, sold) ON k.status = CAST(:status AS text)
        """),
        {
            "sale": facts.sale_id,
            "item": facts.item_id,
            "lane": lane_id.lane,
            "sku": facts.sku,
            "price": facts.price_minor,
            "currency": facts.currency,
            "hold": facts.hold_s,
            "status": status.value,
            "reason": reason.value if reason else None,
            "tells": reason is not Rejection.PAYMENT_SETTLED,
            "recovered": recovered,
            "generation": placed[0].entry.entry_id.generation,  # a journal has one: the chain was verified
            "ids": [one.reservation_id for one in placed],
            "orders": new_ids(len(placed)),
            "notifications": new_ids(len(placed)),
            "shoppers": [one.shopper_id for one in placed],
            "seqs": [one.entry.entry_id.seq for one in placed],
            "quantities": [one.entry.quantity for one in placed],
            "ats": [one.entry.at_ms if at_ms is None else at_ms for one in placed],
        },
    )


async def insert_given_back(session: AsyncSession, rows: Sequence[GiveBack], facts: ItemFacts, lane_id: LaneId) -> None:
    """Outbox rows for claims whose units the gate is to take back."""
    await session.execute(
        text("""
            INSERT INTO gate_outbox (id, sale_id, item_id, lane, kind, status, quantity, reservation_id,
                                     generation, seq)
            SELECT gen_random_uuid(), :sale, :item, :lane, kind, 'pending', quantity, reservation, generation, seq
            FROM unnest(CAST(:kinds AS text[]), CAST(:quantities AS integer[]), CAST(:reservations AS uuid[]),
                        CAST(:generations AS integer[]), CAST(:seqs AS bigint[]))
                 AS t (kind, quantity, reservation, generation, seq)
        """),
        {
            "sale": facts.sale_id,
            "item": facts.item_id,
            "lane": lane_id.lane,
            "kinds": [OutboxKind.FORFEIT.value if one.forfeit else OutboxKind.RELEASE.value for one in rows],
            "quantities": [0 if one.forfeit else one.entry.quantity for one in rows],
            "reservations": [one.reservation_id for one in rows],
            "generations": [one.entry.entry_id.generation for one in rows],
            "seqs": [one.entry.entry_id.seq for one in rows],
        },
    )


async def move_cursor(session: AsyncSession, lane_id: LaneId, last: JournalEntry) -> None:
    """Everything up to ``last`` is applied."""
    await session.execute(
        text("""
            UPDATE journal_cursors SET seq = :seq, digest = :digest, left_units = :left, moved_at = now()
            WHERE item_id = :item AND lane = :lane
        """),
        {
            "seq": last.entry_id.seq,
            "digest": last.digest,
            "left": last.left,
            "item": lane_id.item_id,
            "lane": lane_id.lane,
        },
    )


async def gate_should_have(session: AsyncSession, lane_id: LaneId) -> int:
    """``ledger available − pending outbox quantity``: what the journal's ``left`` at the cursor must be (I3).

    Refused rows count like pending ones: the gate has not got their units back.
    """
    value = await session.execute(
        text("""
            SELECT i.available - coalesce((SELECT sum(o.quantity) FROM gate_outbox o
                WHERE o.item_id = i.id AND o.lane = :lane AND o.status IN ('pending', 'refused')), 0)
            FROM sale_items i WHERE i.id = :item
        """),
        {"item": lane_id.item_id, "lane": lane_id.lane},
    )
    return int(value.scalar_one())


async def insert_adjustment(
    session: AsyncSession, entry: JournalEntry, units: int, facts: ItemFacts, lane_id: LaneId
) -> None:
    """An outbox row for units that no claim of the gate's holds."""
    await session.execute(
        text("""
            INSERT INTO gate_outbox (id, sale_id, item_id, lane, kind, status, quantity, generation)
            VALUES (gen_random_uuid(), :sale, :item, :lane, 'adjust', 'pending', :units, :generation)
        """),
        {
            "sale": facts.sale_id,
            "item": facts.item_id,
            "lane": lane_id.lane,
            "units": units,
            "generation": entry.entry_id.generation,
        },
    )


async def insert_dead_letter(
    session: AsyncSession, sale_id: UUID, reference: str, error: str, payload: dict[str, str]
) -> None:
    """Keep an entry that could not be applied, with everything that it says."""
    await session.execute(
        insert(DeadLetter).values(
            id=new_id(), sale_id=sale_id, source=JOURNAL, reference=reference, error=error, payload=payload
        )
    )


async def lately_put_aside(session: AsyncSession, sale_id: UUID, *, within_s: int) -> int:
    """How many entries of a sale were put aside of late, those of this transaction among them."""
    value = await session.execute(
        text("""
            SELECT count(*) FROM dead_letters
            WHERE sale_id = :sale AND source = :source AND created_at > now() - make_interval(secs => :within)
        """),
        {"sale": sale_id, "source": JOURNAL, "within": within_s},
    )
    return int(value.scalar_one())


async def put_aside(session: AsyncSession, references: Sequence[str]) -> set[str]:
    """Those of the references that name an entry that was put aside."""
    rows = await session.execute(
        text("SELECT reference FROM dead_letters WHERE source = 'journal' AND reference = ANY(CAST(:refs AS text[]))"),
        {"refs": list(references)},
    )
    return set(rows.scalars())


async def now_ms(session: AsyncSession) -> int:
    """The database's clock."""
    value = await session.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"))
    return int(value.scalar_one())
