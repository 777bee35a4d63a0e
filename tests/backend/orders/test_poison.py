"""One entry that cannot be applied: put aside with all it says, its neighbours placed, its units sold to others; the
equation holds at every commit. What cannot be balanced, or is one of many, stops its sale and no other."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import event

from backend.gate import Attempt, EntryId, Gate, JournalEntry, Outcome, Ticket
from backend.models import Database
from backend.orders import Drained, ticket_rows
from backend.orders import drain as drain_module
from backend.orders.poison import ASIDE_MAX, Sieve
from tests.support import forge
from tests.support.checker import findings
from tests.support.shop import Counters, Shop


async def _buy(shop: Shop, count: int, **how: Any) -> list[Attempt]:
    attempts = [shop.lane.attempt(**how) for _ in range(count)]
    assert {one.outcome for one in await shop.lane.admit(*attempts)} == {Outcome.RESERVED}
    return attempts


async def _letters(shop: Shop) -> list[dict[str, Any]]:
    rows = await shop.rows(
        "SELECT reference, error, payload FROM dead_letters WHERE sale_id = :sale AND source = 'journal' ORDER BY 1"
    )
    return [{"reference": reference, "error": error, **payload} for reference, error, payload in rows]


async def _stands(shop: Shop, fault: str) -> None:
    assert await shop.fault() == fault
    assert await shop.lane.lane_field("fault") == fault
    assert (await shop.lane.buy()).outcome is Outcome.PAUSED
    assert await shop.drain() == Drained()


SPOILED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a shopper that is none": ({"shopper": "somebody"}, "release", "no shopper"),
    "no shopper": ({"shopper": ""}, "release", "no shopper"),
    "a stamp beyond all dates": ({"at": 10**17}, "release", "out of range"),
    "a stamp beyond all integers": ({"at": 10**30}, "release", "range"),
    "a reservation that is none": ({"cause": "nobody"}, "adjust", "no cause"),
    "a reservation spelled otherwise": ({"cause": "{" + uuid4().hex, "shopper": "x"}, "adjust", "no cause"),
    "NUL in a field": ({"cause": "a\0b"}, "adjust", "no cause"),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_one_bad_entry_is_put_aside_and_its_unit_is_sold_to_another(shop: Shop, name: str) -> None:
    """A script wrote one entry wrong, in the middle of a batch; its claim in the gate is real."""
    changes, way, error = SPOILED[name]
    attempts = await _buy(shop, 5)
    await forge.spoil(shop.lane, "1-3", **changes)

    drained = await shop.drain()

    assert (drained.cursor, drained.applied, drained.fault) == (EntryId(1, 5), 6, None)
    assert await findings(shop) == []
    placed = await shop.rows("SELECT id, seq FROM reservations WHERE status = 'confirmed' ORDER BY seq")
    assert placed == [(attempts[n].reservation_id, n + 1) for n in (0, 1, 3, 4)]
    (letter,) = await _letters(shop)
    assert letter["reference"] == f"{shop.item_id.hex}:0:1-3"
    assert error in letter["error"]
    assert (letter["kind"], letter["quantity"], letter["entry"]) == ("reserve", "1", "1-3")
    assert {field: letter[field].replace("\\0", "\0") for field in changes} == {
        field: str(value) for field, value in changes.items()
    }
    assert await shop.rows("SELECT kind, quantity, status FROM gate_outbox") == [(way, 1, "pending")]
    assert await shop.alarms() == ["entry.put_aside"]

    await shop.settle()

    assert await shop.fault() is None
    assert await shop.outbox() == {"done": 1}
    assert await shop.counters() == Counters(allotment=10, available=6, reserved=0, sold=4)
    assert await shop.lane.lane_field("available") == "6"
    assert await shop.alarms() == ["entry.put_aside"], "the gate took the units back without being asked twice"
    assert await findings(shop, at_rest=way == "release") == []
    outcomes = [(await shop.lane.buy()).outcome for _ in range(7)]
    assert outcomes == [Outcome.RESERVED] * 6 + [Outcome.SOLD_OUT], "every unit of the allotment is sold"
    await shop.settle()
    assert await shop.counters() == Counters(allotment=10, available=0, reserved=0, sold=10)


async def test_its_shopper_may_buy_again_and_hears_the_truth(shop: Shop) -> None:
    """Only the stamp was unreadable: the reservation ends as rejected, with an order and a message."""
    (attempt,) = await _buy(shop, 1)
    await forge.spoil(shop.lane, "1-1", at=10**17)
    await shop.drain()
    ticket = Ticket(shop.lane.lane_id, attempt.reservation_id, EntryId(1, 1), 0)
    row = (await ticket_rows(shop.database, [ticket]))[attempt.reservation_id]
    assert (row.status, row.reason) == ("rejected", "unprocessable")
    (told,) = await shop.rows("""
        SELECT o.status, n.kind, r.admitted_at BETWEEN now() - interval '1 minute' AND now()
        FROM orders o JOIN notifications n ON n.order_id = o.id JOIN reservations r ON r.id = o.reservation_id
    """)
    assert told == ("rejected", "order_rejected", True)
    assert (await shop.lane.buy(attempt.shopper_id, "again")).outcome is Outcome.LIMIT_REACHED
    await shop.settle()
    assert (await shop.lane.buy(attempt.shopper_id, "again")).outcome is Outcome.RESERVED
    assert (await shop.lane.admit(attempt))[0].outcome is Outcome.REPLAYED
    await shop.settle()
    assert await findings(shop, at_rest=True) == []


@pytest.mark.parametrize("changes", [{"shopper": "?"}, {"cause": "?"}])
async def test_a_ticket_whose_entry_cannot_be_read_is_answered_by_its_dead_letter(
    shop: Shop, changes: dict[str, str]
) -> None:
    bought, other = await _buy(shop, 2)
    await forge.spoil(shop.lane, "1-1", **changes)
    tickets = [
        Ticket(shop.lane.lane_id, one.reservation_id, EntryId(1, n), 0) for n, one in enumerate((bought, other), 1)
    ]
    assert await ticket_rows(shop.database, tickets) == {}, "queued"
    await shop.drain()
    rows = await ticket_rows(shop.database, tickets)
    assert (rows[bought.reservation_id].status, rows[bought.reservation_id].reason) == ("rejected", "unprocessable")
    assert rows[other.reservation_id].status == "confirmed"


async def test_an_entry_without_a_claim_comes_back_by_an_adjustment(shop: Shop) -> None:
    """The gate would refuse a release that nothing holds, and the unit would be stranded."""
    cause, shopper = uuid4().hex, uuid4().hex
    await forge.append(shop.lane, cause=cause, shopper=shopper, at=10**17)
    assert (await shop.drain()).fault is None
    assert await shop.rows("SELECT kind, quantity FROM gate_outbox") == [("adjust", 1)]
    await shop.settle()
    assert await shop.lane.lane_field("available") == "10"
    assert await shop.counters() == Counters(allotment=10, available=10, reserved=0, sold=0)
    assert (await shop.outbox(), await shop.alarms()) == ({"done": 1}, ["entry.put_aside"])


async def test_an_id_in_another_spelling_still_names_its_claim(shop: Shop) -> None:
    attempts = await _buy(shop, 2)
    await forge.spoil(shop.lane, "1-1", cause=str(attempts[0].reservation_id), shopper="?")
    await forge.spoil(shop.lane, "1-2", cause=attempts[1].reservation_id.hex.upper(), shopper="?")
    assert (await shop.drain()).fault is None
    assert await shop.rows("SELECT kind FROM gate_outbox") == [("release",)] * 2
    await shop.settle()
    assert await findings(shop, at_rest=True) == []


async def test_nothing_taken_is_nothing_given_back(shop: Shop) -> None:
    """A reserve of no units: the claim is closed, and no unit moves."""
    (attempt,) = await _buy(shop, 1)
    await forge.spoil(shop.lane, "1-1", quantity=0, left=10)
    await shop.lane.admin.hset(
        shop.lane.keys.claims, attempt.reservation_id.hex, f"1 1 0 1795361416047 {attempt.shopper_id.hex} live"
    )
    await shop.lane.admin.hset(shop.lane.keys.shoppers, attempt.shopper_id.hex, f"0 0 {attempt.reservation_id.hex}")
    await shop.lane.set_lane(available=10, held=0)
    await forge.append(shop.lane, quantity=0, left=10)  # and one that no claim holds
    drained = await shop.drain()
    assert (drained.applied, drained.fault) == (3, None)
    assert await shop.rows("SELECT kind, quantity FROM gate_outbox") == [("forfeit", 0)]
    await shop.settle()
    assert (await shop.outbox(), len(await _letters(shop))) == ({"done": 1}, 2)
    assert await shop.gate.live_claim(shop.lane.lane_id, attempt.reservation_id) is None
    assert await shop.counters() == Counters(allotment=10, available=10, reserved=0, sold=0)


@pytest.mark.parametrize("changes", [{"cause": "nobody"}, {"quantity": -11, "left": -1}], ids=str)
async def test_a_reduction_that_cannot_be_applied_is_undone(shop: Shop, changes: dict[str, Any]) -> None:
    await forge.append(shop.lane, **({"kind": "adjust", "quantity": -3, "left": 7} | changes))
    units = -int(changes.get("quantity", -3))
    assert (await shop.drain()).fault is None
    assert await shop.rows("SELECT kind, quantity FROM gate_outbox") == [("adjust", units)]
    assert [one for one in await findings(shop) if one.startswith("I3")] == []
    await shop.settle()
    assert await shop.lane.lane_field("available") == "10"
    assert await shop.counters() == Counters(allotment=10, available=10, reserved=0, sold=0)
    assert len(await _letters(shop)) == 1


STOPS: dict[str, dict[str, Any]] = {
    "a reserve that gave units": {"quantity": -2, "left": 9},
    "a release of nothing we know": {"kind": "release", "cause": "nobody", "left": 8},
    "a top-up of nobody's": {"kind": "adjust", "cause": "nobody", "quantity": 2, "left": 9},
    "a reduction beyond all integers": {"kind": "adjust", "quantity": -(2**40), "left": 7 - 2**40},
    "a kind of a newer version": {"kind": "transfer", "quantity": -1, "left": 6},
}


@pytest.mark.parametrize("name", STOPS)
async def test_what_cannot_be_balanced_stops_its_sale_and_no_other(
    database: Database, gate: Gate, admin: Redis, name: str
) -> None:
    """Everything before it is applied; nothing behind it is."""
    sick, healthy = [await Shop.open(database, gate, admin) for _ in range(2)]
    await _buy(sick, 3)
    await forge.append(sick.lane, **STOPS[name])
    await _buy(healthy, 1)

    drained = await sick.drain()

    assert (drained.cursor, drained.applied, drained.fault) == (EntryId(1, 3), 4, "poison")
    assert await sick.cursor() == (3, 7)
    assert await sick.reservations() == {"confirmed": 3}
    assert await sick.counters() == Counters(allotment=10, available=7, reserved=0, sold=3)
    assert (await _letters(sick), await sick.outbox()) == ([], {})
    assert await sick.alarms() == ["fault.poison"]
    (detail,) = await sick.rows("SELECT detail FROM sale_events WHERE sale_id = :sale AND alarm")
    assert detail[0]["entry"] == "1-4"
    await _stands(sick, "poison")
    assert (await healthy.drain()).applied == 2
    assert await healthy.fault() is None


async def test_the_first_of_two_that_cannot_be_balanced_is_named(shop: Shop) -> None:
    await _buy(shop, 1)
    await forge.append(shop.lane, cause="aside")
    await forge.append(shop.lane, kind="transfer")
    await forge.append(shop.lane, kind="merge")
    drained = await shop.drain()
    assert (drained.cursor, drained.fault) == (EntryId(1, 2), "poison")
    (detail,) = await shop.rows("SELECT detail FROM sale_events WHERE kind = 'fault.poison'")
    assert detail[0]["entry"] == "1-3"
    assert len(await _letters(shop)) == 1


async def _spoil(shop: Shop, *seqs: int) -> None:
    for seq in seqs:
        await forge.spoil(shop.lane, f"1-{seq}", shopper="?")


async def test_ten_are_put_aside_and_the_eleventh_stops_the_sale(database: Database, gate: Gate, admin: Redis) -> None:
    shop = await Shop.open(database, gate, admin, units=60)
    await _buy(shop, 30)
    await _spoil(shop, *range(2, 2 + 2 * ASIDE_MAX, 2))
    assert (await shop.drain()).fault is None
    assert len(await _letters(shop)) == ASIDE_MAX
    assert (await shop.reservations())["confirmed"] == 30 - ASIDE_MAX
    await shop.settle()
    assert await findings(shop, at_rest=True) == []

    await _buy(shop, 2)  # the relay's releases lie between
    last = (await shop.gate.read(shop.lane.lane_id)).seq
    cursor = await shop.cursor()
    await _spoil(shop, last)
    drained = await shop.drain()
    assert (drained.fault, drained.applied) == ("poison", 0)
    assert await shop.cursor() == cursor
    assert len(await _letters(shop)) == ASIDE_MAX, "nothing of that batch was committed"
    await _stands(shop, "poison")


async def test_a_resumed_sale_counts_anew_after_a_while(database: Database, gate: Gate, admin: Redis) -> None:
    shop = await Shop.open(database, gate, admin, units=60)
    await _buy(shop, 12)
    await _spoil(shop, *range(1, 12))
    assert (await shop.drain()).fault == "poison"
    await shop.rows("UPDATE sales SET fault = NULL WHERE id = :sale")
    assert (await shop.drain()).fault == "poison", "as long as the entries are there, the version is broken"
    await shop.rows("UPDATE sales SET fault = NULL WHERE id = :sale")
    await _spoil_back(shop)
    await shop.drain()
    assert await shop.fault() is None
    assert len(await _letters(shop)) == ASIDE_MAX
    await shop.rows("UPDATE dead_letters SET created_at = now() - interval '11 minutes'")
    await shop.lane.reconfigure(clear_fault=True)
    await _buy(shop, 1)
    await _spoil(shop, (await shop.gate.read(shop.lane.lane_id)).seq)
    assert (await shop.drain()).fault is None
    assert len(await _letters(shop)) == ASIDE_MAX + 1


async def _spoil_back(shop: Shop) -> None:
    """The mended version reads the eleventh."""
    await forge.spoil(shop.lane, "1-11", shopper=uuid4().hex)


async def test_a_thousand_neighbours_cost_a_few_more_statements(database: Database, gate: Gate, admin: Redis) -> None:
    """Halving: 2 · log2(1,000) parts, not 1,000."""
    shop = await Shop.open(database, gate, admin, units=1_000)
    for _ in range(10):
        await _buy(shop, 100)
    await forge.spoil(shop.lane, "1-777", shopper="?")
    savepoints = 0

    def count(_: Any) -> None:
        nonlocal savepoints
        savepoints += 1

    engine = database.engine.sync_engine
    event.listen(engine, "savepoint", lambda connection, name: count(name))
    drained = await shop.drain()
    assert (drained.applied, drained.fault) == (1_001, None)
    assert await shop.reservations() == {"confirmed": 999}
    assert 10 < savepoints <= 24
    assert await findings(shop) == []


async def test_twenty_drains_at_once_put_it_aside_once(shop: Shop) -> None:
    await _buy(shop, 4)
    await _spoil(shop, 2)
    await asyncio.gather(*(shop.drain() for _ in range(20)))
    while (await shop.drain()).applied:
        pass
    assert len(await _letters(shop)) == 1
    assert (await shop.alarms(), await shop.outbox()) == (["entry.put_aside"], {"pending": 1})
    await shop.settle()
    assert await findings(shop, at_rest=True) == []


async def test_dying_before_the_commit_leaves_nothing_of_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await _buy(shop, 3)
    await _spoil(shop, 2)

    class Dies(Sieve):
        async def sift(self, *args: Any) -> Any:
            await super().sift(*args)
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(drain_module, "Sieve", Dies)
        with pytest.raises(RuntimeError):
            await shop.drain()
    assert (await _letters(shop), await shop.reservations(), await shop.outbox()) == ([], {}, {})
    assert (await shop.drain()).applied == 4
    await shop.settle()
    assert await findings(shop, at_rest=True) == []


class ForgetsTheUnits(Sieve):
    """Puts the entry aside, as many queues do, and nothing else."""

    async def _give_back(self, entry: JournalEntry, units: int) -> str:
        return ""


async def test_control_a_dead_letter_that_keeps_its_units_is_seen(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await _buy(shop, 3)
    await _spoil(shop, 2)
    monkeypatch.setattr(drain_module, "Sieve", ForgetsTheUnits)
    assert (await shop.drain()).fault == "drift", "the product's own eyes"
    assert [one for one in await findings(shop) if one.startswith("I3 ledger 8 - pending 0, left 7")]


class ReleasesBlindly(Sieve):
    """Never asks the gate what holds the units."""

    async def _give_back(self, entry: JournalEntry, units: int) -> str:
        back = drain_module.repository_drain.GiveBack(entry, drain_module.repository_drain.UUID(entry.cause))
        await drain_module.repository_drain.insert_given_back(self._session, [back], self._facts, self._lane_id)
        return "release"


async def test_control_a_release_of_what_no_claim_holds_is_seen(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await forge.append(shop.lane, shopper="?")
    monkeypatch.setattr(drain_module, "Sieve", ReleasesBlindly)
    await shop.settle()
    assert await shop.outbox() == {"refused": 1}
    assert [one for one in await findings(shop, at_rest=True) if one.startswith("I20 not given back")]


async def test_bytes_that_are_no_text_stop_their_sale_and_no_other(
    database: Database, gate: Gate, admin: Redis
) -> None:
    """An entry that cannot even be read: the journal is broken there, and the drain goes on with the next lane."""
    sick, healthy = [await Shop.open(database, gate, admin) for _ in range(2)]
    await _buy(healthy, 1)
    await admin.xadd(sick.lane.keys.journal, {b"kind": b"reserve", b"cause": b"\xff\xfe"}, id="1-1")
    assert (await sick.drain()).fault in ("forked", "regressed")
    assert (await healthy.drain()).applied == 2
    assert await healthy.fault() is None


async def test_a_phantom_behind_a_bad_entry_is_still_judged_by_what_is_left(
    database: Database, gate: Gate, admin: Redis
) -> None:
    """The parts after the first know what the ones before them took: a unit too many is rejected, not put aside."""
    shop = await Shop.open(database, gate, admin, units=4)
    await forge.phantom(shop.lane, units=2)
    await _buy(shop, 6)
    await _spoil(shop, 3)
    assert (await shop.drain()).fault == "no_stock"
    assert await shop.rows("SELECT status, reason FROM reservations ORDER BY seq DESC LIMIT 2") == [
        ("rejected", "no_stock"), ("confirmed", None),
    ]  # fmt: skip
    assert (len(await _letters(shop)), (await shop.reservations())["confirmed"]) == (1, 4)
    assert await shop.counters() == Counters(allotment=4, available=0, reserved=0, sold=4)
