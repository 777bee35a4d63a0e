"""Delivery: claim in a short transaction, send outside of any, write down what came of it.

At least once: a sender that dies between the mail server's answer and the commit sends again when its lease runs
out, under the same key. What must never happen is a message for a decision that was rolled back, and that cannot:
the row is written with the decision.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from jinja2 import TemplateError

from backend.core.log import get_logger
from backend.models import Database, NotificationKind
from backend.notifications import repository
from backend.notifications.channel import Channel, EmailChannel, SendFailed
from backend.notifications.messages import Draft, compose
from backend.settings import Settings

log = get_logger()

ATTEMPTS_MAX = 8
SENDING_AT_ONCE = 8
CLAIM_BATCH = 32
"""Four rounds of ``SENDING_AT_ONCE``: at most 40 s when every message runs into its 10 s."""
LEASE = timedelta(seconds=120)
"""Three times that."""
TIME_BUDGET_S = 60.0
"""No new batch is begun after this: with the last one's 40 s it stays below the job's limit of 120 s."""
BACKOFF_FIRST_S, BACKOFF_MAX_S = 5.0, 900.0
"""5, 10, 20 … s: the eighth attempt comes about ten minutes after the first."""
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

    Without a configured channel nothing is claimed, so that nothing is lost until there is one.
    """
    delivery = Delivery()
    if channel is None:
        if settings.notify_email_url is None:
            return delivery
        channel = EmailChannel(settings.notify_email_url)
    stop_at = time.monotonic() + TIME_BUDGET_S
    claimed = 0
    while claimed < limit and time.monotonic() < stop_at:
        drafts = await _claim(database, min(CLAIM_BATCH, limit - claimed))
        if not drafts:
            break
        claimed += len(drafts)
        results = await _send_all(drafts, channel, settings.public_url)
        await _write_down(database, results, delivery)
    if claimed:
        log.info("notifications.delivered", sent=delivery.sent, failed=delivery.failed, dead=delivery.dead)
    return delivery


async def _claim(database: Database, limit: int) -> list[Draft]:
    async with database.transaction() as session:
        ids = await repository.claim_due(session, limit=limit, lease=LEASE)
        return await repository.drafts(session, ids) if ids else []


async def _send_all(drafts: Sequence[Draft], channel: Channel, public_url: str) -> list[_Result]:
    free = asyncio.Semaphore(SENDING_AT_ONCE)

    async def one(draft: Draft) -> _Result:
        async with free:
            return await _send(draft, channel, public_url)

    return await asyncio.gather(*(one(draft) for draft in drafts))


async def _send(draft: Draft, channel: Channel, public_url: str) -> _Result:
    if draft.recipient is None:
        # A shop's own token names shoppers whose address only the shop knows: not our fault, nobody to call.
        return _Result(draft, "no contact is known", final=True, letter=False)
    if draft.kind is NotificationKind.SIGN_IN_CODE and draft.age > CODE_LIFE:
        return _Result(draft, "the code had expired before it could be sent", final=True, letter=False)
    try:
        message = compose(draft, public_url)
    except TemplateError as error:
        return _Result(draft, f"{type(error).__name__}: {error}"[:300], final=True)
    try:
        await channel.send(message)
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


def backoff(attempts: int) -> timedelta:
    """The wait after a failed attempt: doubled each time, bounded, half of it random, so that what failed
    together does not come back together."""
    full_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (attempts - 1))
    return timedelta(seconds=full_s * random.uniform(0.5, 1.0))  # noqa: S311 no secret depends on it
