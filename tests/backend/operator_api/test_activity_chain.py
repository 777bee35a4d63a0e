"""The activity log's chain: what a superuser of the database does to it is found, and nobody is held up by it (I18)."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from backend.accounts import SealKey, activity_check, check_activity, reseal
from backend.accounts.activity_chain import Head
from backend.api import AppState
from backend.models import ActivityPart, Database, Role, make_engine
from stack.servers import PostgresServer
from stack.servers.postgres import ADMIN_ROLE, APP_ROLE, OWNER_ROLE

from .conftest import Operator

SignIn = Callable[..., Awaitable[Operator]]
Sql = Callable[..., Awaitable[list[Any]]]
PROJECT = Path(__file__).parents[3]


@pytest_asyncio.fixture(loop_scope="session")
async def admin(postgres_server: PostgresServer, fresh_database: str):
    """Statements by a superuser whom no trigger and no foreign key stops."""
    connection = await postgres_server.connect(fresh_database, ADMIN_ROLE)
    await connection.execute("SET session_replication_role = replica")

    async def run(statement: str, *values: Any) -> list[Any]:
        return await connection.fetch(statement, *values)

    yield run
    await connection.close()


async def verify(operator: Operator, **noted: Any) -> Any:
    """A check as the API answers it."""
    operator.client.headers["Authorization"] = f"Bearer {operator.token}"
    answer = await operator.client.get("/api/v1/audit/activity/verify", params=noted)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def record(owner: Operator, sign_in: SignIn, slug: str = "chained") -> Any:
    """A log with a command of each sort: plain, in steps, one that makes its sale, of a deleted draft, refused."""
    sale = await owner.make_sale(slug)
    draft = await owner.make_sale(f"{slug}-draft", lead_s=1)
    assert (await owner.send("DELETE", f"/sales/{draft['id']}")).status_code == 204
    await owner.ok(f"/sales/{sale['id']}/schedule")
    await owner.ok(f"/sales/{sale['id']}/throttle", {"rate_per_s": 1e16 / 1e13 + 0.1, "reason": "Ünïcode \U0001f525"})
    await owner.ok(f"/sales/{sale['id']}/preload")
    await owner.ok(f"/sales/{sale['id']}/pause", {"reason": "a look"})
    auditor = await sign_in(Role.AUDITOR)
    assert (await auditor.post(f"/sales/{sale['id']}/pause")).status_code == 403
    return sale


# sku.create, sale.create, (sku.create is refused: taken), sale.create, sale.delete, schedule, throttle,
# preload begun and whole, pause, the refused one.
ENTRIES = 10


async def test_what_was_recorded_verifies_for_every_role_and_for_its_own_merchant(
    owner: Operator, sign_in: SignIn, state: AppState, client: httpx.AsyncClient
) -> None:
    assert (await verify(owner))["verified"] is True, "an empty log is one"
    await record(owner, sign_in)
    auditor, stranger = await sign_in(Role.AUDITOR), await sign_in(merchant="Rival")
    state.shared._answers.clear()
    mine = await verify(owner)
    assert (mine["verified"], mine["entries"], mine["head"]["entries"]) == (True, ENTRIES, ENTRIES)
    assert "first_broken" not in mine
    assert (await verify(auditor))["head"] == mine["head"]
    theirs = await verify(stranger)
    assert (theirs["verified"], theirs["entries"]) == (True, 0)
    client.headers.pop("Authorization")
    assert (await client.get("/api/v1/audit/activity/verify")).status_code == 401
    owner.client.headers["Authorization"] = f"Bearer {owner.token}"
    for noted in (
        {"entries": 3},
        {"digest": "0" * 64},
        {"entries": 0, "digest": "0" * 64},
        {"entries": 3, "digest": "x"},
    ):
        assert (await client.get("/api/v1/audit/activity/verify", params=noted)).status_code == 422


SWAP = """
    UPDATE activity_entries e SET seq = CASE e.seq WHEN 3 THEN 1004 ELSE 1003 END WHERE seq IN (3, 4);
    UPDATE activity_entries SET seq = seq - 1000 WHERE seq > 1000
"""
GONE = "DELETE FROM commands c WHERE NOT EXISTS (SELECT 1 FROM activity_entries e WHERE e.command_id = c.id)"
HEAD = """
    UPDATE activity_heads SET entries = {0}, digest = (SELECT digest FROM activity_entries WHERE seq = {0})
"""
MADE_UP = """
    INSERT INTO commands (id, merchant_id, operator_id, kind, idempotency_key, request_hash, response_status, done_at)
    SELECT gen_random_uuid(), merchant_id, operator_id, 'sale.pause', 'made up', '', 200, now()
    FROM commands LIMIT 1
"""
ONE_MORE = """
    INSERT INTO activity_entries SELECT merchant_id, 11, command_id, 'begun', digest FROM activity_entries
    WHERE seq = 1
"""
SOMEBODY = "operator_id = (SELECT id FROM operators WHERE role = 'auditor')"


def changed(what: str, seq: int) -> str:
    return f"UPDATE commands SET {what} WHERE id = (SELECT command_id FROM activity_entries WHERE seq = {seq})"


TAMPERED: dict[str, tuple[tuple[str, ...], str, int | None]] = {
    # what was done: statements, what is found, at which entry
    "edited reason": ((changed("reason = 'another'", 6),), "altered", 6),
    "edited answer": ((changed("response_body = '{}'", 2),), "altered", 2),
    "edited before": ((changed("before = '{\"x\": 1}'", 7),), "altered", 7),
    "edited time": ((changed("at = at + interval '1 microsecond'", 5),), "altered", 5),
    "edited person": ((changed(SOMEBODY, 9),), "altered", 9),
    "edited sale": ((changed("sale_id = NULL", 4),), "altered", 4),
    "deleted command": (("DELETE FROM commands WHERE kind = 'sale.schedule'",), "removed", 5),
    "deleted entry": (("DELETE FROM activity_entries WHERE seq = 5",), "removed", 5),
    "deleted both": (("DELETE FROM activity_entries WHERE seq = 5", GONE), "removed", 5),
    "inserted command": ((MADE_UP,), "added", None),
    "inserted entry": ((ONE_MORE,), "altered", 11),
    "reordered": (tuple(SWAP.split(";")), "altered", 3),
    "cut tail": (("DELETE FROM activity_entries WHERE seq > 8", GONE), "cut", 9),
    "cut tail with its head": (
        ("DELETE FROM activity_entries WHERE seq > 9", GONE, HEAD.format(9)), "seal", None),
    "answer taken off": (("DELETE FROM activity_entries WHERE seq > 7", HEAD.format(7)), "seal", None),
    "forged head": (("UPDATE activity_heads SET seal = sha256(digest)",), "seal", None),
    "head taken away": (("DELETE FROM activity_heads",), "seal", None),
    "all of it taken away": (
        ("DELETE FROM activity_heads", "DELETE FROM activity_entries", GONE), "seal", None),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
async def test_each_kind_of_tampering_is_found_where_it_was_done(
    owner: Operator, sign_in: SignIn, admin: Sql, name: str
) -> None:
    await record(owner, sign_in)
    assert [row["seq"] for row in await admin("SELECT seq FROM activity_entries ORDER BY seq")] == list(
        range(1, ENTRIES + 1)
    )
    statements, reason, entry = TAMPERED[name]
    for statement in statements:
        await admin(statement)

    found = await verify(owner)

    assert found["verified"] is False
    assert (found["first_broken"]["reason"], found["first_broken"].get("entry")) == (reason, entry)
    assert found["entries"] <= ENTRIES


async def test_what_a_forger_computes_anew_is_found_by_the_seal_alone(
    owner: Operator, sign_in: SignIn, admin: Sql, state: AppState
) -> None:
    """No secret goes into the digests: a superuser can make the whole chain fit, but not its head."""
    await record(owner, sign_in)
    (row,) = await admin("SELECT merchant_id FROM activity_heads")
    merchant = UUID(str(row["merchant_id"]))
    await admin(changed("reason = 'never mind'", 6))
    async with state.database.transaction() as session:
        rows = await activity_check.repository.entries_after(session, merchant, after=0, until=99, limit=99)
    digest = activity_check.genesis(merchant)
    for one in rows:
        digest = activity_check.digest_of(digest, one.seq, ActivityPart(one.part), one)
        await admin("UPDATE activity_entries SET digest = $1 WHERE seq = $2", digest, one.seq)
    forged = SealKey(hashlib.sha256(b"a guess").digest()).seal(Head(merchant, ENTRIES, digest))
    await admin("UPDATE activity_heads SET digest = $1, seal = $2", digest, forged)
    found = await verify(owner)
    assert (found["verified"], found["entries"], found["first_broken"]) == (False, ENTRIES, {"reason": "seal"})


async def test_a_log_that_was_cut_does_not_heal_by_the_next_command(
    owner: Operator, sign_in: SignIn, admin: Sql, state: AppState
) -> None:
    sale = await record(owner, sign_in)
    await admin("DELETE FROM activity_entries WHERE seq > 8")
    await admin("DELETE FROM commands c WHERE NOT EXISTS (SELECT 1 FROM activity_entries e WHERE e.command_id = c.id)")
    await admin("UPDATE activity_heads SET entries = 8, digest = (SELECT digest FROM activity_entries WHERE seq = 8)")
    await owner.ok(f"/sales/{sale['id']}/resume")
    found = await verify(owner)
    assert (found["entries"], found["first_broken"]["reason"]) == (9, "marked")
    assert found["first_broken"]["since"]
    # To take the mark off, one needs the key.
    await admin("UPDATE activity_heads SET broken_since = NULL")
    state.shared._answers.clear()
    assert (await verify(owner))["first_broken"]["reason"] == "seal"

    (head,) = await admin("SELECT merchant_id FROM activity_heads")
    await reseal(state.database, state.seal_key, UUID(str(head["merchant_id"])))
    state.shared._answers.clear()
    assert (await verify(owner))["verified"] is True


async def test_a_head_taken_away_is_not_made_anew_in_silence(owner: Operator, sign_in: SignIn, admin: Sql) -> None:
    sale = await record(owner, sign_in)
    for table in ("activity_heads", "activity_entries"):
        await admin(f"DELETE FROM {table}")
    await owner.ok(f"/sales/{sale['id']}/resume")
    assert (await verify(owner))["first_broken"]["reason"] in ("marked", "added")
    await admin("DELETE FROM commands c WHERE NOT EXISTS (SELECT 1 FROM activity_entries e WHERE e.command_id = c.id)")
    found = await check_activity_of(owner, admin)
    assert found == "marked"


async def check_activity_of(owner: Operator, admin: Sql) -> str:
    await asyncio.sleep(2.1)  # a check is shared for two seconds
    return str((await verify(owner))["first_broken"]["reason"])


async def test_a_set_back_database_is_found_by_whoever_noted_a_head(
    owner: Operator, sign_in: SignIn, admin: Sql, state: AppState, capfd: pytest.CaptureFixture[str]
) -> None:
    """Entries, commands and the sealed head of an earlier moment: nothing inside the database can tell."""
    sale = await record(owner, sign_in)
    saved = (await admin("SELECT * FROM activity_heads"))[0]
    earlier = (await verify(owner))["head"]
    await owner.ok(f"/sales/{sale['id']}/resume")
    state.shared._answers.clear()
    noted = (await verify(owner, **earlier))["head"]
    assert noted["entries"] == ENTRIES + 1
    told = [line for line in capfd.readouterr().out.splitlines() if "activity.head" in line]
    assert len(told) == ENTRIES + 1
    assert noted["digest"] in told[-1], "the log tells each head, so that it can be compared with the database"
    assert (await verify(owner, **noted))["verified"] is True

    await admin("DELETE FROM activity_entries WHERE seq > 10")
    await admin("DELETE FROM commands c WHERE NOT EXISTS (SELECT 1 FROM activity_entries e WHERE e.command_id = c.id)")
    await admin(
        "UPDATE activity_heads SET entries = $1, digest = $2, seal = $3",
        saved["entries"], saved["digest"], saved["seal"],
    )  # fmt: skip
    state.shared._answers.clear()
    assert (await verify(owner))["verified"] is True, "the seal is genuine"
    cut = await verify(owner, **noted)
    assert (cut["first_broken"]["reason"], cut["first_broken"]["entry"]) == ("cut", 11)
    await owner.ok(f"/sales/{sale['id']}/rotate-links", {"reason": "another history"})
    state.shared._answers.clear()
    forked = await verify(owner, **noted)
    assert (forked["first_broken"]["reason"], forked["first_broken"]["entry"]) == ("forked", 11)


async def test_a_command_that_is_still_open_is_covered_too(
    owner: Operator, sign_in: SignIn, admin: Sql, state: AppState
) -> None:
    sale = await owner.make_sale("open-one")
    await owner.ok(f"/sales/{sale['id']}/schedule")
    await owner.ok(f"/sales/{sale['id']}/preload")
    # As after a crash between the gate's answer and its record: the beginning is chained, the answer is not there.
    (head,) = await admin("SELECT merchant_id FROM activity_heads")
    await admin("DELETE FROM activity_entries WHERE part = 'whole' AND seq = 5")
    await admin(
        "UPDATE commands SET done_at = NULL, response_status = NULL, response_body = NULL, after = NULL "
        "WHERE kind = 'sale.preload'"
    )
    await reseal(state.database, state.seal_key, UUID(str(head["merchant_id"])))
    assert (await verify(owner))["verified"] is True
    await admin("UPDATE commands SET response_status = 200 WHERE kind = 'sale.preload'")
    state.shared._answers.clear()
    assert (await verify(owner))["first_broken"] | {"at": "", "command_id": ""} == {
        "reason": "added", "kind": "sale.preload", "at": "", "command_id": "",
    }  # fmt: skip
    await admin("UPDATE commands SET response_status = NULL, reason = 'slipped in' WHERE kind = 'sale.preload'")
    state.shared._answers.clear()
    assert (await verify(owner))["first_broken"]["reason"] == "altered"


async def test_commands_at_once_are_numbered_without_a_gap_and_checks_hold_nobody_up(
    owner: Operator, sign_in: SignIn, admin: Sql, state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_check, "PAGE_ROWS", 7)
    colleagues = [owner, *[await sign_in(Role.OPERATOR) for _ in range(3)]]

    merchant = UUID((await owner.get("/me")).json()["merchant"]["id"])

    async def work(operator: Operator, name: int) -> None:
        for number in range(8):
            sku = {"sku": f"S{name}-{number}", "name": "Tee"}
            made = await operator.post("/skus", sku)
            assert made.status_code == 201, made.text

    async def check() -> int:
        found = await check_activity(state.database, state.seal_key, merchant)
        assert found.first_broken is None, found
        return found.entries

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(one, name) for name, one in enumerate(colleagues)), check(), check())
    assert await check() == 32
    rows = await admin("SELECT seq FROM activity_entries ORDER BY seq")
    assert [row["seq"] for row in rows] == list(range(1, 33))


async def test_the_application_may_add_entries_and_change_none(
    owner: Operator, sign_in: SignIn, state: AppState, postgres_server: PostgresServer, fresh_database: str
) -> None:
    await record(owner, sign_in)
    for statement in (
        "UPDATE activity_entries SET seq = seq",
        "DELETE FROM activity_entries",
        "TRUNCATE activity_entries",
        "DELETE FROM commands",
        "DELETE FROM activity_heads",
    ):
        with pytest.raises(Exception, match="permission denied"):
            async with state.database.transaction() as session:
                await session.execute(text(statement))
    owned = await postgres_server.connect(fresh_database, OWNER_ROLE)
    try:
        with pytest.raises(asyncpg.PostgresError, match="kept as they are"):
            await owned.execute("DELETE FROM activity_entries")
    finally:
        await owned.close()


async def test_the_migration_chains_what_was_there(
    postgres_server: PostgresServer, new_database: Callable[..., Awaitable[str]], state: AppState
) -> None:
    """Rows of revision 0003, one of them open, verify by the code of today, and a later command goes on from them."""
    name = await new_database(migrated=False)
    url = postgres_server.url_for(name, APP_ROLE)
    ours = {
        "STAMPEDE_DATABASE_URL": url,
        "STAMPEDE_OWNER_DATABASE_URL": postgres_server.url_for(name, OWNER_ROLE),
    }
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STAMPEDE_")}

    async def migrate(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run, [sys.executable, "-m", "migrations", *arguments], cwd=PROJECT,
            env={**environment, **ours, **more}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert (await migrate("upgrade", "0003")).returncode == 0
    old = await postgres_server.connect(name, ADMIN_ROLE)
    try:
        await old.execute("""
            INSERT INTO merchants (id, name) VALUES (gen_random_uuid(), 'Acme'), (gen_random_uuid(), 'Nobody yet');
            INSERT INTO operators (id, merchant_id, email, password_hash, role)
            SELECT gen_random_uuid(), id, 'ada@acme.example', '', 'owner' FROM merchants WHERE name = 'Acme';
            INSERT INTO commands (id, merchant_id, operator_id, kind, idempotency_key, request_hash, reason, before,
                                  after, response_status, response_body, at, done_at)
            SELECT gen_random_uuid(), o.merchant_id, o.id, 'sale.pause', 'key ' || n, sha256('x'), 'why',
                   '{"rate": 1e16, "b": [1.50, "ü"]}', '{"status": "paused"}', 200, '{"status": "paused"}',
                   now() - n * interval '1 minute', CASE WHEN n = 3 THEN NULL ELSE now() END
            FROM operators o, generate_series(1, 1200) n;
            UPDATE commands SET response_status = NULL, response_body = NULL, after = NULL WHERE done_at IS NULL
        """)
        bare = await migrate()
        assert bare.returncode != 0
        assert "set STAMPEDE_SECRET_KEY" in bare.stderr
        done = await migrate(STAMPEDE_SECRET_KEY="k" * 32)
        assert done.returncode == 0, done.stderr
        ids = {row["name"]: UUID(str(row["id"])) for row in await old.fetch("SELECT id, name FROM merchants")}
    finally:
        await old.close()
    settings = state.settings.model_copy(update={"database_url": url})
    database = Database(make_engine(settings, role="tests"))
    try:
        key = SealKey.of("k" * 32)
        found = await check_activity(database, key, ids["Acme"])
        assert (found.first_broken, found.entries) == (None, 1200)
        nobody = await check_activity(database, key, ids["Nobody yet"])
        assert (nobody.first_broken, nobody.entries) == (None, 0)
        other = await check_activity(database, SealKey.of("another" * 8), ids["Acme"])
        assert other.first_broken is not None
        assert other.first_broken.reason == "seal"
    finally:
        await database.close()
