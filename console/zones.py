"""Times as people enter and read them: in the sale's own zone, to the second.

The API speaks UTC. A sale opens at a stored second, so the conversion must be exact on the two odd
nights of the year too: a time that does not exist is refused, one that happens twice is named.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)

COMMON = ("Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Tokyo", "UTC")


class TimeError(ValueError):
    """What was entered is no moment in that zone; the message says what to enter instead."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An entered local time and the instant it stands for."""

    utc: datetime
    ambiguous: bool
    """True when the clocks go back over it: the first of the two is taken."""


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Zones to choose from, the common ones first. `Etc/` and the like are left to the API."""
    rest = sorted(z for z in available_timezones() if "/" in z and not z.startswith(("Etc/", "posix/", "right/")))
    return COMMON + tuple(z for z in rest if z not in COMMON)


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """The zone called `name`, or UTC for a name this machine's time zone data does not know."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


def parse_clock(typed: str) -> time:
    """A time of day from "19:00" or "19:00:05"."""
    match = _CLOCK.fullmatch(typed.strip())
    if match is None:
        raise TimeError("Type a time such as 19:00, or 19:00:05.")
    hours, minutes, seconds = match.groups(default="0")
    return time(int(hours), int(minutes), int(seconds))


def to_utc(day: date, clock: time, zone_name: str) -> Moment:
    """The instant at which the clocks of `zone_name` show that day and time.

    Raises:
        TimeError: when they never do, because they go forward over it.
    """
    local = datetime.combine(day, clock, tzinfo=zone(zone_name))
    instant = local.astimezone(UTC)
    if instant.astimezone(local.tzinfo).replace(tzinfo=None) != local.replace(tzinfo=None):
        raise TimeError(f"The clocks in {zone_name} skip {clock:%H:%M} on that day: choose another time.")
    later = local.replace(fold=1).astimezone(UTC)
    return Moment(instant, ambiguous=later != instant)


def parse(stamp: str) -> datetime:
    """An RFC 3339 time of the API as an aware time in UTC."""
    return datetime.fromisoformat(stamp).astimezone(UTC)


def wire(moment: datetime) -> str:
    """An instant as the API takes it: RFC 3339, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local(stamp: str, zone_name: str) -> datetime:
    """A time of the API on the clocks of `zone_name`."""
    return parse(stamp).astimezone(zone(zone_name))


def city(zone_name: str) -> str:
    """The zone's name as people say it: "Europe/Berlin" is "Berlin"."""
    return zone_name.rsplit("/", 1)[-1].replace("_", " ")


def reading(stamp: str | None, zone_name: str) -> str:
    """A time of the API for reading: "Fri 4 Dec 2026, 19:00:00 Berlin"."""
    if not stamp:
        return "–"
    moment = local(stamp, zone_name)
    return f"{moment:%a} {moment.day} {moment:%b %Y, %H:%M:%S} {city(zone_name)}"


def short(stamp: str | None, zone_name: str) -> str:
    """A time of the API for tables: "2026-12-04 19:00:00" on the sale's clocks."""
    return f"{local(stamp, zone_name):%Y-%m-%d %H:%M:%S}" if stamp else "–"
