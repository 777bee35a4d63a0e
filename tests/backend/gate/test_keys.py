"""The table of keys is complete, and a lane's keys can only fall into one slot."""

import re
from uuid import uuid4

from redis.asyncio import Redis

from backend.gate import EntryId, Heartbeats, LaneEntry, LaneId, LaneKeys, Rebuild, Release
from backend.gate import keys as keys_module
from tests.support.lane import Lane


def _table() -> dict[str, str]:
    rows = re.findall(r"^``([^`]+)``\s+(hash|stream|string)\s", keys_module.__doc__ or "", re.MULTILINE)
    return dict(rows)


def test_table_names_every_key_of_a_lane() -> None:
    lane_id = LaneId(uuid4())
    spelled = {key.partition("}:")[2] for key in LaneKeys(lane_id).all()}
    documented = {name.removeprefix("{i:l}:") for name in _table() if name.startswith("{i:l}:")}
    properties = {name for name in vars(LaneKeys) if not name.startswith("_") and name not in ("all", "lane_id")}
    assert spelled | {"before:…"} == documented
    assert spelled | {"before"} == properties
    assert keys_module.DIRECTORY in _table()
    assert f"{keys_module.SLOT_PREFIX}…" in _table()


def test_every_key_carries_the_lanes_hash_tag_and_no_other() -> None:
    one, other = LaneId(uuid4()), LaneId(uuid4(), 3)
    for lane_id in (one, other):
        for key in (*LaneKeys(lane_id).all(), LaneKeys(lane_id).before(2)):
            assert key.startswith(f"{{{lane_id.item_id.hex}:{lane_id.lane}}}:")
            assert key.count("{") == key.count("}") == 1
    assert not set(LaneKeys(one).all()) & set(LaneKeys(other).all())
    assert len(set(LaneKeys(one).all())) == len(LaneKeys(one).all()) == 10


async def test_a_used_lane_has_the_documented_types_and_no_other_key(lane: Lane, admin: Redis) -> None:
    table = _table()
    await lane.load(5, per_shopper_limit=5)
    decision = await lane.buy()
    shopper_attempt = lane.attempt()
    (held,) = await lane.admit(shopper_attempt)
    assert held.entry_id
    release = Release(uuid4(), shopper_attempt.reservation_id, held.entry_id)
    await lane.gate.release(lane.lane_id, [release], generation=1)
    assert decision.entry_id
    await lane.gate.publish_applied(lane.lane_id, decision.entry_id)
    await admin.hset(lane.keys.counts, "second", 1)  # a flush is due
    await lane.buy()
    await lane.gate.enter(LaneEntry(lane.lane_id.item_id, uuid4(), "slug", "SKU"))
    await lane.gate.take_slots(["orders.drain:7"], "me", ttl_ms=60_000)
    await Heartbeats(lane.gate).beat("worker", "me")
    rebuilt = Lane(lane.gate, admin)
    await rebuilt.load()
    await Rebuild(lane.gate, rebuilt.lane_id, generation=2, nonce="2").begin(EntryId(1, 0))
    found = {}
    for key in await admin.keys("*"):
        name = re.sub(r"^\{[0-9a-f]{32}:0\}", "{i:l}", key.decode())
        name = re.sub(r"(:before:)\d+$", r"\1…", name)
        name = re.sub(r"^(stampede:clock:).*", r"\1…", name)
        found[name] = (await admin.type(key)).decode()
    assert found == table
