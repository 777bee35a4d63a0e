"""Which services a merchant's own channel may use, and where it may lead.

apprise knows well over a hundred services. Some read local files, start programs or talk to the desktop; and each that
takes a host's name would let a merchant's owner make our worker knock at doors inside. So services are listed, and the
hosts of those that name one must be public.
"""

import asyncio
import ipaddress
import socket
from typing import Any
from urllib.parse import parse_qs, urlsplit

import apprise
from apprise.plugins import url_to_dict

from backend.models import Audience

URL_MAX_CHARS = 1_000
RESOLVE_TIMEOUT_S = 5.0

MAIL = frozenset({"mailto", "mailtos"})
_NAMES_ITS_HOST = frozenset({"json", "jsons", "form", "forms", "ntfys", "gotifys", "mmosts", "rockets"}) | MAIL
_KNOWN_HOST = frozenset({
    "clicksend", "d7sms", "discord", "messagebird", "opsgenie", "pagerduty", "plivo", "pover", "sinch", "slack",
    "tgram", "twilio", "vonage",
})  # fmt: skip
SERVICES = tuple(sorted(_NAMES_ITS_HOST | _KNOWN_HOST))
_REFUSED_OPTIONS = frozenset({"template", "attach"})
"""They name files of the worker."""

ASSET = apprise.AppriseAsset(app_id="Stampede", http_redirects=False)
"""Without redirects: a public host could send us on to one inside."""


class NotUsable(ValueError):
    """An address that no channel can have. The text does not repeat it: it may hold a password."""


def service_of(url: str) -> str:
    """The scheme, in lower case."""
    return url.partition("://")[0].lower()


def parts_of(url: str, audience: Audience) -> dict[str, Any]:
    """The plugin's arguments. Raises ``NotUsable``."""
    service = service_of(url)
    if len(url) > URL_MAX_CHARS or not url.isprintable() or "://" not in url:
        raise NotUsable(
            "Give an apprise address, such as mailtos://user:password@mail.example.org?from=shop@example.org."
        )
    if service not in SERVICES:
        raise NotUsable(f"This service is not offered. There are: {', '.join(SERVICES)}.")
    if audience is Audience.SHOPPERS and service not in MAIL:
        raise NotUsable("Shoppers are written to by e-mail: give a mailto or mailtos address.")
    if {name.lower() for name in parse_qs(urlsplit(url).query)} & _REFUSED_OPTIONS:
        raise NotUsable("The options template and attach are not offered.")
    parts: dict[str, Any] | None = url_to_dict(url)  # type: ignore[no-untyped-call]
    if parts is None or apprise.Apprise.instantiate({**parts}, asset=ASSET) is None:
        raise NotUsable(f"This is no address that {service} can use: something is missing or misspelt.")
    return parts


def host_of(plugin: apprise.NotifyBase) -> str | None:
    """The host that a plugin will call, if its address names one."""
    if service_of(plugin.url()) not in _NAMES_ITS_HOST:  # type: ignore[no-untyped-call]
        return None
    return str(getattr(plugin, "smtp_host", None) or plugin.host)


async def check_public(plugin: apprise.NotifyBase) -> None:
    """Raises ``NotUsable`` when the plugin would call an address inside, or one that cannot be found.

    Asked when a channel is made and again before each message; the call itself looks the name up once more, so a name
    that changes within that moment is not stopped here: the worker's network has to.
    """
    host = host_of(plugin)
    if host is None:
        return
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        raise NotUsable("This host cannot be found.") from None
    for *_, address in found:
        numeric = ipaddress.ip_address(str(address[0]).partition("%")[0])
        mapped = getattr(numeric, "ipv4_mapped", None) or numeric
        if not mapped.is_global or mapped.is_multicast:
            raise NotUsable("This host is not a public one.")
