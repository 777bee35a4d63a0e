"""``admit`` checks in the order of DESIGN 3: of any two conditions that hold at once, the earlier is answered; and a
refusal leaves no trace but counters."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any
from uuid import UUID, uuid4

import pytest

from backend.gate import Outcome
from tests.support.lane import HOUR_MS, Lane, now_ms


@dataclass
class Scene:
    """A lane with 10 units and one attempt of one shopper on it."""

    lane: Lane
    shopper: UUID = field(default_factory=uuid4)
    quantity: int = 1
    epoch: int = 1
    replay_only: bool = False
    generation: int = 1
    seen: int = -1


async def _replay(scene: Scene) -> None:
    (taken,) = await scene.lane.admit(scene.lane.attempt(scene.shopper, "key", quantity=scene.quantity))
    assert taken.outcome is Outcome.RESERVED


async def _key_reused(scene: Scene) -> None:
    (taken,) = await scene.lane.admit(scene.lane.attempt(scene.shopper, "key", quantity=5))
    assert taken.outcome is Outcome.RESERVED


async def _not_loaded(scene: Scene) -> None:
    await scene.lane.admin.delete(scene.lane.keys.lane)


async def _regressed(scene: Scene) -> None:
    scene.seen = 1_000


async def _stale(scene: Scene) -> None:
    scene.generation = 0


async def _expired_link(scene: Scene) -> None:
    scene.replay_only = True


async def _paused(scene: Scene) -> None:
    await scene.lane.set_config(paused=1)


async def _revoked(scene: Scene) -> None:
    scene.epoch = 99


async def _not_open(scene: Scene) -> None:
    await scene.lane.set_config(opens_at_ms=now_ms() + HOUR_MS)


async def _ended(scene: Scene) -> None:
    await scene.lane.set_config(closes_at_ms=now_ms() - 1)


async def _limit(scene: Scene) -> None:
    await scene.lane.admin.hset(scene.lane.keys.shoppers, scene.shopper.hex, f"10 0 {'0' * 32}")


async def _repeated(scene: Scene) -> None:
    await scene.lane.set_config(repeat_window_ms=HOUR_MS)
    await scene.lane.set_last_try(scene.shopper, now_ms() - 1)


async def _sold_out(scene: Scene) -> None:
    await scene.lane.set_lane(available=0)


async def _not_enough(scene: Scene) -> None:
    scene.quantity = 2
    await scene.lane.set_lane(available=1)


async def _backlog(scene: Scene) -> None:
    await scene.lane.set_config(backlog_max=0)


async def _throttled(scene: Scene) -> None:
    await scene.lane.set_config(rate_per_s="0.001", burst=1)
    await scene.lane.set_lane(tat=now_ms() + 1_000_000)


CONDITIONS: dict[Outcome, Callable[[Scene], Awaitable[None]]] = {
    Outcome.REPLAYED: _replay,
    Outcome.KEY_REUSED: _key_reused,
    Outcome.NOT_LOADED: _not_loaded,
    Outcome.REGRESSED: _regressed,
    Outcome.STALE_GENERATION: _stale,
    Outcome.LINK_INVALID: _expired_link,
    Outcome.PAUSED: _paused,
    Outcome.LINK_REVOKED: _revoked,
    Outcome.NOT_OPEN: _not_open,
    Outcome.ENDED: _ended,
    Outcome.LIMIT_REACHED: _limit,
    Outcome.REPEATED: _repeated,
    Outcome.SOLD_OUT: _sold_out,
    Outcome.NOT_ENOUGH: _not_enough,
    Outcome.BACKLOG: _backlog,
    Outcome.THROTTLED: _throttled,
}
CANNOT_MEET = {
    (Outcome.REPLAYED, Outcome.KEY_REUSED),  # the quantity is the same, or it is another
    (Outcome.REGRESSED, Outcome.STALE_GENERATION),  # the caller knows a lower generation, or the same
    (Outcome.SOLD_OUT, Outcome.NOT_ENOUGH),
}
TRACELESS = list(CONDITIONS)[2:-1]


async def _answer(scene: Scene) -> Any:
    attempt = scene.lane.attempt(
        scene.shopper,
        "key",
        quantity=scene.quantity,
        epoch=scene.epoch,
        replay_only=scene.replay_only,
    )
    (decision,) = await scene.lane.admit(attempt, generation=scene.generation, seen=scene.seen)
    return decision


def test_the_enum_is_spelled_in_the_scripts_order() -> None:
    assert [*CONDITIONS, Outcome.RESERVED] == list(Outcome)


async def test_without_any_condition_a_unit_is_reserved(lane: Lane) -> None:
    await lane.load(10, per_shopper_limit=10)
    assert (await _answer(Scene(lane))).outcome is Outcome.RESERVED


@pytest.mark.parametrize(
    ("earlier", "later"), [pair for pair in combinations(CONDITIONS, 2) if pair not in CANNOT_MEET]
)
async def test_the_earlier_of_two_conditions_is_answered(lane: Lane, earlier: Outcome, later: Outcome) -> None:
    await lane.load(10, per_shopper_limit=10)
    scene = Scene(lane)
    if later is Outcome.NOT_ENOUGH:
        scene.quantity = 2  # before a first try of the same key is made with it
    for condition in (earlier, later):
        await CONDITIONS[condition](scene)
    assert (await _answer(scene)).outcome is earlier


@pytest.mark.parametrize("condition", TRACELESS)
async def test_a_refusal_leaves_no_trace_but_counters(lane: Lane, condition: Outcome) -> None:
    await lane.load(10, per_shopper_limit=10)
    await lane.buy()
    scene = Scene(lane)
    await CONDITIONS[condition](scene)
    before = await lane.contents()
    decision = await _answer(scene)
    assert decision.outcome is condition
    assert decision.entry_id is None
    after = await lane.contents()
    if condition is Outcome.REGRESSED:
        assert after[lane.keys.lane].pop(b"fault") == b"regressed"
        assert before[lane.keys.lane].pop(b"fault") == b""
    assert after == before
    counted = {name.decode(): int(n) for name, n in (await lane.admin.hgetall(lane.keys.counts)).items()}
    counted.pop("second")
    # A stale caller asks again at once, and a lane that is not loaded has nowhere to count.
    silent = condition in (Outcome.STALE_GENERATION, Outcome.NOT_LOADED)
    assert counted == {"RESERVED": 1} | ({} if silent else {condition.value: 1})


async def test_a_throttled_try_leaves_its_time_and_takes_nothing(lane: Lane) -> None:
    await lane.load(10, per_shopper_limit=10)
    scene = Scene(lane)
    await _throttled(scene)
    before = await lane.contents()
    assert (await _answer(scene)).outcome is Outcome.THROTTLED
    after = await lane.contents()
    rows = after.pop(lane.keys.shoppers)
    assert list(rows) == [scene.shopper.hex.encode()]
    units, tried, held = rows[scene.shopper.hex.encode()].split(b" ")
    assert (units, held) == (b"0", b"")
    assert int(tried) > 0
    after[lane.keys.lane].pop(b"tat")
    before[lane.keys.lane].pop(b"tat")
    assert after == before
