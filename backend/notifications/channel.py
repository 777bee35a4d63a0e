"""The way out: one message at a time through apprise, bounded in time, its contacts kept out of every log.

apprise hands out True or False; the reason stands in its log, next to the address in clear text. So its logger
is taken off the process's logs, and what a send says there is caught, masked, and told as the reason.
"""

import asyncio
import logging
from contextvars import ContextVar
from typing import Any, Protocol

import apprise
from apprise.plugins import url_to_dict

from backend.core.text import mask_contact
from backend.models import Audience
from backend.notifications.messages import Message
from backend.notifications.services import ASSET, NotUsable, check_public, parts_of

SEND_TIMEOUT_S = 10.0
SOCKET_TIMEOUT_S = 8.0
"""For each step of the SMTP dialogue. Below the other: a thread cannot be cancelled, so the socket must end it."""
REASON_MAX_CHARS = 300
KEY_HEADER = "X-Notification-Id"
"""apprise makes a fresh ``Message-ID`` for every try, so the stable key travels in a header of our own."""

_TAKES_HEADERS = frozenset({"json", "jsons", "form", "forms"})

_said: ContextVar[list[str] | None] = ContextVar("said", default=None)


class SendFailed(Exception):
    """The message was not handed over, or nobody knows whether it was. The text names no contact."""


class Channel(Protocol):
    """A way to hand over a message."""

    async def send(self, message: Message) -> None:
        """Hand it over, or raise ``SendFailed``."""
        ...


class _Caught(logging.Handler):
    """Collects what apprise says while a message is sent. Its threads run in a copy of our context."""

    def emit(self, record: logging.LogRecord) -> None:
        said = _said.get()
        text = record.getMessage()
        if said is not None and (record.levelno >= logging.WARNING or text.startswith("Socket Exception")):
            said.append(text)


def _take_over_log() -> None:
    """Send apprise's log lines to ``_Caught`` alone, once a process."""
    logger = logging.getLogger("apprise")
    if not any(isinstance(handler, _Caught) for handler in logger.handlers):
        logger.handlers[:] = [_Caught()]
        logger.propagate = False
        logger.setLevel(logging.DEBUG)


class EmailChannel:
    """E-mail by an apprise URL, such as ``mailto://127.0.0.1:2525?from=shop@example.org``."""

    def __init__(self, url: str, *, public: bool = False) -> None:
        """Raises ValueError for a URL that apprise cannot use; the text does not repeat it (it may hold a password).

        ``public``: of a merchant's own, refuse hosts inside at each send.
        """
        _take_over_log()
        self._public = public
        self._parts: dict[str, Any] | None = url_to_dict(url)  # type: ignore[no-untyped-call]
        if self._parts is None or self._plugin("nobody@example.org", "check") is None:
            raise ValueError("STAMPEDE_NOTIFY_EMAIL_URL is no e-mail URL that apprise knows")

    def _plugin(self, recipient: str, key: str) -> apprise.NotifyBase | None:
        assert self._parts is not None
        headers = {**self._parts.get("headers", {}), KEY_HEADER: key, "Auto-Submitted": "auto-generated"}
        # A fresh plugin for each message: the recipient is part of it, and it sleeps between two sends of its own.
        return apprise.Apprise.instantiate(
            {**self._parts, "targets": [recipient], "headers": headers, "format": "text", "cto": SOCKET_TIMEOUT_S},
            asset=ASSET,
        )

    async def send(self, message: Message) -> None:
        """Hand a message to the mail server. Raises ``SendFailed`` when that is not certain to have happened."""
        plugin = self._plugin(message.recipient, message.key)
        if plugin is None:
            raise SendFailed("the mail channel refuses this recipient")
        await _hand_over(plugin, message, public=self._public)


class TeamChannel:
    """Any service of ``services``, to where its address leads: the message's recipient plays no part."""

    def __init__(self, url: str, *, public: bool) -> None:
        """Raises ``NotUsable``. ``public`` refuses hosts inside at each send."""
        _take_over_log()
        self._parts = parts_of(url, Audience.TEAM)
        self._public = public

    async def send(self, message: Message) -> None:
        """Hand it to the service. Raises ``SendFailed`` when that is not certain to have happened."""
        parts = {**self._parts, "cto": SOCKET_TIMEOUT_S, "rto": SOCKET_TIMEOUT_S}
        if self._parts["schema"] in _TAKES_HEADERS:
            parts["headers"] = {**self._parts.get("headers", {}), KEY_HEADER: message.key}
        plugin = apprise.Apprise.instantiate(parts, asset=ASSET)
        assert plugin is not None, "it was one when the channel was opened"
        await _hand_over(plugin, message, public=self._public)


async def _hand_over(plugin: apprise.NotifyBase, message: Message, *, public: bool) -> None:
    said: list[str] = []
    token = _said.set(said)
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            if public:
                await check_public(plugin)
            sent = await plugin.async_notify(
                title=message.subject, body=message.body, body_format=apprise.NotifyFormat.TEXT
            )
    except NotUsable as error:
        raise SendFailed(str(error)) from None
    except TimeoutError:
        raise SendFailed(f"no answer within {SEND_TIMEOUT_S:.0f} s") from None
    finally:
        _said.reset(token)
    if not sent:
        raise SendFailed(_reason(said, message.recipient))


def _reason(said: list[str], recipient: str) -> str:
    words = "; ".join(dict.fromkeys(said)) or "the mail server did not take it"
    return words.replace(recipient, mask_contact(recipient))[:REASON_MAX_CHARS]
