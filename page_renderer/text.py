"""Merchants' words, money and times as text: all that a template may show."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from page_renderer.model import Money
from page_renderer.words import DEFAULT, Words, fill, words

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

_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
# ISO 4217 minor units that are not 2.
_NO_DIGITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DIGITS = "BHD IQD JOD KWD LYD OMR TND"
_MINOR_DIGITS = dict.fromkeys(_NO_DIGITS.split(), 0) | dict.fromkeys(_THREE_DIGITS.split(), 3)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clean(text: str) -> str:
    """One line of a merchant's words, without characters that deceive the reader."""
    return " ".join(_SURROGATE.sub("\ufffd", _DECEIVING.sub("", text)).split())


def clean_lines(text: str) -> str:
    """A merchant's longer words with their line breaks, without characters that deceive the reader."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SURROGATE.sub("\ufffd", _DECEIVING.sub("", unified))


def decimal(value: Money) -> str:
    """`1190.00`: the amount in the currency's main unit, for machines."""
    digits = _MINOR_DIGITS.get(value.currency, 2)
    whole, rest = divmod(value.amount_minor, 10**digits)
    return f"{whole}" + (f".{rest:0{digits}d}" if digits else "")


def money(value: Money, said: Words | None = None) -> str:
    """`€1,190.00`, `¥500`, `CHF 19.00`; the same form as the page's script uses for orders."""
    form = (said or words(DEFAULT)).money
    whole, _, rest = decimal(value).partition(".")
    amount = f"{int(whole):,}".replace(",", form["group"]) + (form["decimal"] + rest if rest else "")
    symbol = _SYMBOLS.get(value.currency)
    pattern = form["pattern" if symbol else "pattern_code"]
    return fill(pattern, {"symbol": symbol or value.currency, "amount": amount})


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


def local_time(at: datetime, time_zone: str, said: Words | None = None) -> str:
    """`Friday 4 December 2026, 19:00 (Europe/Berlin)`: the sale's own zone, named."""
    return f"{wall_time(at, time_zone, said)} ({time_zone})"


def wall_time(at: datetime, time_zone: str, said: Words | None = None) -> str:
    """The same without the zone, for a place that names it once for several times.

    The names of days and months are the catalogue's, not strftime's, which follow the process's locale: the same
    context has to give the same bytes on every machine.
    """
    said = said or words(DEFAULT)
    local = at.astimezone(ZoneInfo(time_zone))
    seconds = f":{local.second:02d}" if local.second else ""
    parts = {
        "weekday": said.weekdays[local.weekday()],
        "day": local.day,
        "month": said.months[local.month - 1],
        "year": local.year,
        "time": f"{local.hour:02d}:{local.minute:02d}{seconds}",
    }
    return fill(said.date, parts)


def every(milliseconds: int, said: Words | None = None) -> str:
    """What stands after "one try per": `10 seconds`, `second`, `minute`."""
    return _counted("every_", max(1, round(milliseconds / 1000)), said)


def duration(seconds: int, said: Words | None = None) -> str:
    """`15 minutes`, `90 seconds`, `1 hour`: the largest unit that divides it."""
    return _counted("", seconds, said)


def _counted(kind: str, seconds: int, said: Words | None) -> str:
    said = said or words(DEFAULT)
    for unit_s, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= unit_s and seconds % unit_s == 0:
            return said.counted(kind + name, seconds // unit_s)
    return said.counted(f"{kind}seconds", seconds)
