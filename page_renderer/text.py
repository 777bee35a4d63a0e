"""Merchants' words, money and times as text: all that a template may show."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from page_renderer.model import Money

# Characters that change how *other* characters look and have no place in a name: direction
# overrides, embeddings and isolates (a price can be made to read backwards), invisible spaces, the
# byte order mark, tag characters and the C0/C1 controls. Kept on purpose: U+200C and U+200D, which
# Persian and emoji need, and the single marks U+200E and U+200F. The templates also wrap merchants'
# words in <bdi>, so that right-to-left words stay within their own box.
_DECEIVING = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
# A lone surrogate cannot be encoded; it must not stop a page from being published.
_SURROGATE = re.compile("[\ud800-\udfff]")
_PARAGRAPH = re.compile(r"\n\s*\n")

_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
# ISO 4217 minor units that are not 2.
_NO_DIGITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DIGITS = "BHD IQD JOD KWD LYD OMR TND"
_MINOR_DIGITS = dict.fromkeys(_NO_DIGITS.split(), 0) | dict.fromkeys(_THREE_DIGITS.split(), 3)

# Spelled here, not by strftime: its names follow the process's locale, and the same context has to
# give the same bytes on every machine.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clean(text: str) -> str:
    """One line of a merchant's words, without characters that deceive the reader."""
    return " ".join(_SURROGATE.sub("\ufffd", _DECEIVING.sub("", text)).split())


def paragraphs(text: str) -> list[str]:
    """A merchant's longer words, one string a paragraph (blank lines part them)."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return [cleaned for part in _PARAGRAPH.split(unified) if (cleaned := clean(part))]


def money(value: Money) -> str:
    """`€1,190.00`, `¥500`, `CHF 19.00`; the same form as the page's script uses for orders."""
    digits = _MINOR_DIGITS.get(value.currency, 2)
    whole, rest = divmod(value.amount_minor, 10**digits)
    amount = f"{whole:,}" + (f".{rest:0{digits}d}" if digits else "")
    symbol = _SYMBOLS.get(value.currency)
    return f"{symbol}{amount}" if symbol else f"{value.currency}\u00a0{amount}"


def is_below(price: Money, usual: Money | None) -> bool:
    """Whether a usual price may be shown struck out beside the price: only when it is higher."""
    if usual is None or usual.currency != price.currency:
        return False
    return price.amount_minor < usual.amount_minor


def epoch_ms(at: datetime) -> int:
    """Milliseconds since 1970, by integers: a float would round."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def machine_time(at: datetime) -> str:
    """RFC 3339 in UTC, for `<time datetime>`."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def local_time(at: datetime, time_zone: str) -> str:
    """`Friday 4 December 2026, 19:00 (Europe/Berlin)`: the sale's own zone, named."""
    return f"{wall_time(at, time_zone)} ({time_zone})"


def wall_time(at: datetime, time_zone: str) -> str:
    """The same without the zone, for a place that names it once for several times."""
    local = at.astimezone(ZoneInfo(time_zone))
    seconds = f":{local.second:02d}" if local.second else ""
    return (
        f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local.year}, "
        f"{local.hour:02d}:{local.minute:02d}{seconds}"
    )


def every(milliseconds: int) -> str:
    """What stands after "one try per": `10 seconds`, `second`, `minute`."""
    return duration(max(1, round(milliseconds / 1000))).removeprefix("1 ")


def duration(seconds: int) -> str:
    """`15 minutes`, `90 seconds`, `1 hour`: the largest unit that divides it."""
    for unit_s, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit_s and seconds % unit_s == 0:
            count = seconds // unit_s
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return "0 seconds"
