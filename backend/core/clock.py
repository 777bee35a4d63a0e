"""Wall clock of an API or worker process.

It is never the judge: opening and closing follow Redis TIME in the gate's scripts, expiry follows the
database's clock. This one dates tokens and log lines, and can be replaced in tests.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

NowMs = Callable[[], int]


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def from_ms(stamp_ms: float) -> datetime:
    """An aware UTC datetime."""
    return datetime.fromtimestamp(stamp_ms / 1000, UTC)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch of an aware datetime, rounded down."""
    return int(moment.timestamp() * 1000)


def rfc3339(moment: datetime) -> str:
    """``2026-12-04T18:00:00Z``, with a fraction only when there is one."""
    utc = moment.astimezone(UTC)
    spec = "milliseconds" if utc.microsecond else "seconds"
    return utc.isoformat(timespec=spec).replace("+00:00", "Z")
