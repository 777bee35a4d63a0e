"""Clocks that tests can set, while everything runs: Redis TIME as the scripts see it, and the database's.

Neither server can be started with a wrong clock (a preloaded library breaks the one, the other has no setting for it),
so the question is answered from outside: the scripts' text is exchanged for one that adds to what TIME says, and a
schema that is searched first has functions of its own.
"""

import dataclasses
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from backend.gate import Gate, store
from backend.gate.scripts import SCRIPTS, Script
from tests.backend.shop import Shop

_TIME = "redis.call('TIME')"


def _shifted(script: Script, seconds: int) -> Script:
    source = script.source.replace(
        _TIME, f"(function(t) t[1] = string.format('%d', t[1] + {seconds}) return t end)({_TIME})"
    )
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return dataclasses.replace(script, source=source, sha=sha)


class GateClock:
    """The gate's clock, as everybody hears of it in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._now_ms = Gate.now_ms

    def ahead(self, seconds: int) -> None:
        """Set it ahead of the truth, or behind it; 0 sets it right."""
        scripts = {name: _shifted(script, seconds) for name, script in SCRIPTS.items()}
        assert seconds == 0 or any(one.source != SCRIPTS[name].source for name, one in scripts.items())
        now_ms = self._now_ms

        async def shifted_now_ms(gate: Gate) -> int:
            return await now_ms(gate) + seconds * 1000

        self._monkeypatch.setattr(store, "SCRIPTS", scripts)
        self._monkeypatch.setattr(Gate, "now_ms", shifted_now_ms)


class DatabaseClock:
    """The database's clock, for every connection of a shop's pool."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def install(self) -> None:
        await self._shop.as_owner(
            "CREATE SCHEMA skewed",
            "CREATE TABLE skewed.clock (ahead interval NOT NULL)",
            "INSERT INTO skewed.clock VALUES ('0')",
            *(
                f"CREATE FUNCTION skewed.{name}() RETURNS timestamptz STABLE LANGUAGE sql AS "
                f"'SELECT pg_catalog.{name}() + ahead FROM skewed.clock'"
                for name in ("now", "clock_timestamp")
            ),
            "GRANT USAGE ON SCHEMA skewed TO PUBLIC",
            "GRANT SELECT ON skewed.clock TO PUBLIC",
        )

        @event.listens_for(self._shop.database.engine.sync_engine, "connect")
        def search_here_first(connection: Any, _: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("SET search_path = skewed, pg_catalog, public")
            cursor.close()
            connection.commit()

        await self._shop.database.engine.dispose()

    async def ahead(self, by: timedelta) -> None:
        """Set it ahead of the truth, or behind it."""
        await self._shop.as_owner("UPDATE skewed.clock SET ahead = :by", by=by)
