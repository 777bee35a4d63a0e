"""Operators: signing in, out, locks that tell nothing about who exists, sessions that end at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from sqlalchemy import text

from backend.accounts import Hashing, actor_of, add_operator, sign_in, sign_out
from backend.core.errors import Code, Refused
from backend.models import Database, Role, make_engine
from backend.settings import Settings

PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)
"""Some 10 ms instead of 124: enough to tell an answer with the work from one without."""


@pytest.fixture
def settings(database_url: str, gate_url: str, broker_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        environment="local",
        database_url=database_url,
        gate_url=gate_url,
        broker_url=broker_url,
        pages_dir=tmp_path,
    )


@pytest_asyncio.fixture(loop_scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(make_engine(settings, role="test"))
    yield database
    await database.close()


@pytest.fixture
def hashing() -> Hashing:
    return Hashing(CHEAP)


async def add(database: Database, email: str = "Ada@Acme.example", role: Role | str = Role.OWNER) -> None:
    async with database.transaction() as session:
        await add_operator(session, email, role, "Acme", PASSWORD, hashing=Hashing(CHEAP))


async def code_of(database: Database, hashing: Hashing, email: str, password: str) -> Code | None:
    try:
        await sign_in(database, hashing, email, password)
    except Refused as refused:
        return refused.code
    return None


async def test_an_operator_signs_in_and_out(database: Database, hashing: Hashing) -> None:
    await add(database)
    first = await sign_in(database, hashing, " ADA@acme.example ", PASSWORD)
    second = await sign_in(database, hashing, "ada@acme.example", PASSWORD)
    assert first.access_token != second.access_token
    assert first.access_token.startswith("so_")
    async with database.transaction() as session:
        actor = await actor_of(session, first.access_token)
        assert actor is not None
        assert (actor.email, actor.role, actor.merchant_name) == ("ada@acme.example", Role.OWNER, "Acme")
        stored = (await session.execute(text("SELECT token_hash FROM operator_sessions"))).scalars().all()
        assert all(first.access_token.encode() not in one for one in stored)
        await sign_out(session, actor)
    async with database.transaction() as session:
        assert await actor_of(session, first.access_token) is None
        assert await actor_of(session, second.access_token) is not None


async def test_a_token_ends_with_its_time_and_with_its_operator(database: Database, hashing: Hashing) -> None:
    await add(database)
    tokens = [(await sign_in(database, hashing, "ada@acme.example", PASSWORD)).access_token for _ in range(2)]
    async with database.transaction() as session:
        await session.execute(
            text(
                "UPDATE operator_sessions SET expires_at = now() "
                "WHERE created_at = (SELECT min(created_at) FROM operator_sessions)"
            )
        )
    async with database.transaction() as session:
        assert await actor_of(session, tokens[0]) is None
        assert await actor_of(session, tokens[1]) is not None
        await session.execute(text("UPDATE operators SET disabled_at = now()"))
    async with database.transaction() as session:
        assert await actor_of(session, tokens[1]) is None
    assert await code_of(database, hashing, "ada@acme.example", PASSWORD) is Code.UNAUTHENTICATED


@pytest.mark.parametrize("token", ["", "so_", "so_" + "A" * 43, "so_" + "\x00" * 43, "x" * 46, "so_" + "é" * 43])
async def test_what_is_no_token_is_nobody(database: Database, token: str) -> None:
    async with database.transaction() as session:
        assert await actor_of(session, token) is None


async def test_ten_wrong_passwords_lock_known_and_unknown_alike(database: Database, hashing: Hashing) -> None:
    await add(database)
    answers = {}
    for email in ("ada@acme.example", "nobody@acme.example"):
        answers[email] = [await code_of(database, hashing, email, "wrong password") for _ in range(11)]
    assert answers["ada@acme.example"] == answers["nobody@acme.example"]
    assert answers["ada@acme.example"] == [Code.UNAUTHENTICATED] * 10 + [Code.RATE_LIMITED]
    with pytest.raises(Refused) as refused:
        await sign_in(database, hashing, "ada@acme.example", PASSWORD)
    assert refused.value.code is Code.RATE_LIMITED
    assert 14 * 60_000 < (refused.value.retry_after_ms or 0) <= 15 * 60_000
    async with database.transaction() as session:
        await session.execute(text("UPDATE sign_in_guards SET locked_until = now() - interval '1 second'"))
    assert await code_of(database, hashing, "ada@acme.example", PASSWORD) is None


async def test_parallel_tries_do_not_outrun_the_lock(
    database: Database, hashing: Hashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(database)
    tried = 0

    async def count(password: str, encoded: str | None) -> bool:
        nonlocal tried
        tried += 1
        return False

    monkeypatch.setattr(hashing, "matches", count)
    codes = await asyncio.gather(*(code_of(database, hashing, "ada@acme.example", f"guess {at}") for at in range(30)))
    assert tried == 10
    assert codes.count(Code.RATE_LIMITED) == 20


async def test_a_right_password_forgets_the_wrong_ones(database: Database, hashing: Hashing) -> None:
    await add(database)
    for _ in range(2):
        for _ in range(6):
            assert await code_of(database, hashing, "ada@acme.example", "wrong") is Code.UNAUTHENTICATED
        assert await code_of(database, hashing, "ada@acme.example", PASSWORD) is None


class Counting(PasswordHasher):
    """The real thing, counting how often it had to work."""

    verified = 0

    def verify(self, *args: Any) -> Any:
        self.verified += 1
        return super().verify(*args)


async def test_an_unknown_address_costs_the_same_work(database: Database) -> None:
    await add(database)
    hasher = Counting(time_cost=1, memory_cost=64, parallelism=1)
    hashing = Hashing(hasher)
    emails = ("ada@acme.example", "nobody@acme.example", "no address", "\N{PILE OF POO}@acme.example")
    for count, email in enumerate(emails, start=1):
        assert await code_of(database, hashing, email, "wrong") is Code.UNAUTHENTICATED
        assert hasher.verified == count
    async with database.transaction() as session:
        await session.execute(text("UPDATE operators SET disabled_at = now()"))
    assert await code_of(database, hashing, "ada@acme.example", PASSWORD) is Code.UNAUTHENTICATED
    assert hasher.verified == len(emails) + 1


async def test_operators_are_made_once_and_checked(database: Database) -> None:
    await asyncio.gather(add(database, "a@acme.example"), add(database, "b@acme.example", "auditor"))
    async with database.transaction() as session:
        assert (await session.execute(text("SELECT count(*) FROM merchants"))).scalar_one() == 1
        with pytest.raises(Refused) as refused:
            await add_operator(session, "A@acme.example", "owner", "Acme", PASSWORD)
        assert refused.value.code is Code.CONFLICT
        for email, role, merchant, password, field in (
            ("not an address", "owner", "Acme", PASSWORD, "email"),
            ("c@acme.example\n", "king", "Acme", PASSWORD, "role"),
            ("c@acme.example", "owner", " ", PASSWORD, "merchant"),
            ("c@acme.example", "owner", "Acme", "short", "password"),
        ):
            with pytest.raises(Refused) as refused:
                await add_operator(session, email, role, merchant, password)
            assert refused.value.errors[0]["field"] == field


async def test_only_so_many_hashes_wait(hashing: Hashing, monkeypatch: pytest.MonkeyPatch) -> None:
    results = await asyncio.gather(*(hashing.matches("x", None) for _ in range(40)), return_exceptions=True)
    refused = [one for one in results if isinstance(one, Refused)]
    assert len(refused) == 24
    assert all(one.code is Code.RATE_LIMITED for one in refused)
