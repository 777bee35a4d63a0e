"""The invariants of SCENARIOS as code over both stores, sharing no query with the product.

``findings`` returns what is broken, in words that begin with the invariant's number: an empty list is a pass. The
tests of concurrency show for each guard that this reports the fault when the guard is off.
"""

from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from backend.gate import EntryId, JournalBroken, verify_chain
from tests.support.shop import Shop

LIVE = ("reserved", "confirmed")
TAKES = ("reserve", "retake")


@dataclass(frozen=True)
class Held:
    """A reservation as the ledger has it."""

    id: UUID
    shopper: UUID
    quantity: int
    status: str
    generation: int
    seq: int


async def findings(shop: Shop, *, limit: int = 1, at_rest: bool = False) -> list[str]:
    """Check I1–I4, I8–I10 and I17. ``at_rest``: nothing is queued, so both stores must say the same."""
    found = [*await _ledger(shop, limit), *await _gate(shop, limit), *await _both(shop)]
    if at_rest:
        found += await _rest(shop)
    return found


async def _held(shop: Shop) -> list[Held]:
    return [
        Held(*row)
        for row in await shop.rows(
            "SELECT id, shopper_id, quantity, status, generation, seq FROM reservations WHERE item_id = :item"
        )
    ]


async def _ledger(shop: Shop, limit: int) -> list[str]:
    found = []
    counters = await shop.counters()
    sums = (counters.available, counters.reserved, counters.sold)
    if sum(sums) != counters.allotment or min(sums) < 0:
        found.append(f"I1 {counters}")
    held = await _held(shop)
    live = Counter[UUID]()
    for one in held:
        if one.status in LIVE:
            live[one.shopper] += one.quantity
    found += [f"I8 ledger: {units} units of {shopper}" for shopper, units in live.items() if units > limit]
    reserved = sum(one.quantity for one in held if one.status == "reserved")
    if (reserved, sum(live.values()) - reserved) != (counters.reserved, counters.sold):
        found.append(f"I1 reservations hold {reserved} and {sum(live.values()) - reserved}, the item says {counters}")
    doubled = await shop.rows("SELECT reservation_id FROM orders WHERE item_id = :item GROUP BY 1 HAVING count(*) > 1")
    if doubled:
        found.append(f"I4 two orders of {doubled}")
    (entries,) = await shop.rows("""
        SELECT coalesce(sum(allotment_delta), 0), coalesce(sum(available_delta), 0),
               coalesce(sum(reserved_delta), 0), coalesce(sum(sold_delta), 0)
        FROM ledger_entries WHERE item_id = :item
    """)
    if tuple(entries) != (counters.allotment, *sums):
        found.append(f"I17 entries sum to {tuple(entries)}, the item says {counters}")
    returned = await shop.rows("""
        SELECT reservation_id FROM ledger_entries WHERE item_id = :item AND kind = 'release'
        GROUP BY 1 HAVING count(*) > 1
    """)
    if returned:
        found.append(f"I10 given back twice: {returned}")
    return found


async def _gate(shop: Shop, limit: int) -> list[str]:
    found = []
    lane = shop.lane
    reading = await lane.gate.read(lane.lane_id)
    if reading.available + reading.held != reading.allotment or reading.available < 0:
        found.append(f"I2 {reading.available} + {reading.held} of {reading.allotment}")
    claims = await lane.admin.hgetall(lane.keys.claims)
    live = Counter[str]()
    for claim in claims.values():
        _, _, quantity, _, shopper, state = claim.decode().split(" ")
        if state == "live":
            live[shopper] += int(quantity)
    found += [f"I8 gate: {units} units of {shopper}" for shopper, units in live.items() if units > limit]
    if sum(live.values()) != reading.held:
        found.append(f"I2 live claims hold {sum(live.values())}, the lane says {reading.held}")
    rows = await lane.admin.hgetall(lane.keys.shoppers)
    counted = {shopper.decode(): int(row.split(b" ")[0]) for shopper, row in rows.items()}
    if {shopper: units for shopper, units in counted.items() if units} != dict(live):
        found.append("I8 the shoppers' counts are not their live claims")
    try:
        entries = await lane.journal()
        if entries:
            if entries[0].entry_id.seq != 0:
                found.append(f"I9 the journal starts with {entries[0].entry_id}")
            verify_chain(entries[0], entries[1:])
            if entries[-1].digest != reading.digest or entries[-1].entry_id != reading.last:
                found.append("I9 the lane is not at its journal's end")
            if entries[-1].left != reading.available:
                found.append(f"I9 the journal leaves {entries[-1].left}, the lane {reading.available}")
        taken = Counter(entry.cause for entry in entries if entry.kind in TAKES)
        found += [f"I4 the gate took twice for {cause}" for cause, times in taken.items() if times > 1]
        given = Counter(entry.cause for entry in entries if entry.kind == "release")
        found += [f"I10 the gate gave twice for {cause}" for cause, times in given.items() if times > 1]
    except JournalBroken as error:
        found.append(f"I9 {error}")
    return found


async def _both(shop: Shop) -> list[str]:
    """The equation at the cursor, from the counters and the outbox, and the entry at the cursor."""
    seq, left = await shop.cursor()
    if seq is None:
        return []
    found = []
    pending = await shop.one("""
        SELECT coalesce(sum(quantity), 0) FROM gate_outbox WHERE item_id = :item AND status IN ('pending', 'refused')
    """)
    available = (await shop.counters()).available
    if available - pending != left:
        found.append(f"I3 ledger {available} - pending {pending}, left {left}")
    at_cursor = await shop.lane.gate.read(shop.lane.lane_id, cursor=EntryId(shop.lane.generation, seq))
    digest = await shop.one("SELECT digest FROM journal_cursors WHERE item_id = :item")
    if at_cursor.cursor_digest != digest or at_cursor.cursor_left != left:
        found.append(f"I9 the entry at the cursor {seq} is not the one applied")
    held = await _held(shop)
    decided = {one.id.hex for one in held}
    drained = [entry for entry in await shop.lane.journal() if entry.kind in TAKES and entry.entry_id.seq <= seq]
    queued = {entry.cause for entry in drained}
    # Decided, but not as a reservation: put aside for a person.
    letters = await shop.rows("SELECT reference FROM dead_letters WHERE sale_id = :sale AND source = 'journal'")
    aside = {reference.rpartition(":")[2] for (reference,) in letters}
    undecided = {entry.cause for entry in drained if str(entry.entry_id) not in aside}
    found += [f"I4 {cause} was drained and not decided" for cause in undecided - decided]
    # What was admitted before a rebuild has no entry in this journal; the gate knows it by its claim alone.
    rebuilt = {one.id.hex: f"{one.generation} {one.seq} " for one in held if one.generation < shop.lane.generation}
    found += [f"I6 {cause} stands in the ledger alone" for cause in decided - queued - set(rebuilt)]
    claims = await shop.lane.admin.hgetall(shop.lane.keys.claims)
    found += [
        f"I7 {cause} would not find its ticket"
        for cause, entry in rebuilt.items()
        if not claims.get(cause.encode(), b"").decode().startswith(entry)
    ]
    return found


async def _rest(shop: Shop) -> list[str]:
    found = []
    counters = await shop.counters()
    reading = await shop.gate.read(shop.lane.lane_id)
    if (reading.available, reading.allotment) != (counters.available, counters.allotment):
        found.append(f"I3 at rest the gate has {reading.available} of {reading.allotment}, the ledger {counters}")
    if reading.held != counters.reserved + counters.sold:
        found.append(f"I3 at rest the gate holds {reading.held}, the ledger {counters}")
    if counters.reserved + counters.sold > counters.allotment:
        found.append(f"I1 oversold: {counters}")
    open_rows = {status: n for status, n in (await shop.outbox()).items() if status not in ("done", "superseded")}
    if open_rows:
        found.append(f"I20 not given back: {open_rows}")
    return found
