"""Broken products for the drills' negative controls: each takes a guard away, and the judge must say what it cost.

The entry modules install all of them with ``--breakable``; each is whole until a drill breaks it by a file. Nothing
here is reachable from the product.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

APPLIED_MAX = 20
"""Entries that the sleepy drain applies: half of what a drill's sale has."""


@dataclass(frozen=True)
class Broken:
    """What is broken, and what the judge has to find, by its own words."""

    what: str
    finds: str
    """``oversold``, ``stranded`` or ``undecided``."""
    install: Callable[[Callable[[], bool]], None]
    """Given the question whether it is to be broken now."""


def _keep_returned_units(broken: Callable[[], bool]) -> None:
    """A relay that takes its rows for told without telling: units that ran out of their hold are nobody's."""
    from backend.gate import Applied, GateAnswer
    from backend.orders import relay

    tell = relay._tell

    async def tell_nobody(gate: Any, lane_id: Any, rows: Any) -> Any:
        if not broken():
            return await tell(gate, lane_id, rows)
        return [(row, Applied(GateAnswer.DONE, None, None, None)) for row in rows]

    relay._tell = tell_nobody


def _sleep_on_entries(broken: Callable[[], bool]) -> None:
    """A drain that gives up in the middle and says nothing, as a consumer that swallows an exception does."""
    from backend.orders import drain

    drain_lane = drain.Drain.drain_lane
    applied: dict[Any, int] = {}

    async def sleepy(self: Any, lane_id: Any) -> Any:
        if broken() and applied.get(lane_id, 0) >= APPLIED_MAX:
            return drain.Drained()
        drained = await drain_lane(self, lane_id)
        applied[lane_id] = applied.get(lane_id, 0) + drained.applied
        return drained

    drain.Drain.drain_lane = sleepy
    drain.BATCH_MAX = APPLIED_MAX // 4


def _give_twice(broken: Callable[[], bool]) -> None:
    """A relay that gives a unit more for those that come back, under a cause of its own; and nobody checks the
    equation, which would stop the sale before the unit is sold."""
    from backend import reconciliation
    from backend.gate import Gate
    from backend.orders import drain

    release, check_equation, audit_tick = Gate.release, drain.Drain._check_equation, reconciliation.audit_tick

    async def generous(self: Any, lane_id: Any, releases: Any, *, generation: int) -> Any:
        answers = await release(self, lane_id, releases, generation=generation)
        if broken():
            await self.adjust(lane_id, cause=uuid4(), units=1, generation=generation)
        return answers

    async def content(*args: Any) -> Any:
        return None if broken() else await check_equation(*args)

    async def blind(*args: Any) -> Any:
        return None if broken() else await audit_tick(*args)

    Gate.release = generous
    drain.Drain._check_equation = content
    reconciliation.audit_tick = blind


BROKEN = {
    "units-kept": Broken("the relay marks units as given back and tells no gate", "stranded", _keep_returned_units),
    "entries-forgotten": Broken("the drain gives up half way and says nothing", "undecided", _sleep_on_entries),
    "units-given-twice": Broken("the relay gives a unit more, and nobody checks", "oversold", _give_twice),
}


def install_all(folder: Path) -> None:
    """Make every part breakable: ``<folder>/<name>.broken`` breaks it."""
    for name, one in BROKEN.items():
        one.install((folder / f"{name}.broken").exists)


@contextmanager
def break_part(folder: Path, name: str) -> Iterator[None]:
    """Broken for as long as the block lasts."""
    assert name in BROKEN, name
    mark = folder / f"{name}.broken"
    mark.touch()
    try:
        yield
    finally:
        mark.unlink()
