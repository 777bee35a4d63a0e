"""Copies of messages for a merchant's team, delivered beside the messages: a chat that is down delays nobody's mail."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from jinja2 import TemplateError
from sqlalchemy import Row

from backend.core.log import get_logger
from backend.models import Audience, Database
from backend.notifications import repository, repository_channels
from backend.notifications.backing_off import ATTEMPTS_MAX, LEASE, SENDING_AT_ONCE, backoff
from backend.notifications.channel import SendFailed
from backend.notifications.channels import Vault
from backend.notifications.messages import Draft, compose
from backend.notifications.templates_own import WordsOf, own_words

log = get_logger()

TEAM = "team"
"""In the place of a recipient: where a copy goes is in the channel's address. A shopper's contact is in no copy."""


async def deliver_copies(database: Database, vault: Vault, public_url: str, *, limit: int) -> int:
    """Send up to ``limit`` due copies; how many were tried."""
    async with database.transaction() as session:
        rows = await repository_channels.claim_copies(session, limit=limit, lease=LEASE)
        found = await repository.drafts(session, [row.notification_id for row in rows]) if rows else []
        words = await own_words(session, list({row.merchant_id for row in rows}))
    drafts = {draft.notification_id: replace(draft, recipient=TEAM) for draft in found}
    free = asyncio.Semaphore(SENDING_AT_ONCE)

    async def one(row: Row) -> tuple[Row, str | None]:  # type: ignore[type-arg]
        async with free:
            return row, await _send(row, drafts[row.notification_id], vault, public_url, words)

    results = await asyncio.gather(*(one(row) for row in rows))
    async with database.transaction() as session:
        for row, error in results:
            status = "sent" if error is None else "dead" if row.attempts >= ATTEMPTS_MAX else "pending"
            wait = timedelta(0) if status != "pending" else backoff(row.attempts)
            await repository_channels.finish_copy(
                session, row.id, row.attempts, status=status, error=error, again_in=wait
            )
            if status == "dead":
                log.error("notification.copy_dead", copy_id=row.id, channel_id=row.channel_id)
    return len(rows)


async def _send(row: Row, draft: Draft, vault: Vault, public_url: str, words: WordsOf) -> str | None:  # type: ignore[type-arg]
    """None when it was handed over, else why not."""
    merchant_id: UUID = row.merchant_id
    try:
        message = compose(draft, public_url, words.get(merchant_id, {}).get(draft.kind))
        await vault.open(row, row.channel_id, Audience.TEAM).send(replace(message, key=str(row.id)))
    except (SendFailed, TemplateError) as error:
        return str(error)[:300]
    return None
