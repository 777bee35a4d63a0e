"""What an API process knows of the lanes without asking for each request: which exist, and how each stands.

The views decide nothing about units; the script does. They answer what may be a moment old: which lane a link is
for, whether its signature is genuine, whether links are handed out already.
"""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

from backend.gate.gate import Gate
from backend.gate.keys import FIRST_LANE, LaneId
from backend.gate.values import LaneEntry, LaneReading

VIEW_MAX_AGE_S = 0.25
"""A lane in use is read at most four times a second by a process; a returned unit shows within that time."""
DIRECTORY_MAX_AGE_S = 1.0
"""An unknown item is looked up at most once a second, whatever is thrown at us."""


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane as read a moment ago."""

    reading: LaneReading
    secrets: dict[int, bytes]
    read_at_s: float
    """Monotonic time at which the answer had arrived."""

    @property
    def now_ms(self) -> int:
        """The gate's clock, estimated: its reading plus what has passed here since. Never ahead of the gate,
        because the answer arrived after the clock was read."""
        return self.reading.read_at_ms + int((time.monotonic() - self.read_at_s) * 1000)


class LaneViews:
    """Views of all lanes, refreshed when used; callers that meet share one refresh."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._entries: dict[UUID, LaneEntry] = {}
        self._items: dict[tuple[str, str], UUID] = {}
        self._directory_at_s = float("-inf")
        self._views: dict[LaneId, LaneView] = {}
        self._first_lanes: dict[bytes, LaneView] = {}  # lane 0 of an item, by the bytes that stand in links
        self._refreshing: dict[LaneId | None, asyncio.Task[None]] = {}

    async def entry(self, item_id: UUID) -> LaneEntry | None:
        """The directory's line for an item, or None when no lane was ever loaded for it."""
        if item_id not in self._entries:
            await self._refresh_directory()
        return self._entries.get(item_id)

    def known_entry_by_sku(self, slug: str, sku: str) -> LaneEntry | None:
        """The same by names, if it was read before."""
        item_id = self._items.get((slug, sku))
        return self._entries.get(item_id) if item_id else None

    async def entry_by_sku(self, slug: str, sku: str) -> LaneEntry | None:
        """The same by names."""
        if (slug, sku) not in self._items:
            await self._refresh_directory()
        return self.known_entry_by_sku(slug, sku)

    async def entries_of_sale(self, slug: str) -> list[LaneEntry]:
        """All lines of one sale."""
        await self._refresh_directory()
        return [entry for entry in self._entries.values() if entry.slug == slug]

    def known_view(self, lane_id: LaneId, *, epoch: int | None = None) -> LaneView | None:
        """What ``view`` would return without asking the gate, None when it would have to."""
        view = self._views.get(lane_id)
        if view is None:
            return None
        if epoch is not None and epoch in view.secrets:
            return view
        return view if time.monotonic() - view.read_at_s <= VIEW_MAX_AGE_S else None

    def known_by_item(self, item: bytes, epoch: int) -> LaneView | None:
        """The view of an item's lane for a link, if it knows the link's epoch: no key to make, no clock to read."""
        view = self._first_lanes.get(item)
        return view if view is not None and epoch in view.secrets else None

    async def view(self, lane_id: LaneId, *, epoch: int | None = None) -> LaneView:
        """A view at most ``VIEW_MAX_AGE_S`` old.

        With ``epoch``, one of any age will do as long as it knows that epoch's secret: a genuine link then costs
        no call, and one of an unknown epoch costs at most one each ``VIEW_MAX_AGE_S``, for all together.
        """
        view = self.known_view(lane_id, epoch=epoch)
        if view is None:
            await self._once(lane_id)
            view = self._views[lane_id]
        return view

    async def reread(self, lane_id: LaneId) -> LaneView:
        """A view that was begun after this call: no refresh under way is joined."""
        await self._read_lane(lane_id)
        return self._views[lane_id]

    async def _refresh_directory(self) -> None:
        if time.monotonic() - self._directory_at_s > DIRECTORY_MAX_AGE_S:
            await self._once(None)

    async def _once(self, what: LaneId | None) -> None:
        task = self._refreshing.get(what)
        if task is None:
            task = asyncio.create_task(self._read_directory() if what is None else self._read_lane(what))
            self._refreshing[what] = task
            task.add_done_callback(lambda _: self._refreshing.pop(what, None))
        # Shielded: one impatient client must not cancel the refresh that others wait for.
        await asyncio.shield(task)

    async def _read_directory(self) -> None:
        self._entries = await self._gate.directory()
        self._items = {(entry.slug, entry.sku): entry.item_id for entry in self._entries.values()}
        self._directory_at_s = time.monotonic()

    async def _read_lane(self, lane_id: LaneId) -> None:
        reading = await self._gate.read(lane_id)
        secrets = await self._gate.secrets(lane_id)
        view = self._views[lane_id] = LaneView(reading, secrets, time.monotonic())
        if lane_id.lane == FIRST_LANE:
            self._first_lanes[lane_id.item_id.bytes] = view
