"""The database itself refuses what must not be: counters that do not add up, ids twice, a ledger that changes."""

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from stack.servers import PostgresServer
from stack.servers.postgres import APP_ROLE, OWNER_ROLE
from tests.support.checker import findings
from tests.support.shop import Shop

ITEM = "UPDATE sale_items SET {} WHERE id = :item"
SALE = "UPDATE sales SET {} WHERE id = :sale"
CURSOR = "UPDATE journal_cursors SET {} WHERE item_id = :item"
RESERVATION = "UPDATE reservations SET {} WHERE item_id = :item"
OUTBOX = (
    "INSERT INTO gate_outbox (id, sale_id, item_id, lane, kind, status, quantity, reservation_id, generation, seq) "
    "VALUES (gen_random_uuid(), :sale, :item, 0, '{}', 'pending', {}, {}, 1, {})"
)
ENTRY = (
    "INSERT INTO ledger_entries (sale_id, item_id, kind, quantity, allotment_delta, available_delta, reserved_delta, "
    "sold_delta, reservation_id) VALUES (:sale, :item, '{}', 1, {}, {}, {}, {}, {})"
)
THE_SAME = "'01a2050c-5393-7396-960b-5e49dd0f6329'"
SOMEBODY = "gen_random_uuid()"
COPIED_RESERVATION = (
    "INSERT INTO reservations (id, sale_id, item_id, lane, generation, seq, shopper_id, quantity, status, admitted_at) "
    "SELECT {}, {}, {}, lane, generation, seq + 9, shopper_id, quantity, status, admitted_at FROM reservations "
    "WHERE item_id = :item"
)
# A reservation without an order is made first: an order of its own is then refused for what differs alone.
COPIED_ORDER = (
    "WITH r AS (INSERT INTO reservations (id, sale_id, item_id, lane, generation, seq, shopper_id, quantity, status, "
    "admitted_at) SELECT gen_random_uuid(), sale_id, item_id, lane, generation, seq + 9, shopper_id, quantity, status, "
    "admitted_at FROM reservations WHERE item_id = :item RETURNING *) "
    "INSERT INTO orders (id, reservation_id, sale_id, item_id, shopper_id, sku, quantity, status, price_minor, "
    "currency) SELECT gen_random_uuid(), {}, sale_id, {}, {}, 'TEE-M', {}, status, 1, 'EUR' FROM r"
)
NOTIFICATION = (
    "INSERT INTO notifications (id, kind, status, sale_id, order_id) "
    "SELECT gen_random_uuid(), 'order_expired', 'pending', {}, {} FROM orders WHERE item_id = :item"
)

REFUSED = {
    "units_conserved": ITEM.format("available = available - 1"),
    "units from nowhere": ITEM.format("sold = sold + 1"),
    "available_not_negative": ITEM.format("available = -1, sold = allotment + 1 - reserved"),
    "reserved_not_negative": ITEM.format("reserved = -1, available = available + 1"),
    "sold_not_negative": ITEM.format("sold = -1, available = allotment + 1 - reserved"),
    "price_not_negative": ITEM.format("price_minor = -1"),
    "limit_positive": ITEM.format("per_shopper_limit = 0"),
    "throttle_whole": ITEM.format("rate_per_s = 5"),
    "closes_after_opening": SALE.format("closes_at = opens_at"),
    "throttle": SALE.format("rate_per_s = 0"),
    "burst": SALE.format("burst = 0"),
    "link": SALE.format("link_ttl_s = 0"),
    "hold": SALE.format("hold_s = 0"),
    "lead_not_negative": SALE.format("lead_s = -1"),
    "stage": SALE.format("stage = 'open'"),
    "fault": SALE.format("fault = 'tired'"),
    "generation_positive": CURSOR.format("generation = 0"),
    "adopted_whole": CURSOR.format("seq = 5, digest = NULL"),
    "quantity_positive": RESERVATION.format("quantity = 0"),
    "rejected_with_reason": RESERVATION.format("status = 'rejected'"),
    "reason without rejection": RESERVATION.format("reason = 'no_stock'"),
    "reservation status": RESERVATION.format("status = 'done'"),
    "one order a reservation": (
        "INSERT INTO orders (id, reservation_id, sale_id, item_id, shopper_id, sku, quantity, status, price_minor, "
        "currency) SELECT gen_random_uuid(), reservation_id, sale_id, item_id, shopper_id, sku, quantity, status, "
        "price_minor, currency FROM orders WHERE item_id = :item"
    ),
    "one entry a reservation": (
        "INSERT INTO reservations (id, sale_id, item_id, lane, generation, seq, shopper_id, quantity, status, "
        "admitted_at) SELECT gen_random_uuid(), sale_id, item_id, lane, generation, seq, shopper_id, quantity, status, "
        "admitted_at FROM reservations WHERE item_id = :item"
    ),
    "the same reservation id": (
        "INSERT INTO reservations (id, sale_id, item_id, lane, generation, seq, shopper_id, quantity, status, "
        "admitted_at) SELECT id, sale_id, item_id, lane, generation, seq + 9, shopper_id, quantity, status, "
        "admitted_at FROM reservations WHERE item_id = :item"
    ),
    "one notification of a kind": (
        "INSERT INTO notifications (id, kind, status, sale_id, order_id) SELECT gen_random_uuid(), kind, status, "
        "sale_id, order_id FROM notifications WHERE sale_id = :sale"
    ),
    "a notification to nobody": (
        "INSERT INTO notifications (id, kind, status, sale_id) VALUES (gen_random_uuid(), 'sign_in_code', 'pending', "
        ":sale)"
    ),
    "a second release of a claim": OUTBOX.format("release", 1, THE_SAME, 1) + ", " + (
        f"(gen_random_uuid(), :sale, :item, 0, 'release', 'pending', 1, {THE_SAME}, 1, 1)"
    ),
    "a forfeit that gives": OUTBOX.format("forfeit", 1, SOMEBODY, 7),
    "a release of nothing": OUTBOX.format("release", 0, SOMEBODY, 7),
    "a release of nobody's": OUTBOX.format("release", 1, "NULL", 7),
    "a negative release": OUTBOX.format("release", -1, SOMEBODY, 7),
    "entry conserves units": ENTRY.format("adjust", 0, 1, 0, 0, SOMEBODY),
    "entry without a cause": ENTRY.format("adjust", 0, 0, 0, 0, "NULL"),
    "entry of no kind": ENTRY.format("gift", 0, 0, 0, 0, SOMEBODY),
    "a reservation of no item": COPIED_RESERVATION.format("gen_random_uuid()", "sale_id", SOMEBODY),
    "a reservation of another sale's item": COPIED_RESERVATION.format("gen_random_uuid()", SOMEBODY, "item_id"),
    "an order of no reservation": COPIED_ORDER.format(SOMEBODY, "item_id", "r.shopper_id", "r.quantity"),
    "an order of another item": COPIED_ORDER.format("r.id", SOMEBODY, "r.shopper_id", "r.quantity"),
    "an order of another shopper": COPIED_ORDER.format("r.id", "item_id", SOMEBODY, "r.quantity"),
    "an order of another quantity": COPIED_ORDER.format("r.id", "item_id", "r.shopper_id", "r.quantity + 1"),
    "an entry of no item": ENTRY.replace(":item", SOMEBODY).format("adjust", 0, 0, 0, 0, SOMEBODY),
    "an entry of another sale": ENTRY.replace(":sale", SOMEBODY).format("adjust", 0, 0, 0, 0, SOMEBODY),
    "a notification of no order": NOTIFICATION.format(":sale", SOMEBODY),
    "a notification of another sale": NOTIFICATION.format(SOMEBODY, "id"),
    "a notification without its sale": NOTIFICATION.format("NULL", "id"),
    "a reservation renamed": RESERVATION.format("id = gen_random_uuid()"),
    "a reservation moved": RESERVATION.format("item_id = gen_random_uuid()"),
    "an order moved": "UPDATE orders SET reservation_id = gen_random_uuid() WHERE item_id = :item",
    "a notification moved": "UPDATE notifications SET order_id = gen_random_uuid() WHERE sale_id = :sale",
    "a reservation deleted": "DELETE FROM reservations WHERE item_id = :item",
    "an order deleted": "DELETE FROM orders WHERE item_id = :item",
    "an item deleted": "DELETE FROM sale_items WHERE id = :item",
    "a sale deleted": "DELETE FROM sales WHERE id = :sale",
    "sold twice": (
        "INSERT INTO ledger_entries (sale_id, item_id, kind, quantity, reservation_id, allotment_delta, "
        "available_delta, reserved_delta, sold_delta) SELECT sale_id, item_id, kind, quantity, reservation_id, 0, 0, "
        "-1, 1 FROM ledger_entries WHERE kind = 'sell' AND item_id = :item"
    ),
}  # fmt: skip


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED.keys())
async def test_the_database_refuses(shop: Shop, statement: str) -> None:
    await shop.lane.admit(shop.lane.attempt())
    await shop.drain()
    with pytest.raises(DBAPIError) as refused:
        await shop.rows(statement)
    assert (refused.value.orig.sqlstate or "").startswith("23"), refused.value
    assert await findings(shop, at_rest=True) == []


@pytest.mark.parametrize("role", [APP_ROLE, OWNER_ROLE])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET quantity = 5",
        "UPDATE ledger_entries SET quantity = 5 WHERE false",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries",
        "TRUNCATE ledger_entries CASCADE",
        (
            "INSERT INTO ledger_entries (id, sale_id, item_id, kind, quantity, seq) OVERRIDING SYSTEM VALUE "
            "SELECT id, sale_id, item_id, kind, 9, 1 FROM ledger_entries "
            "ON CONFLICT (id) DO UPDATE SET quantity = 9"
        ),
    ],
)
async def test_the_ledger_is_append_only(
    shop: Shop, postgres_server: PostgresServer, fresh_database: str, role: str, statement: str
) -> None:
    """By right for the application, by trigger even for the owner."""
    await shop.lane.admit(shop.lane.attempt())
    await shop.drain()
    before = await shop.rows("SELECT * FROM ledger_entries ORDER BY id")
    assert len(before) == 3
    connection = await postgres_server.connect(fresh_database, role)
    try:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.PostgresError)) as refused:
            await connection.execute(statement)
        assert refused.value.sqlstate == "42501"
    finally:
        await connection.close()
    assert await shop.rows("SELECT * FROM ledger_entries ORDER BY id") == before


async def test_the_application_cannot_switch_the_guard_off(
    shop: Shop, postgres_server: PostgresServer, fresh_database: str
) -> None:
    connection = await postgres_server.connect(fresh_database, APP_ROLE)
    try:
        for statement in (
            "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
            "DROP TRIGGER ledger_entries_append_only ON ledger_entries",
            "DROP TABLE ledger_entries CASCADE",
            "SET session_replication_role = replica",
            "UPDATE alembic_version SET version_num = 'x'",
        ):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(statement)
            assert refused.value.sqlstate == "42501", statement
    finally:
        await connection.close()


async def test_a_row_that_agrees_is_taken(shop: Shop) -> None:
    """The negative control of the copies above: refused for what differs, not for being copies."""
    await shop.lane.admit(shop.lane.attempt())
    await shop.drain()
    await shop.rows(COPIED_ORDER.format("r.id", "item_id", "r.shopper_id", "r.quantity"))
    await shop.rows(NOTIFICATION.format("sale_id", "id"))
    assert await shop.one("SELECT count(*) FROM orders WHERE item_id = :item") == 2
    assert await shop.one("SELECT count(*) FROM notifications WHERE sale_id = :sale") == 3


async def test_a_failed_transaction_leaves_nothing(shop: Shop) -> None:
    async def fail() -> None:
        async with shop.database.transaction() as session:
            await session.execute(text("UPDATE sales SET title = 'x' WHERE id = :s"), {"s": shop.sale_id})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await shop.one("SELECT title FROM sales WHERE id = :sale") == "Friday tee"


async def test_every_connection_has_its_time_outs(shop: Shop) -> None:
    for name, expected in (
        ("lock_timeout", "10s"),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("plan_cache_mode", "force_custom_plan"),
        ("timezone", "UTC"),
        ("application_name", "stampede-tests"),
    ):
        assert await shop.one("SELECT current_setting(:name)", name=name) == expected
