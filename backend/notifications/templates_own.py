"""A merchant's own words for its messages: kept when they are sound, and gone back from."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused
from backend.models import NotificationKind
from backend.notifications import repository_channels as repository
from backend.notifications.wording import Words, problems

WordsOf = Mapping[UUID, Mapping[NotificationKind, Words]]


async def own_words(session: AsyncSession, merchants: Sequence[UUID]) -> WordsOf:
    """Every merchant's own words, by kind."""
    found: dict[UUID, dict[NotificationKind, Words]] = {}
    for row in await repository.templates_of(session, merchants) if merchants else ():
        found.setdefault(row.merchant_id, {})[row.kind] = Words(row.subject, row.body)
    return found


async def set_words(session: AsyncSession, merchant_id: UUID, kind: NotificationKind, words: Words) -> None:
    """From now on messages of this kind have these words. Raises ``INVALID_FIELD`` with everything that is wrong."""
    wrong = problems(kind, words)
    if wrong:
        raise Refused(
            Code.INVALID_FIELD,
            "These words cannot be sent as they are.",
            errors=[{"field": one.field, "message": one.message} for one in wrong],
        )
    await repository.put_template(session, merchant_id, kind, words.subject, words.body)


async def reset_words(session: AsyncSession, merchant_id: UUID, kind: NotificationKind) -> None:
    """Go back to the platform's words."""
    await repository.delete_template(session, merchant_id, kind)
