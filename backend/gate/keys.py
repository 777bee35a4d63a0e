"""The gate's keys, spelled here and nowhere else.

Every key of a lane carries one hash tag, ``{item:lane}``, so that a Redis Cluster keeps a lane in one slot;
``item`` is the hexadecimal id of the sale item, so no merchant's text gets into a key.

=====================  ======  ==================================================================  ==============
name                   type    meaning                                                             life time
=====================  ======  ==================================================================  ==============
``{i:l}:config``       hash    what the ledger wants of the lane (``LaneConfig``), link secrets    retention
``{i:l}:lane``         hash    generation, nonce, seq, digest, the units, bucket, clock, fault      retention
``{i:l}:claims``       hash    reservation → ``generation seq quantity at_ms shopper state``       retention
``{i:l}:shoppers``     hash    shopper → ``units tried_ms reservation,reservation``: what is       retention
                               live, and the last try that reached the bucket (0: none)
``{i:l}:causes``       hash    cause of a release or an adjustment → ``generation-seq``            retention
``{i:l}:journal``      stream  every change of units, id ``generation-seq``                        retention
``{i:l}:before:…``     stream  the journal that the rebuild of this generation ended               retention
``{i:l}:rebuild``      hash    generation and nonce of a rebuild under way, and the units that     its end
                               the claims written so far hold
``{i:l}:applied``      string  ``generation-seq`` of the last entry committed to the ledger        retention
``{i:l}:counts``       hash    outcomes so far, and the second they were last flushed              retention
``{i:l}:series``       stream  outcomes so far, once a second with traffic                         last 7,200
``stampede:lanes``     hash    item → JSON: which sale, slug, SKU and how many lanes               retention
``stampede:clock:…``   string  a tick of the clock that somebody has taken                         one minute
``stampede:alive``     hash    worker or clock → when it was last alive, and what it said          one minute
=====================  ======  ==================================================================  ==============

Retention ends 24 h after the sale is reconciled; nothing is trimmed by length before (the series is no record
of units and is bounded to two hours of traffic).
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple
from uuid import UUID

DIRECTORY = "stampede:lanes"
SLOT_PREFIX = "stampede:clock:"
HEARTBEATS = "stampede:alive"
FIRST_LANE = 0
"""The lane of an item while each has one."""


class LaneId(NamedTuple):
    """One lane of one sale item. There is one lane an item today; types and keys know of more."""

    item_id: UUID
    lane: int = FIRST_LANE

    def __str__(self) -> str:
        return f"{self.item_id.hex}:{self.lane}"


@dataclass(frozen=True)
class LaneKeys:
    """All keys of one lane."""

    lane_id: LaneId

    def _key(self, name: str) -> str:
        return f"{{{self.lane_id}}}:{name}"

    @cached_property
    def config(self) -> str:
        return self._key("config")

    @cached_property
    def lane(self) -> str:
        return self._key("lane")

    @cached_property
    def claims(self) -> str:
        return self._key("claims")

    @cached_property
    def shoppers(self) -> str:
        return self._key("shoppers")

    @cached_property
    def causes(self) -> str:
        return self._key("causes")

    @cached_property
    def journal(self) -> str:
        return self._key("journal")

    @cached_property
    def applied(self) -> str:
        return self._key("applied")

    @cached_property
    def counts(self) -> str:
        return self._key("counts")

    @cached_property
    def series(self) -> str:
        return self._key("series")

    @cached_property
    def rebuild(self) -> str:
        return self._key("rebuild")

    def before(self, generation: int) -> str:
        """The journal that was put aside when ``generation`` began, for the auditor."""
        return self._key(f"before:{generation}")

    def all(self) -> tuple[str, ...]:
        """Every key of the lane but the journals put aside, for retention and tests."""
        return (
            self.config,
            self.lane,
            self.claims,
            self.shoppers,
            self.causes,
            self.journal,
            self.applied,
            self.counts,
            self.series,
            self.rebuild,
        )


@lru_cache(maxsize=1024)
def keys_of(lane_id: LaneId) -> LaneKeys:
    """A lane's keys, spelled once: eight f-strings for each call of a script would take 5 µs."""
    return LaneKeys(lane_id)
