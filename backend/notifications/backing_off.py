"""How often and how far apart a message is tried; the same for a message and for its copies."""

import random
from datetime import timedelta

ATTEMPTS_MAX = 8
SENDING_AT_ONCE = 8
LEASE = timedelta(seconds=120)
"""Three times what a batch of four rounds takes when every message runs into its 10 s."""
BACKOFF_FIRST_S, BACKOFF_MAX_S = 5.0, 900.0
"""5, 10, 20 … s: the eighth attempt comes about ten minutes after the first."""


def backoff(attempts: int) -> timedelta:
    """The wait after a failed attempt: doubled each time, bounded, half of it random, so that what failed
    together does not come back together."""
    full_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (attempts - 1))
    return timedelta(seconds=full_s * random.uniform(0.5, 1.0))  # noqa: S311 no secret depends on it
