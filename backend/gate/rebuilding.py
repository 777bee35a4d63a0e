"""Rebuilding a lane: its state is cleared and written anew from the ledger, under a generation of its own.

    begin ─► refill, refill, … ─► finish

Each call names generation and nonce, and each may come again, from any number of runners: what an earlier one did
is found done, and a runner that was frozen half-way changes nothing once another rebuild has taken its place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from backend.gate.gate import Gate
from backend.gate.journal import JournalBroken, JournalEntry, read_entry
from backend.gate.keys import LaneId, keys_of
from backend.gate.outcomes import GateAnswer
from backend.gate.replies import config_fields
from backend.gate.store import unavailable_on_error
from backend.gate.values import EntryId, LaneConfig

REFILL = 500
"""Claims of one call: some milliseconds of Redis (the quickest of 20 took 2.9 on a loaded machine), for which other
lanes wait. 10,000 claims took 0.8 s in all."""
REFILL_MAX = 2_000
"""All live claims of a shopper come in one call, and a limit may allow her 1,000."""
REBUILT = "rebuilt"
"""The latch of a lane that is whole again and waits for its sale to go on. No fault: it only admits nobody."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One reservation as the gate keeps it; a closed one only answers for its key."""

    reservation_id: UUID
    shopper_id: UUID
    quantity: int
    entry_id: EntryId
    """Of the generation in which it was admitted: the ticket names it, and stays the same."""
    at_ms: int
    live: bool

    def row(self) -> str:
        """As ``admit`` and ``release`` write it."""
        generation, seq = self.entry_id
        state = "live" if self.live else "closed"
        return f"{generation} {seq} {self.quantity} {self.at_ms} {self.shopper_id.hex} {state}"


@dataclass(frozen=True, slots=True)
class Surviving:
    """A page of a journal that need not be whole."""

    entries: list[JournalEntry]
    unreadable: int
    last: EntryId | None
    """The last entry of the page, readable or not; None: the journal ends here."""


class Rebuild:
    """One rebuild of one lane. Every method raises ``GateUnavailable``."""

    def __init__(self, gate: Gate, lane_id: LaneId, *, generation: int, nonce: str) -> None:
        self._store = gate.store
        self._keys = keys_of(lane_id)
        self._generation = generation
        self._nonce = nonce

    async def begin(self, newest: EntryId | None) -> GateAnswer:
        """Clear the lane. ``newest`` is its last entry as the ledger has read it, None for a lane without a state:
        ``CONFLICT`` when the lane has gone on since, ``STALE_GENERATION`` when another rebuild took this one's place.
        """
        keys = self._keys
        reply = await self._store.run(
            "rebuild",
            (
                keys.lane,
                keys.rebuild,
                keys.journal,
                keys.before(self._generation),
                keys.config,
                keys.claims,
                keys.shoppers,
                keys.causes,
                keys.applied,
            ),
            (self._generation, self._nonce, str(newest) if newest else ""),
        )
        return GateAnswer(reply)

    async def refill(self, claims: Sequence[Claim], causes: Mapping[UUID, EntryId] | None = None) -> GateAnswer:
        """Write claims, their shoppers' rows and causes, at most ``REFILL_MAX`` claims and causes.

        All live claims of a shopper must come in one call: her row is made of them.
        """
        causes = causes or {}
        assert len(claims) + len(causes) <= REFILL_MAX, (len(claims), len(causes))
        shoppers = _shopper_rows(claims)
        args: list[Any] = [self._generation, self._nonce, len(claims), len(shoppers)]
        for claim in claims:
            args += (claim.reservation_id.hex, claim.row())
        for shopper, row in shoppers.items():
            args += (shopper, row)
        for cause, entry_id in causes.items():
            args += (cause.hex, str(entry_id))
        keys = self._keys
        reply = await self._store.run(
            "refill", (keys.lane, keys.rebuild, keys.claims, keys.shoppers, keys.causes), args
        )
        return GateAnswer(reply)

    async def finish(self, *, units: int, held: int, config: LaneConfig, latch: str = REBUILT) -> GateAnswer:
        """Write the genesis and give the lane its state back, stopped by ``latch``.

        ``CONFLICT`` when the live claims written do not hold ``held`` units.
        """
        keys = self._keys
        reply = await self._store.run(
            "reload",
            (keys.lane, keys.rebuild, keys.config, keys.journal),
            (self._generation, self._nonce, units, held, latch, *config_fields(config)),
        )
        return GateAnswer(reply[0])


def _shopper_rows(claims: Iterable[Claim]) -> dict[str, str]:
    """``units tried reservation,…`` of everybody with live claims. The last try is not in the ledger: a shopper may
    try again at once, after a rebuild."""
    units: dict[str, int] = {}
    held: dict[str, list[str]] = {}
    for claim in claims:
        if claim.live:
            shopper = claim.shopper_id.hex
            units[shopper] = units.get(shopper, 0) + claim.quantity
            held.setdefault(shopper, []).append(claim.reservation_id.hex)
    return {shopper: f"{units[shopper]} 0 {','.join(held[shopper])}" for shopper in units}


async def rebuild_under_way(gate: Gate, lane_id: LaneId) -> tuple[int, str] | None:
    """Generation and nonce of the rebuild that was begun and is not finished. Raises ``GateUnavailable``."""
    async with unavailable_on_error():
        generation, nonce = await gate.store.client.hmget(keys_of(lane_id).rebuild, "generation", "nonce")
    return (int(generation), nonce) if generation and nonce else None


async def surviving_entries(
    gate: Gate, lane_id: LaneId, *, after: EntryId | None, count: int, before: int | None = None
) -> Surviving:
    """The journal's next entries, as far as they can be read; no chain is checked. With ``before``, those of the
    journal that the rebuild of that generation put aside. Raises ``GateUnavailable``."""
    keys = keys_of(lane_id)
    journal = keys.journal if before is None else keys.before(before)
    start = f"({after}" if after else "-"
    async with unavailable_on_error():
        rows = await gate.store.client.xrange(journal, min=start, count=count)
    entries = []
    for entry_id, fields in rows:
        try:
            entries.append(read_entry(entry_id, fields))
        except JournalBroken:
            continue
    return Surviving(entries, len(rows) - len(entries), EntryId.parse(rows[-1][0]) if rows else None)
