"""Seams for tests: something done, or somebody dead, just before or just after any call to gate or database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from backend.gate import Gate
from backend.models import Database

At = Callable[[str], Awaitable[None]]
"""Called with ``before <what>`` and ``after <what>``: a script, a command of the store, ``begin``, ``commit``."""


class Died(Exception):
    """The process ends here."""


class _Client:
    def __init__(self, client: Any, at: At) -> None:
        self._client = client
        self._at = at

    def __getattr__(self, name: str) -> Any:
        command = getattr(self._client, name)

        async def call(*args: Any, **more: Any) -> Any:
            await self._at(f"before {name}")
            reply = await command(*args, **more)
            await self._at(f"after {name}")
            return reply

        return call


class _Store:
    def __init__(self, store: Any, at: At) -> None:
        self._store = store
        self._at = at
        self.client = _Client(store.client, at)
        self.address = store.address

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        await self._at(f"before {name}")
        reply = await self._store.run(name, keys, args)
        await self._at(f"after {name}")
        return reply


def gate_with(gate: Gate, at: At) -> Gate:
    """The same gate, with a seam around each call."""
    return Gate(_Store(gate.store, at))  # type: ignore[arg-type]


class DatabaseWith(Database):
    """The same database, with a seam around each transaction's begin and commit."""

    def __init__(self, database: Database, at: At) -> None:
        super().__init__(database.engine)
        self._at = at

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        await self._at("before begin")
        async with super().transaction() as session:
            yield session
            await self._at("before commit")
        await self._at("after commit")


class Death:
    """Dies at the ``nth`` seam, counted from 1: after a call, or just before a commit. To die before a call is to die
    after the one before it."""

    def __init__(self, nth: int) -> None:
        self._left = nth
        self.place = ""

    async def __call__(self, place: str) -> None:
        self._left -= place.startswith("after") or place == "before commit"
        if self._left == 0 and not self.place:
            self.place = place
            raise Died(place)


def once(place: str, do: Callable[[], Awaitable[object]]) -> At:
    """Do something the first time that ``place`` is reached."""
    done = False

    async def at(here: str) -> None:
        nonlocal done
        if here == place and not done:
            done = True
            await do()

    return at
