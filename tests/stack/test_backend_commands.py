"""``operator add``, ``shopper-token`` and ``reconcile``, run like an operator of the platform runs them."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.accounts import SHOPPER_TOKEN_LABEL, ShopperTokens, sign_in
from backend.accounts.passwords import Hashing
from backend.core.clock import now_ms
from backend.core.signing import derive_key
from backend.gate import LaneKeys
from tests.backend.shop import Shop, shop

__all__ = ["shop"]

PASSWORD = "correct horse battery"
_PROJECT = Path(__file__).parents[2]


async def stampede(shop: Shop, *arguments: str, typed: str = "", without: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line with the shop's settings; ``without`` leaves one variable out."""
    settings = shop.settings
    ours = {
        "STAMPEDE_ENVIRONMENT": "local",
        "STAMPEDE_SECRET_KEY": settings.secret_key,
        "STAMPEDE_DATABASE_URL": settings.database_url,
        "STAMPEDE_GATE_URL": settings.gate_url,
        "STAMPEDE_BROKER_URL": settings.broker_url,
        "STAMPEDE_PAGES_DIR": str(settings.pages_dir),
    }
    ours.pop(without, None)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STAMPEDE_")}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "stack.cli", *arguments],
        cwd=_PROJECT,
        env={**environment, **ours},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_an_operator_who_was_added_can_sign_in(shop: Shop) -> None:
    how = ("operator", "add", "--email", "Ada@Merchant.example", "--role", "owner", "--merchant", "Ada & Co")

    made = await stampede(shop, *how, typed=f"{PASSWORD}\n")

    assert made.returncode == 0, made.stderr
    assert PASSWORD not in made.stdout + made.stderr
    signed_in = await sign_in(shop.database, Hashing(), "ada@merchant.example", PASSWORD)
    assert signed_in.role == "owner"
    again = await stampede(shop, *how, typed=f"{PASSWORD}\n")
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.mark.parametrize(
    ("role", "password", "words"), [("king", PASSWORD, "owner, operator, auditor"), ("owner", "short", "8 to 256")]
)
async def test_an_operator_that_cannot_be_is_refused_in_one_line(
    shop: Shop, role: str, password: str, words: str
) -> None:
    how = ("operator", "add", "--email", "ada@merchant.example", "--role", role, "--merchant", "Ada")
    refused = await stampede(shop, *how, typed=f"{password}\n")
    assert refused.returncode == 1
    assert words in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert await shop.sql("SELECT 1 FROM operators") == []


async def test_tokens_are_one_a_line_and_each_names_another_shopper(shop: Shop) -> None:
    made = await stampede(shop, "shopper-token", "--count", "25")

    assert made.returncode == 0, made.stderr
    tokens = ShopperTokens(derive_key(shop.settings.secret_key, SHOPPER_TOKEN_LABEL))
    shoppers = {tokens.verify(line, now_ms()) for line in made.stdout.splitlines()}
    assert len(shoppers) == 25
    assert None not in shoppers
    (row,) = await shop.sql("SELECT count(*) AS n FROM shoppers")
    assert row.n == 25


async def test_reconcile_says_what_it_found_by_its_exit_status(shop: Shop) -> None:
    stall = await shop.sale()
    await shop.buy(stall)
    await shop.drain(stall)

    clean = await stampede(shop, "reconcile", stall.slug)
    assert clean.returncode == 0, clean.stderr
    assert "clean: oversold 0, stranded 0, drift 0, duplicates 0" in clean.stdout

    await shop.gate.store.client.hincrby(LaneKeys(stall.lane()).lane, "available", -2)
    found = await stampede(shop, "reconcile", str(stall.sale_id))
    assert found.returncode == 1
    assert "findings: oversold 0, stranded 2, drift -2, duplicates 0" in found.stdout
    runs = await shop.sql("SELECT trigger, verdict FROM reconciliation_runs ORDER BY started_at")
    assert [(row.trigger, row.verdict) for row in runs] == [("command line", "clean"), ("command line", "findings")]


async def test_rebuild_says_each_step_and_may_be_repeated(shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 10, "TEE-L": 5})
    bought = await shop.buy(stall)
    await shop.drain(stall)
    queued = await shop.buy(stall, sku="TEE-L")
    await shop.gate.store.client.unlink(*LaneKeys(stall.lane()).all())

    made = await stampede(shop, "rebuild", stall.slug, "--reason", "tried out")
    assert made.returncode == 0, made.stderr
    assert f"stopped: {stall.slug} was live" in made.stdout
    assert "gate: TEE-M refilled, 1 claims" in made.stdout
    assert "gate: TEE-L whole again, 4 available" in made.stdout
    assert "generation 2, 1 survivors, 0 of them rejected" in made.stdout
    assert f"whole: {stall.slug} goes on" in made.stdout
    (event,) = await shop.sql("SELECT detail FROM sale_events WHERE kind = 'sale.rebuild_requested'")
    assert event.detail == {"fault": "none", "reason": "tried out"}
    await shop.settle(stall)
    assert (await shop.order_of(bought)).status == (await shop.order_of(queued)).status == "confirmed"

    # Killed half-way: the sale is stopped for it already, and nothing is asked for twice.
    await shop.sql("UPDATE sales SET fault = 'rebuild' WHERE id = :sale", sale=stall.sale_id)
    again = await stampede(shop, "rebuild", str(stall.sale_id))
    assert again.returncode == 0, again.stderr
    assert "gate:" not in again.stdout
    clean = await stampede(shop, "reconcile", stall.slug)
    assert clean.returncode == 0, clean.stdout


async def test_rebuild_refuses_in_one_line(shop: Shop) -> None:
    stall = await shop.sale(loaded=False)
    for name, words in (("no-such-sale", "there is no sale no-such-sale"), (stall.slug, "not in the gate yet")):
        refused = await stampede(shop, "rebuild", name)
        assert refused.returncode == 1
        assert words in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1


async def test_an_unknown_sale_and_missing_settings_are_one_line_each(shop: Shop) -> None:
    unknown = await stampede(shop, "reconcile", "no-such-sale")
    assert (unknown.returncode, unknown.stderr.strip()) == (1, "stampede: there is no sale no-such-sale")
    missing = await stampede(shop, "reconcile", "any", without="STAMPEDE_GATE_URL")
    assert missing.returncode == 1
    assert "gate_url" in missing.stderr
    assert "Traceback" not in missing.stderr


async def test_the_activity_log_is_verified_and_sealed_anew_by_whoever_stands_for_it(shop: Shop) -> None:
    how = ("operator", "add", "--email", "ada@merchant.example", "--role", "owner", "--merchant", "Ada & Co")
    assert (await stampede(shop, *how, typed=f"{PASSWORD}\n")).returncode == 0
    empty = await stampede(shop, "verify-activity")
    assert (empty.returncode, empty.stdout.startswith("Ada & Co: verified, 0 entries, head 0 ")) == (0, True)

    # A command that nobody chained.
    await shop.sql(
        "INSERT INTO commands (id, merchant_id, operator_id, kind, idempotency_key, request_hash) "
        "SELECT gen_random_uuid(), merchant_id, id, 'sale.pause', 'k', '' FROM operators"
    )
    broken = await stampede(shop, "verify-activity", "--merchant", "Ada & Co")
    assert broken.returncode == 1
    assert broken.stdout.startswith("Ada & Co: BROKEN (seal)")
    resealed = await stampede(shop, "verify-activity", "--merchant", "Ada & Co", "--reseal")
    assert "BROKEN (added, command " in resealed.stdout, "a new seal vouches for no entry"
    for wrong in (("--reseal",), ("--merchant", "Nobody")):
        refused = await stampede(shop, "verify-activity", *wrong)
        assert refused.returncode == 1
        assert refused.stderr.startswith("stampede: ")
