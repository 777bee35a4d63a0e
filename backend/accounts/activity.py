"""The activity log's chain: every command appends to it in its own transaction, and anybody may ask whether it holds.

A command that is one transaction has one entry, for all of it. One that runs in steps has two: for what was asked
(``begun``, before anything happens) and for the whole with its answer. So an open command is covered as well, and a
recorded answer always is.

The head's row is taken last in each of these transactions, when everything else is locked and done, and let go by the
commit that follows at once: nobody who holds it waits for anything.
"""

from dataclasses import replace
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import repository_activity as repository
from backend.accounts.activity_chain import Head, SealKey, digest_of, genesis
from backend.core.log import get_logger
from backend.models import ActivityPart

log = get_logger()


async def append(session: AsyncSession, key: SealKey, merchant_id: UUID, command_id: UUID, part: ActivityPart) -> Head:
    """Chain ``part`` of a command as it now stands in its row, and move the merchant's head.

    A head whose seal does not fit is no reason to refuse a command in the middle of a sale: the entry is chained on,
    and the head says from then on since when it is broken, under a seal that fits. Nothing takes that back but
    ``reseal``: otherwise the next command would hide what was cut off before it.
    """
    head = await _locked_head(session, key, merchant_id, command_id)
    row = await repository.command_as_stored(session, command_id)
    seq = head.entries + 1
    moved = Head(merchant_id, seq, digest_of(head.digest, seq, part, row), head.broken_since)
    await repository.insert_entry(session, merchant_id, seq, command_id, part, moved.digest)
    await repository.move_head(session, moved, key.seal(moved))
    # After the commit, so that no head is told that never was. The log is out of the database's reach: who sets the
    # database back leaves the later heads here.
    event.listen(session.sync_session, "after_commit", lambda _: _tell(moved), once=True)
    return moved


def _tell(head: Head) -> None:
    log.info("activity.head", merchant_id=head.merchant_id, entries=head.entries, digest=head.digest.hex())


async def _locked_head(session: AsyncSession, key: SealKey, merchant_id: UUID, command_id: UUID) -> Head:
    """The merchant's head, ours until the commit; marked as broken when it is not what it should be."""
    stored = await repository.lock_head(session, merchant_id)
    sound = True
    if stored is None:
        first = Head(merchant_id, 0, genesis(merchant_id))
        made = await repository.insert_head(session, first, key.seal(first))
        # The first command of a merchant, or a head that somebody took away?
        sound = not made or not await repository.has_history(session, merchant_id, but=command_id)
        stored = await repository.lock_head(session, merchant_id)
        assert stored is not None, merchant_id
    head = Head(merchant_id, stored.entries, stored.digest, stored.broken_since)
    if sound and key.fits(head, stored.seal):
        return head
    log.error("activity.seal_broken", merchant_id=merchant_id, entries=head.entries)
    return replace(head, broken_since=head.broken_since or await repository.now(session))
