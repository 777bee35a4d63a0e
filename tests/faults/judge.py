"""What a drill is judged by: the witness against both stores, at rest. Nothing here asks the platform's opinion,
but for the auditor's, which is reported beside ours."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from backend.gate import reservation_id
from tests.faults.books import Books, Page
from tests.faults.shop import RunningSale
from tests.faults.witness import LOST, Witness

LIVE = ("reserved", "confirmed")
LIMIT = 1


@dataclass(slots=True)
class Verdict:
    """The three figures that must be 0, and in words whatever else is wrong."""

    oversold: int = 0
    stranded: int = 0
    undecided: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing at all is amiss."""
        return not (self.oversold or self.stranded or self.undecided or self.findings)


async def judge(books: Books, sale: RunningSale, witness: Witness, page: Page | None, *, may_lose: bool) -> Verdict:
    """``page`` is the last reading; None when a store could not be read in time, and then everything is amiss.

    ``may_lose``: the gate's store has lost data, so that tickets may say so. Where nothing was lost they may not.
    """
    verdict = Verdict(undecided=len(witness.undecided()), findings=list(witness.broken))
    if not may_lose and (lost := witness.lost_in_failover()):
        verdict.findings.append(f"{lost} tickets say {LOST}, and no store lost anything")
    if page is None:
        verdict.stranded = sale.stock
        verdict.findings.append("the stores could not be read")
        return verdict
    if why := page.why_unbalanced():
        verdict.findings.append(why)
    reservations = await books.rows(
        "SELECT id, shopper_id, quantity, status, reason FROM reservations WHERE item_id = $1", sale.item_id
    )
    orders = await books.rows("SELECT reservation_id, status FROM orders WHERE item_id = $1", sale.item_id)
    live = units_by_shopper([dict(row) for row in reservations])
    verdict.oversold, verdict.stranded = units_amiss(page, sum(live.values()), _held_by_witness(witness))
    # Promised by the gate, and the ledger had it not: the same fault as selling it, with an apology.
    verdict.oversold += sum(row["reason"] == "no_stock" for row in reservations)
    verdict.findings += [f"I8 {who} has {units} units" for who, units in live.items() if units > LIMIT]
    verdict.findings += compare(sale, witness, [dict(row) for row in reservations])
    doubled = [one for one, times in Counter(row["reservation_id"] for row in orders).items() if times > 1]
    verdict.findings += [f"I4 two orders of {one}" for one in doubled]
    verdict.findings += await _books_add_up(books, sale)
    return verdict


def units_amiss(page: Page, live: int, witnessed: int) -> tuple[int, int]:
    """Units oversold, and stranded.

    Oversold is what is promised above the allotment: by the ledger, by the tickets in shoppers' hands, or by the gate,
    whose offer counts as sold because the next shopper takes it. Stranded is what neither a shopper has nor the gate
    offers; a gate that does not sell (stopped by a fault, or without stock) offers nothing.
    """
    ledger, gate = page.ledger, page.gate
    stopped = not gate.loaded or bool(gate.fault or ledger.fault) or gate.generation != ledger.generation
    offered = 0 if stopped else gate.available
    over = max(live, witnessed, live + offered, ledger.reserved + ledger.sold) - ledger.allotment
    under = ledger.allotment - live - offered
    return max(0, over), max(0, under)


def units_by_shopper(reservations: list[dict[str, Any]]) -> Counter[UUID]:
    """Live units by the ledger."""
    live: Counter[UUID] = Counter()
    for row in reservations:
        if row["status"] in LIVE:
            live[row["shopper_id"]] += row["quantity"]
    return live


def compare(sale: RunningSale, witness: Witness, reservations: list[dict[str, Any]]) -> list[str]:
    """No phantom, nobody with a unit told that there is none, and each ticket says what the ledger says."""
    attempts = {reservation_id(one.shopper, sale.item_id, one.key): one for one in witness.attempts.values()}
    found = []
    for row in reservations:
        attempt = attempts.pop(row["id"], None)
        if attempt is None:
            found.append(f"I6 reservation {row['id']} was asked for by nobody")
        elif row["status"] in LIVE and not attempt.accepted:
            # Whoever had no answer was asked again under her key, with the platform at rest: she must have her ticket.
            found.append(f"I7 {attempt.shopper} has a unit and was told {attempt.last}")
        elif attempt.accepted and attempt.verdict_s is not None and attempt.status != row["status"]:
            found.append(f"I11 the ticket says {attempt.status}, the ledger {row['status']}")
    # Lost with its store, it may have no row; then the ticket's signature alone tells, and says "rejected".
    return found + [
        f"I4 the ticket of {one.shopper} says {one.status}, and the ledger knows nothing"
        for one in attempts.values()
        if one.accepted and one.verdict_s is not None and one.status != "rejected"
    ]


def _held_by_witness(witness: Witness) -> int:
    return sum(one.status in LIVE for one in witness.tickets())


async def _books_add_up(books: Books, sale: RunningSale) -> list[str]:
    """I1 and I17 over the entries, I10, I12."""
    found: list[str] = []
    (row,) = await books.rows(
        """
        SELECT i.allotment, i.available, i.reserved, i.sold,
               (SELECT coalesce(sum(allotment_delta), 0) FROM ledger_entries WHERE item_id = i.id) AS allotment_sum,
               (SELECT coalesce(sum(available_delta), 0) FROM ledger_entries WHERE item_id = i.id) AS available_sum,
               (SELECT coalesce(sum(reserved_delta), 0) FROM ledger_entries WHERE item_id = i.id) AS reserved_sum,
               (SELECT coalesce(sum(sold_delta), 0) FROM ledger_entries WHERE item_id = i.id) AS sold_sum
        FROM sale_items i WHERE i.id = $1
        """,
        sale.item_id,
    )
    found += [
        f"I17 the entries make {name} {row[f'{name}_sum']}, the item says {row[name]}"
        for name in ("allotment", "available", "reserved", "sold")
        if row[name] != row[f"{name}_sum"]
    ]
    returned = await books.rows(
        "SELECT reservation_id FROM ledger_entries WHERE item_id = $1 AND kind = 'release' "
        "GROUP BY 1 HAVING count(*) > 1",
        sale.item_id,
    )
    found += [f"I10 {one['reservation_id']} was given back twice" for one in returned]
    unpaid = await books.rows(
        "SELECT o.id, o.status FROM payments p JOIN orders o ON o.id = p.order_id "
        "WHERE o.item_id = $1 AND p.status = 'captured' AND o.status NOT IN ('confirmed', 'refund_due', 'refunded')",
        sale.item_id,
    )
    found += [f"I12 order {one['id']} was paid and is {one['status']}" for one in unpaid]
    return found
