"""Entries that no script of ours writes, with digests that chain: what a fault or an older version could leave."""

import hashlib
from typing import Any
from uuid import UUID, uuid4

from tests.support.lane import Lane


async def append(lane: Lane, **fields: Any) -> str:
    """Append one entry after the lane's last and move the lane behind it, so that only the content is wrong."""
    state = {name.decode(): value.decode() for name, value in (await lane.admin.hgetall(lane.keys.lane)).items()}
    entry_id = f"{state['generation']}-{int(state['seq']) + 1}"
    entry = {
        "kind": "reserve",
        "cause": uuid4().hex,
        "shopper": uuid4().hex,
        "quantity": "1",
        "at": "1795361416047",
        "left": str(int(state["available"]) - 1),
    } | {name: str(value) for name, value in fields.items()}
    text = "|".join((state["digest"], entry_id, *entry.values()))
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    await lane.admin.xadd(lane.keys.journal, {**entry, "digest": digest}, id=entry_id)
    await lane.set_lane(seq=int(state["seq"]) + 1, digest=digest, available=entry["left"])
    return entry_id


async def phantom(lane: Lane, units: int = 1) -> UUID:
    """Units that the gate has and the ledger never gave: an adjustment without an outbox row."""
    cause = uuid4()
    await lane.gate.adjust(lane.lane_id, cause=cause, units=units, generation=lane.generation)
    return cause


async def spoil(lane: Lane, entry_id: str, **changes: Any) -> None:
    """Alter fields of one entry as a faulty script would have written them: claims and counts are those of the true
    attempt, and every digest from there on chains."""
    rows = [(one.decode(), fields) for one, fields in await lane.admin.xrange(lane.keys.journal)]
    await lane.admin.delete(lane.keys.journal)
    digest = ""
    for one, fields in rows:
        fields.pop(b"digest")
        if one == entry_id:
            fields |= {name.encode(): str(value).encode() for name, value in changes.items()}
        text = b"|".join((digest.encode(), one.encode(), *fields.values()))
        digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        await lane.admin.xadd(lane.keys.journal, {**fields, b"digest": digest}, id=one)
    await lane.set_lane(digest=digest)
