"""A sold-out marker never outlives a returned unit: every order of the two parties' steps."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.gate import EntryId, Gate, LaneId, LaneReading
from backend.pages import clear_sold_out, write_states
from backend.pages.markers import _clear, clearings, mark_sold_out
from tests.backend.shop import Shop, Stall


def marker(shop: Shop, stall: Stall, sku: str = "TEE-M") -> Path:
    return shop.settings.pages_dir / "soldout" / stall.slug / sku


def orders() -> Iterator[tuple[str, ...]]:
    """Every way to shuffle the relay's steps into the publisher's."""
    relay, publisher = ("commit", "clear", "give"), ("count", "outbox", "gate", "mark")
    for places in itertools.combinations(range(7), 3):
        left, right = iter(relay), iter(publisher)
        yield tuple(next(left) if at in places else next(right) for at in range(7))


async def play(pages_dir: Path, steps: tuple[str, ...], *, guarded: bool) -> bool:
    """Whether the marker stands at the end; the unit has been given back by then, so it must not."""
    pending = available = seen = 0
    saw_pending, saw_available = False, 0

    async def clear() -> None:
        await asyncio.to_thread(_clear, pages_dir, "sale", "TEE")

    for step in steps:
        if step == "commit":
            pending = 1
        elif step == "clear":
            await clear()
        elif step == "give":
            available = 1
        elif step == "count":
            seen = clearings(pages_dir, "sale", "TEE")
        elif step == "outbox":
            saw_pending = bool(pending)
        elif step == "gate":
            saw_available = available
        elif not saw_available and not (guarded and saw_pending):
            if not guarded:
                seen = clearings(pages_dir, "sale", "TEE")
            mark_sold_out(pages_dir, "sale", "TEE", seen_clearings=seen)
    return (pages_dir / "soldout" / "sale" / "TEE").exists()


async def test_no_order_of_steps_leaves_a_marker_behind(tmp_path: Path) -> None:
    every = list(orders())
    assert len(every) == 35
    for number, steps in enumerate(every):
        assert not await play(tmp_path / str(number), steps, guarded=True), steps


async def test_without_the_guards_some_orders_do(tmp_path: Path) -> None:
    """Negative control: neither the count nor the outbox is looked at."""
    stranded = [
        steps for number, steps in enumerate(orders()) if await play(tmp_path / str(number), steps, guarded=False)
    ]
    assert ("commit", "count", "outbox", "gate", "clear", "mark", "give") in stranded
    assert ("commit", "clear", "count", "outbox", "gate", "mark", "give") in stranded


async def published(shop: Shop, **how: object) -> Stall:
    stall = await shop.sale(**how)  # type: ignore[arg-type]
    await shop.sql("UPDATE sales SET published_version = 1 WHERE id = :sale", sale=stall.sale_id)
    return stall


async def write(shop: Shop, gate: Gate | None = None) -> None:
    """Write the states, as if the last ones were a second old."""
    for state in shop.settings.pages_dir.glob("state/*.json"):
        state.unlink()
    await write_states(shop.database, gate or shop.gate, shop.settings)


async def test_the_marker_comes_with_the_last_unit_and_goes_with_the_first_returned(shop: Shop) -> None:
    stall = await published(shop, items={"TEE-M": 1, "TEE-L": 5}, payment_required=True)
    await write(shop)
    assert not marker(shop, stall).exists()

    await shop.buy(stall)
    await shop.drain(stall)
    await write(shop)
    assert marker(shop, stall).exists()
    assert not marker(shop, stall, "TEE-L").exists()

    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 second'")
    await shop.expire()
    await write(shop)
    assert marker(shop, stall).exists(), "nothing was given back yet: it still is the truth"
    await shop.relay()
    assert not marker(shop, stall).exists()
    await write(shop)
    assert not marker(shop, stall).exists()


async def test_a_stale_reading_does_not_bring_the_marker_back(shop: Shop) -> None:
    """The publisher has read "none left" and sleeps; meanwhile the unit comes back. It must not set the marker."""
    stall = await published(shop, items={"TEE-M": 1}, payment_required=True)
    await shop.buy(stall)
    await shop.drain(stall)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 second'")

    class Sleepy(Gate):
        async def read(self, lane_id: LaneId, *, cursor: EntryId | None = None, sure: bool = False) -> LaneReading:
            reading = await super().read(lane_id, cursor=cursor, sure=sure)
            await shop.expire()
            await shop.settle(stall)
            return reading

    await write(shop, Sleepy(shop.gate.store))

    assert (await shop.gate.read(stall.lane())).available == 1
    assert not marker(shop, stall).exists()


async def test_a_marker_is_not_set_while_units_wait_to_return(shop: Shop) -> None:
    stall = await published(shop, items={"TEE-M": 1}, payment_required=True)
    await shop.buy(stall)
    await shop.drain(stall)
    await shop.sql("UPDATE reservations SET expires_at = now() - interval '1 second'")
    await shop.expire()
    await clear_sold_out(shop.settings, stall.slug, "TEE-M")

    await write(shop)

    assert not marker(shop, stall).exists()


async def test_a_sale_that_is_over_has_no_markers(shop: Shop) -> None:
    stall = await published(shop, items={"TEE-M": 1})
    await shop.buy(stall)
    await shop.drain(stall)
    await write(shop)
    assert marker(shop, stall).exists()

    await shop.end(stall)
    await write(shop)

    assert not marker(shop, stall).exists(), "the answer is ENDED now"


async def test_while_the_gate_is_down_no_marker_is_set_and_the_ledger_speaks(shop: Shop) -> None:
    stall = await published(shop, items={"TEE-M": 1})
    await shop.buy(stall)
    await shop.drain(stall)
    dead = Gate.connect("redis://127.0.0.1:1/0", timeout_s=0.5, name="dead")

    await write(shop, dead)
    await dead.close()

    assert not marker(shop, stall).exists()
    state = (shop.settings.pages_dir / "state" / f"{stall.slug}.json").read_text()
    assert '"phase":"sold_out"' in state


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", ""])
async def test_a_name_that_is_none_never_becomes_a_path(shop: Shop, name: str) -> None:
    for slug, sku in ((name, "TEE-M"), ("sale", name)):
        with pytest.raises(ValueError, match="not a"):
            await clear_sold_out(shop.settings, slug, sku)
