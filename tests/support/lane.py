"""One lane in a real gate store, with what tests need beyond the product: another clock, dumps, a failover."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis, RedisCluster

from backend.gate import (
    Applied,
    Attempt,
    Batch,
    Decision,
    EntryId,
    Gate,
    JournalEntry,
    LaneConfig,
    LaneId,
    LaneKeys,
    Throttle,
    reservation_id,
)

SECRET = bytes(range(32))
GENEROUS = Throttle(rate_per_s=1_000_000.0, burst=1_000_000, wait_budget_ms=0, repeat_window_ms=0)
"""A throttle that never refuses, for tests of something else."""
HOUR_MS = 3_600_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def open_config(**changes: Any) -> LaneConfig:
    """A lane that has been open for a minute and stays open for an hour."""
    config = LaneConfig(
        config_version=1,
        opens_at_ms=now_ms() - 60_000,
        closes_at_ms=now_ms() + HOUR_MS,
        paused=False,
        per_shopper_limit=1,
        throttle=GENEROUS,
        backlog_max=1_000_000,
        link_epoch=1,
        link_ttl_s=300,
        accepted_epochs={1: None},
        secrets={1: SECRET},
    )
    return replace(config, **changes)


@dataclass
class Lane:
    """A lane's handle: what an API process does with it, and what only a test may."""

    gate: Gate
    admin: Redis
    """Every right, bytes in and out."""
    lane_id: LaneId = field(default_factory=lambda: LaneId(uuid4()))
    generation: int = 1
    nonce: str = "0" * 32
    config: LaneConfig = field(default_factory=open_config)

    @property
    def keys(self) -> LaneKeys:
        return LaneKeys(self.lane_id)

    async def load(self, units: int = 10, **changes: Any) -> Applied:
        self.config = replace(self.config, **changes)
        return await self.gate.load(
            self.lane_id, generation=self.generation, nonce=self.nonce, units=units, config=self.config
        )

    async def reconfigure(self, *, clear_fault: bool = False, **changes: Any) -> str:
        version = self.config.config_version + 1
        self.config = replace(self.config, **{"config_version": version, **changes})
        return await self.gate.configure(self.lane_id, self.config, generation=self.generation, clear_fault=clear_fault)

    def attempt(
        self,
        shopper: UUID | None = None,
        key: str = "key",
        *,
        quantity: int = 1,
        epoch: int = 1,
        replay_only: bool = False,
    ) -> Attempt:
        shopper = shopper or uuid4()
        reservation = reservation_id(shopper, self.lane_id.item_id, key)
        return Attempt(reservation.bytes, shopper.bytes, quantity, epoch, replay_only)

    async def batch(
        self, attempts: Iterable[Attempt], *, generation: int | None = None, seen: int = -1, forged: int = 0
    ) -> Batch:
        return await self.gate.admit(
            self.lane_id,
            list(attempts),
            generation=self.generation if generation is None else generation,
            seen_seq=seen,
            forged=forged,
        )

    async def admit(self, *attempts: Attempt, **knowledge: Any) -> list[Decision]:
        return (await self.batch(attempts, **knowledge)).decisions

    async def buy(self, shopper: UUID | None = None, key: str = "key", **more: Any) -> Decision:
        (decision,) = await self.admit(self.attempt(shopper, key, **more))
        return decision

    async def journal(self) -> list[JournalEntry]:
        return await self.gate.entries(self.lane_id, start=EntryId(0, 0), count=1_000_000)

    # What only a test does.

    async def set_lane(self, **fields: Any) -> None:
        await self.admin.hset(self.keys.lane, mapping=fields)

    async def set_config(self, **fields: Any) -> None:
        await self.admin.hset(self.keys.config, mapping=fields)

    @asynccontextmanager
    async def store_setting(self, name: str, value: object) -> AsyncIterator[None]:
        """Another value of a setting on every node of the store: a Cluster's client asks just one of them by itself."""
        everywhere = {"target_nodes": RedisCluster.ALL_NODES} if isinstance(self.admin, RedisCluster) else {}
        before = (await self.admin.config_get(name))[name]
        await self.admin.config_set(name, value, **everywhere)
        try:
            yield
        finally:
            await self.admin.config_set(name, before, **everywhere)

    async def last_try(self, shopper: UUID) -> int:
        """Ms of the shopper's last try that reached the bucket, 0 for none."""
        row = await self.admin.hget(self.keys.shoppers, shopper.hex)
        return int(row.split(b" ")[1]) if row else 0

    async def set_last_try(self, shopper: UUID, at_ms: int) -> None:
        """Move a shopper's last try; what is held stays."""
        row = await self.admin.hget(self.keys.shoppers, shopper.hex) or b"0 0 "
        units, _, held = row.decode().split(" ")
        await self.admin.hset(self.keys.shoppers, shopper.hex, f"{units} {at_ms} {held}")

    async def lane_field(self, name: str) -> str:
        value = await self.admin.hget(self.keys.lane, name)
        return "" if value is None else value.decode()

    async def contents(self) -> dict[str, Any]:
        """Everything the lane holds but what refusals may change: counters, and the highest time seen."""
        found: dict[str, Any] = {}
        for key in self.keys.all():
            if key in (self.keys.counts, self.keys.series):
                continue
            kind = (await self.admin.type(key)).decode()
            if kind == "hash":
                found[key] = await self.admin.hgetall(key)
            elif kind == "stream":
                found[key] = await self.admin.xrange(key)
            elif kind == "string":
                found[key] = await self.admin.get(key)
            else:
                assert kind == "none", kind
        found.get(self.keys.lane, {}).pop(b"clock", None)
        return found

    async def everything(self) -> dict[bytes, bytes]:
        """Every key of the whole database, serialised."""
        return {key: await self.admin.dump(key) for key in sorted(await self.admin.keys("*"))}

    async def snapshot(self) -> dict[str, bytes | None]:
        """What a replica has at this moment."""
        return {key: await self.admin.dump(key) for key in self.keys.all()}

    async def fail_over_to(self, snapshot: dict[str, bytes | None]) -> None:
        """The replica that had ``snapshot`` becomes the gate: everything written since is lost."""
        for key, value in snapshot.items():
            if value is None:
                await self.admin.delete(key)
            else:
                await self.admin.restore(key, 0, value, replace=True)
