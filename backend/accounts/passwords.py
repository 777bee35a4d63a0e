"""Passwords: argon2id off the event loop, never more at once than memory and cores allow.

One hash takes about 124 ms and 64 MiB. Unbounded, a hundred sign-ins a second would take 6 GiB and starve
every other request of the process.
"""

import asyncio
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from backend.core.errors import Code, Refused

MIN_CHARS, MAX_CHARS = 8, 256
HASHES_AT_ONCE = 2
"""Per process: 128 MiB, and on two cores there is nothing to gain from more."""
WAITING_MAX = 16
"""Beyond two seconds of work a sign-in is refused at once instead of queued."""


class Hashing:
    """Runs argon2id in threads, at most ``HASHES_AT_ONCE`` at a time."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._free = asyncio.Semaphore(HASHES_AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The encoded hash, salt and parameters included."""
        async with self._free:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, encoded: str | None) -> bool:
        """Whether the password is right; without a hash (unknown address) the same work is done for nothing.

        Raises ``RATE_LIMITED`` when too many wait already.
        """
        if self._waiting >= WAITING_MAX:
            raise Refused(Code.RATE_LIMITED, retry_after_ms=2_000)
        self._waiting += 1
        try:
            async with self._free:
                return await asyncio.to_thread(self._matches, password, encoded)
        finally:
            self._waiting -= 1

    def _matches(self, password: str, encoded: str | None) -> bool:
        try:
            self._hasher.verify(encoded or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return encoded is not None

    @cached_property
    def _nobody(self) -> str:
        """A hash that belongs to no operator, with the parameters of the day."""
        return self._hasher.hash("nobody's password")


def check_strength(password: str) -> None:
    """Raises ValueError for a password that is too short, too long, or not text."""
    if not MIN_CHARS <= len(password) <= MAX_CHARS:
        raise ValueError(f"A password has {MIN_CHARS} to {MAX_CHARS} characters.")
    password.encode()
