"""What an API process knows of the lanes: fresh enough, asked for once for all who meet, and never for each request."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from backend.gate import Gate, GateUnavailable, LaneEntry, LaneId, LaneReading, LaneViews
from backend.gate import views as views_module
from tests.support.lane import SECRET, Lane


class CountingGate(Gate):
    """The real gate, counting what the views ask of it; ``fail`` makes the next reads fail."""

    reads = 0
    directories = 0
    fail = 0

    async def read(self, lane_id: LaneId, **more: Any) -> LaneReading:
        self.reads += 1
        if self.fail:
            self.fail -= 1
            raise GateUnavailable("as asked")
        return await super().read(lane_id, **more)

    async def directory(self) -> dict[UUID, LaneEntry]:
        self.directories += 1
        return await super().directory()


@pytest.fixture
def counting(gate: Gate) -> CountingGate:
    return CountingGate(gate.store)


async def test_callers_that_meet_share_one_refresh(lane: Lane, counting: CountingGate) -> None:
    await lane.load(5)
    views = LaneViews(counting)
    found = await asyncio.gather(*(views.view(lane.lane_id) for _ in range(100)))
    assert counting.reads == 1
    assert len({id(view) for view in found}) == 1
    assert found[0].reading.available == 5
    assert found[0].secrets == {1: SECRET}


async def test_a_view_is_read_again_when_it_is_old(
    lane: Lane, counting: CountingGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lane.load(5)
    views = LaneViews(counting)
    await views.view(lane.lane_id)
    await lane.buy()
    assert (await views.reread(lane.lane_id)).reading.available == 4
    monkeypatch.setattr(views_module, "VIEW_MAX_AGE_S", -1.0)
    await lane.buy()
    assert (await views.view(lane.lane_id)).reading.available == 3
    assert counting.reads == 3


async def test_known_epochs_cost_nothing_and_unknown_ones_are_bounded(
    lane: Lane, counting: CountingGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lane.load(5)
    views = LaneViews(counting)
    await views.view(lane.lane_id, epoch=1)
    monkeypatch.setattr(views_module, "VIEW_MAX_AGE_S", -1.0)  # every view is old now
    for _ in range(50):
        await views.view(lane.lane_id, epoch=1)
    assert counting.reads == 1
    await lane.reconfigure(secrets={1: SECRET, 2: SECRET[::-1]}, link_epoch=2, accepted_epochs={2: None})
    view = await views.view(lane.lane_id, epoch=2)
    assert view.secrets[2] == SECRET[::-1]
    assert counting.reads == 2
    monkeypatch.setattr(views_module, "VIEW_MAX_AGE_S", 3600.0)
    for epoch in range(100, 200):
        await views.view(lane.lane_id, epoch=epoch)
    assert counting.reads == 2


async def test_unknown_items_are_looked_up_once_a_second_for_all(lane: Lane, counting: CountingGate) -> None:
    entry = LaneEntry(lane.lane_id.item_id, uuid4(), "slug", "SKU")
    await counting.enter(entry)
    views = LaneViews(counting)
    assert await asyncio.gather(*(views.entry(uuid4()) for _ in range(200))) == [None] * 200
    assert counting.directories == 1
    assert await views.entry(entry.item_id) == entry
    assert await views.entry_by_sku("slug", "SKU") == entry
    assert await views.entry_by_sku("slug", "OTHER") is None
    assert await views.entries_of_sale("slug") == [entry]
    assert counting.directories == 1


async def test_a_new_item_is_found_after_a_moment(
    lane: Lane, counting: CountingGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = LaneViews(counting)
    entry = LaneEntry(lane.lane_id.item_id, uuid4(), "slug", "SKU")
    assert await views.entry(entry.item_id) is None
    await counting.enter(entry)
    assert await views.entry(entry.item_id) is None
    monkeypatch.setattr(views_module, "DIRECTORY_MAX_AGE_S", -1.0)
    assert await views.entry(entry.item_id) == entry


async def test_a_failed_refresh_is_everybodys_and_the_next_one_tries_again(lane: Lane, counting: CountingGate) -> None:
    await lane.load(5)
    views = LaneViews(counting)
    counting.fail = 1
    answers = await asyncio.gather(*(views.view(lane.lane_id) for _ in range(10)), return_exceptions=True)
    assert {type(one) for one in answers} == {GateUnavailable}
    assert (await views.view(lane.lane_id)).reading.loaded
    assert counting.reads == 2


async def test_an_impatient_client_does_not_cancel_the_others_refresh(lane: Lane, counting: CountingGate) -> None:
    await lane.load(5)
    views = LaneViews(counting)
    first, second = (asyncio.create_task(views.view(lane.lane_id)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).reading.available == 5
    assert counting.reads == 1


async def test_the_estimated_clock_is_never_ahead(lane: Lane, counting: CountingGate) -> None:
    await lane.load(5)
    views = LaneViews(counting)
    for _ in range(20):
        view = await views.reread(lane.lane_id)
        estimate = view.now_ms
        assert view.reading.read_at_ms <= estimate <= await counting.now_ms()
