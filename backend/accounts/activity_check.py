"""Whether a merchant's activity log is the one that was recorded: read anew from its first entry, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import repository_activity as repository
from backend.accounts.activity_chain import Head, SealKey, digest_of, genesis
from backend.models import ActivityPart, Database

PAGE_ROWS = 500
"""An answer on record may be some 20 kB: 10 MB at a time, whatever the log's length."""


class Break(StrEnum):
    """How a log is not what was recorded. The spelling is a contract with the console."""

    ALTERED = "altered"
    """An entry's command, or its place, is not what its digest was made of: edited, or put elsewhere."""
    REMOVED = "removed"
    """An entry, or the command it stands for, is gone."""
    ADDED = "added"
    """A command, or its answer, that no entry stands for; or entries beyond the head."""
    CUT = "cut"
    """The log is shorter than its head, or than the head that was kept elsewhere."""
    SEAL = "seal"
    """The head is not one that the platform sealed, or is gone."""
    MARKED = "marked"
    """A seal that did not fit was met before, and what came after was chained on."""
    FORKED = "forked"
    """The entry at the place of the head that was kept elsewhere has another digest."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The first thing that is wrong."""

    reason: Break
    entry: int | None = None
    command_id: UUID | None = None
    kind: str | None = None
    at: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A head as somebody noted it, outside of the database."""

    entries: int
    digest: bytes


@dataclass(slots=True)
class Checked:
    """What a check found."""

    head: Head
    at: datetime
    entries: int = 0
    """Read and found good."""
    first_broken: Broken | None = None

    @property
    def verified(self) -> bool:
        return self.first_broken is None


@dataclass(slots=True)
class _Walk:
    """The chain as far as it was read."""

    digest: bytes
    seq: int = 0
    kept: Kept | None = None
    broken: Broken | None = None

    def take(self, page: Sequence[Row[Any]]) -> None:
        """Follow the chain through a page, up to the first entry that does not fit."""
        for row in page:
            self.broken = self._fault(row)
            if self.broken is not None:
                return
            self.seq, self.digest = row.seq, row.digest

    def _fault(self, row: Row[Any]) -> Broken | None:
        place = self.seq + 1
        if row.seq != place:
            return Broken(Break.REMOVED, place)
        if row.id is None:
            return Broken(Break.REMOVED, place, row.command_id)
        if digest_of(self.digest, place, ActivityPart(row.part), row) != row.digest:
            return Broken(Break.ALTERED, place, row.id, row.kind, row.at)
        if self.kept is not None and place == self.kept.entries and row.digest != self.kept.digest:
            return Broken(Break.FORKED, place, row.id, row.kind, row.at)
        return None


async def check_activity(database: Database, key: SealKey, merchant_id: UUID, *, kept: Kept | None = None) -> Checked:
    """Read a merchant's log from its first entry and say whether it is the one that was recorded.

    Pages are short transactions of their own, up to the head as it was at the start, so a check holds nothing up, and
    commands that are recorded meanwhile are the next check's. It cannot see that the whole database was set back to
    an earlier moment, head included: ``kept``, a head from the log files or from an earlier check, can.
    """
    async with database.transaction() as session:
        at = await repository.now(session)
        stored = await repository.head_and_last(session, merchant_id)
        recorded = stored.entries is not None
        empty = not recorded and not await repository.has_history(session, merchant_id, but=None)
    head = Head(merchant_id, stored.entries or 0, stored.digest or genesis(merchant_id), stored.broken_since)
    checked = Checked(head, at)
    walk = _Walk(genesis(merchant_id), kept=kept)
    until = max(head.entries, stored.last or 0)
    while walk.seq < until and walk.broken is None:
        async with database.transaction() as session:
            page = await repository.entries_after(session, merchant_id, after=walk.seq, until=until, limit=PAGE_ROWS)
        if not page:
            break
        walk.take(page)
    checked.entries = walk.seq
    checked.first_broken = walk.broken or _at_the_end(key, head, stored, walk, sealed=recorded or empty)
    if checked.first_broken is None and not empty:
        async with database.transaction() as session:
            row = await repository.unchained(session, merchant_id)
        if row is not None:
            checked.first_broken = Broken(Break.ADDED, None, row.id, row.kind, row.at)
    return checked


def _at_the_end(key: SealKey, head: Head, stored: Row[Any], walk: _Walk, *, sealed: bool) -> Broken | None:
    """What the head says against where the entries end."""
    if not sealed:
        return Broken(Break.SEAL)
    kept = walk.kept
    if walk.seq < head.entries or (kept is not None and walk.seq < kept.entries):
        return Broken(Break.CUT, walk.seq + 1)
    if walk.seq > head.entries:
        return Broken(Break.ADDED, head.entries + 1)
    if (stored.seal is not None and not key.fits(head, stored.seal)) or walk.digest != head.digest:
        return Broken(Break.SEAL)
    if head.broken_since is not None:
        return Broken(Break.MARKED, since=head.broken_since)
    return None


async def reseal(database: Database, key: SealKey, merchant_id: UUID) -> Head:
    """Seal the head anew where the entries end: after the secret was changed, or after a break was looked into.

    Whoever calls it stands for the log as it is. Nothing else about the log is changed, so entries that do not fit
    stay findings.
    """
    async with database.transaction() as session:
        stored = await repository.lock_head(session, merchant_id)
        if stored is None:
            first = Head(merchant_id, 0, genesis(merchant_id))
            await repository.insert_head(session, first, key.seal(first))
            await repository.lock_head(session, merchant_id)
        last = await repository.last_entry(session, merchant_id)
        head = Head(merchant_id, last.seq, last.digest) if last else Head(merchant_id, 0, genesis(merchant_id))
        await repository.move_head(session, head, key.seal(head))
    return head


async def merchants_named(session: AsyncSession, name: str | None) -> Sequence[Row[Any]]:
    """(id, name) of every merchant, or of the one that is called so."""
    return await repository.merchants(session, name)
