"""A merchant's own channels: made, tried, taken away. Their addresses are stored sealed and shown to nobody again."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import apprise
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused, invalid_field
from backend.core.ids import new_id
from backend.core.sealing import open_sealed, seal
from backend.core.signing import derive_key
from backend.models import Audience, NotificationChannel, NotificationKind
from backend.notifications import repository_channels as repository
from backend.notifications.channel import Channel, EmailChannel, SendFailed, TeamChannel
from backend.notifications.services import ASSET, NotUsable, check_public, parts_of, service_of
from backend.settings import Settings

CHANNELS_MAX = 10
"""A merchant's: each message about an order may have as many copies."""
KEY_LABEL = "notification-channel/1"


class Vault:
    """Seals channels' addresses by a key of the environment, each for its own row."""

    def __init__(self, settings: Settings) -> None:
        self._key = derive_key(settings.secret_key, KEY_LABEL)
        self._public = not (settings.is_local or settings.notify_private_hosts)

    @property
    def public(self) -> bool:
        """Whether merchants' channels may lead to public hosts alone."""
        return self._public

    def seal(self, channel_id: UUID, url: str) -> bytes:
        return seal(self._key, url, channel_id.bytes)

    def open(self, row: NotificationChannel | Row[Any], channel_id: UUID, audience: Audience) -> Channel:
        """The channel, ready to send. Raises ``SendFailed`` when its address cannot be read any more."""
        url = open_sealed(self._key, row.sealed_url, channel_id.bytes)
        if url is None:
            raise SendFailed("its address cannot be read any more: take the channel away and add it again")
        try:
            if audience is Audience.SHOPPERS:
                return EmailChannel(url, public=self._public)
            return TeamChannel(url, public=self._public)
        except ValueError as error:
            raise SendFailed(str(error)) from None


async def channels_of(
    session: AsyncSession, merchant_id: UUID
) -> tuple[Sequence[NotificationChannel], dict[UUID, Row[Any]]]:
    """A merchant's channels, and how the copies of each fared."""
    rows = await repository.channels_of(session, merchant_id)
    return rows, {row.channel_id: row for row in await repository.copies_summary(session, merchant_id)}


async def check_address(url: str, audience: Audience, *, public: bool) -> str:
    """The service of an address that a channel may have. Raises ``INVALID_FIELD``; the text shows nothing of it."""

    try:
        parts = parts_of(url, audience)
        if public:
            plugin = apprise.Apprise.instantiate(parts, asset=ASSET)
            assert plugin is not None
            await check_public(plugin)
    except NotUsable as error:
        raise invalid_field("url", str(error)) from None
    return service_of(url)


async def add_channel(
    session: AsyncSession,
    vault: Vault,
    merchant_id: UUID,
    *,
    name: str,
    audience: Audience,
    url: str,
    kinds: Sequence[NotificationKind],
) -> NotificationChannel:
    """Keep a channel. Raises ``CONFLICT`` for a name that is taken, a second way to shoppers, or too many."""
    existing = await repository.channels_of(session, merchant_id)
    if len(existing) >= CHANNELS_MAX:
        raise Refused(Code.CONFLICT, f"A merchant has at most {CHANNELS_MAX} channels: take one away first.")
    if audience is Audience.SHOPPERS and any(one.audience is Audience.SHOPPERS for one in existing):
        raise Refused(Code.CONFLICT, "There is a channel to shoppers already: take it away first.")
    channel_id = new_id()
    values = {
        "id": channel_id,
        "merchant_id": merchant_id,
        "name": name,
        "audience": audience,
        "service": service_of(url),
        "sealed_url": vault.seal(channel_id, url),
        "kinds": [kind.value for kind in kinds],
    }
    if not await repository.insert_channel(session, values):
        raise Refused(Code.CONFLICT, "A channel of this name exists already.")
    return await channel_of(session, merchant_id, channel_id)


async def channel_of(session: AsyncSession, merchant_id: UUID, channel_id: UUID) -> NotificationChannel:
    """One of a merchant's channels. Raises ``NOT_FOUND``."""
    found = await repository.channel_of(session, merchant_id, channel_id)
    if found is None:
        raise Refused(Code.NOT_FOUND)
    return found


async def remove_channel(session: AsyncSession, merchant_id: UUID, channel_id: UUID) -> NotificationChannel:
    """Take a channel away, with the copies that wait for it. Raises ``NOT_FOUND``."""
    found = await channel_of(session, merchant_id, channel_id)
    await repository.delete_channel(session, channel_id)
    return found
