"""Delivery: claim in a short transaction, send outside of any, write down what came of it.

At least once: a sender that dies between the mail server's answer and the commit sends again when its lease runs
out, under the same key. What must never happen is a message for a decision that was rolled back, and that cannot:
the row is written with the decision.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from jinja2 import TemplateError

from backend.core.log import get_logger
from backend.models import Audience, Database, NotificationChannel, NotificationKind
from backend.notifications import repository, repository_channels
from backend.notifications.backing_off import ATTEMPTS_MAX, LEASE, SENDING_AT_ONCE, backoff
from backend.notifications.channel import Channel, EmailChannel, SendFailed
from backend.notifications.channels import Vault
from backend.notifications.copies import deliver_copies
from backend.notifications.messages import Draft, compose
from backend.notifications.templates_own import WordsOf, own_words
from backend.settings import Settings

log = get_logger()

CLAIM_BATCH = 32
"""Four rounds of ``SENDING_AT_ONCE``: at most 40 s when every message runs into its 10 s."""
TIME_BUDGET_S = 60.0
"""No new batch is begun after this: with the last one's 40 s it stays below the job's limit of 120 s."""
CODE_LIFE = timedelta(minutes=10)
"""A sign-in code is of no use to anybody after that (``accounts.shoppers.CODE_TTL``)."""


@dataclass(slots=True)
class Delivery:
    """What one call did."""

    sent: int = 0
    failed: int = 0
    """To be tried again."""
    dead: int = 0


@dataclass(frozen=True, slots=True)
class _Result:
    draft: Draft
    error: str | None = None
    final: bool = False
    """No further attempt would help."""
    letter: bool = True
    """A person should hear of it."""


async def deliver_due(
    database: Database, settings: Settings, *, limit: int = 500, channel: Channel | None = None
) -> Delivery:
    """Send up to ``limit`` due messages; any number of callers at once share them out.

    A merchant's own channel goes before the platform's. What has neither is not claimed, so that nothing is lost until
    there is one.
    """
    delivery = Delivery()
    vault = Vault(settings)
    if channel is None and settings.notify_email_url is not None:
        channel = EmailChannel(settings.notify_email_url)
    stop_at = time.monotonic() + TIME_BUDGET_S
    claimed = 0
    while claimed < limit and time.monotonic() < stop_at:
        batch = await _claim(database, min(CLAIM_BATCH, limit - claimed), own_only=channel is None)
        if not batch.drafts:
            break
        claimed += len(batch.drafts)
        results = await _send_all(batch, channel, vault, settings.public_url)
        await _write_down(database, results, delivery)
    while time.monotonic() < stop_at and await deliver_copies(database, vault, settings.public_url, limit=CLAIM_BATCH):
        pass
    if claimed:
        log.info("notifications.delivered", sent=delivery.sent, failed=delivery.failed, dead=delivery.dead)
    return delivery


@dataclass(frozen=True, slots=True)
class _Batch:
    """Claimed rows, and what their merchants have said about them."""

    drafts: Sequence[Draft]
    words: WordsOf
    channels: Mapping[UUID, NotificationChannel]
    """Merchants' own ways to their shoppers."""


async def _claim(database: Database, limit: int, *, own_only: bool) -> _Batch:
    async with database.transaction() as session:
        ids = await repository.claim_due(session, limit=limit, lease=LEASE, with_own_channel=own_only)
        if not ids:
            return _Batch((), {}, {})
        drafts = await repository.drafts(session, ids)
        await repository_channels.insert_copies(session, ids)
        merchants = list({draft.merchant_id for draft in drafts if draft.merchant_id is not None})
        own = await repository_channels.shoppers_channels(session, merchants) if merchants else ()
        return _Batch(drafts, await own_words(session, merchants), {row.merchant_id: row for row in own})


async def _send_all(batch: _Batch, channel: Channel | None, vault: Vault, public_url: str) -> list[_Result]:
    free = asyncio.Semaphore(SENDING_AT_ONCE)

    async def one(draft: Draft) -> _Result:
        async with free:
            return await _send(draft, batch, channel, vault, public_url)

    return await asyncio.gather(*(one(draft) for draft in batch.drafts))


async def _send(draft: Draft, batch: _Batch, channel: Channel | None, vault: Vault, public_url: str) -> _Result:
    if draft.recipient is None:
        # A shop's own token names shoppers whose address only the shop knows: not our fault, nobody to call.
        return _Result(draft, "no contact is known", final=True, letter=False)
    if draft.kind is NotificationKind.SIGN_IN_CODE and draft.age > CODE_LIFE:
        return _Result(draft, "the code had expired before it could be sent", final=True, letter=False)
    words, own = None, None
    if draft.merchant_id is not None:
        words, own = batch.words.get(draft.merchant_id, {}).get(draft.kind), batch.channels.get(draft.merchant_id)
    try:
        message = compose(draft, public_url, words)
    except TemplateError as error:
        return _Result(draft, f"{type(error).__name__}: {error}"[:300], final=True)
    try:
        way = channel if own is None else vault.open(own, own.id, Audience.SHOPPERS)
        if way is None:
            raise SendFailed("the merchant's channel was taken away meanwhile")
        await way.send(message)
    except SendFailed as error:
        return _Result(draft, str(error), final=draft.attempts >= ATTEMPTS_MAX)
    return _Result(draft)


async def _write_down(database: Database, results: Sequence[_Result], delivery: Delivery) -> None:
    async with database.transaction() as session:
        for result in results:
            draft = result.draft
            if result.error is None:
                await repository.mark_sent(session, draft.notification_id, draft.attempts)
                delivery.sent += 1
            elif not result.final:
                await repository.mark_failed(
                    session,
                    draft.notification_id,
                    draft.attempts,
                    error=result.error,
                    again_in=backoff(draft.attempts),
                )
                delivery.failed += 1
            else:
                gone = await repository.mark_dead(session, draft.notification_id, draft.attempts, error=result.error)
                if gone and result.letter:
                    await repository.insert_dead_letter(
                        session,
                        draft.notification_id,
                        error=result.error,
                        kind=draft.kind,
                        attempts=draft.attempts,
                    )
                    log.error("notification.dead", notification_id=draft.notification_id)
                delivery.dead += 1
