"""What the scripts take and answer, between their flat lists and the types of the gate."""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.gate.keys import LaneId
from backend.gate.outcomes import GateAnswer, Outcome
from backend.gate.values import Applied, Decision, EntryId, LaneConfig, LaneReading

_RETRY = frozenset({Outcome.REPEATED, Outcome.THROTTLED, Outcome.NOT_OPEN})
_HELD = frozenset({Outcome.RESERVED, Outcome.REPLAYED})
_OUTCOMES = {one.value: one for one in Outcome}


def entry_or_none(text: str) -> EntryId | None:
    """An entry's id; None for the empty text."""
    return EntryId.parse(text) if text else None


def int_or_none(text: str) -> int | None:
    """A number; None for the empty text."""
    return int(text) if text else None


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """A flat list of fields and values as a mapping."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def config_fields(config: LaneConfig) -> list[Any]:
    """The configuration as the field-value list that the scripts read."""
    fields: list[Any] = [
        *("config_version", config.config_version),
        *("opens_at_ms", config.opens_at_ms),
        *("closes_at_ms", config.closes_at_ms),
        *("paused", int(config.paused)),
        *("per_shopper_limit", config.per_shopper_limit),
        *("rate_per_s", config.throttle.rate_per_s),
        *("burst", config.throttle.burst),
        *("wait_budget_ms", config.throttle.wait_budget_ms),
        *("repeat_window_ms", config.throttle.repeat_window_ms),
        *("backlog_max", config.backlog_max),
        *("link_epoch", config.link_epoch),
        *("link_ttl_s", config.link_ttl_s),
        *("durability", config.durability.value),
        *("epochs", ",".join(f"{epoch}:{till or 0}" for epoch, till in sorted(config.accepted_epochs.items()))),
    ]
    for epoch, secret in config.secrets.items():
        fields += (f"secret:{epoch}", secret.hex())
    return fields


def read_applied(reply: Sequence[str]) -> Applied:
    """What ``load`` and ``adjust`` answer."""
    return Applied(GateAnswer(reply[0]), entry_or_none(reply[1]), int_or_none(reply[2]), int_or_none(reply[3]))


def read_decision(outcome: str, first: str, second: str, now_ms: int, applied: EntryId | None) -> Decision:
    """One attempt's outcome and its two numbers, as ``admit`` has them."""
    kind = _OUTCOMES[outcome]  # `Outcome(outcome)` takes four times as long
    if kind in _HELD:
        return Decision(kind, EntryId.parse(first), int(second), now_ms, 0, applied)
    return Decision(kind, None, 0, now_ms, int(first) if kind in _RETRY else 0, applied)


def read_lane(lane_id: LaneId, reply: Sequence[Any]) -> LaneReading:
    """What ``read`` answers."""
    config, lane, counts = pairs(reply[1]), pairs(reply[2]), pairs(reply[3])
    if not lane or not config:
        return LaneReading(lane_id, loaded=False, read_at_ms=int(reply[0]))
    counts.pop("second", None)
    return LaneReading(
        lane_id,
        loaded=True,
        read_at_ms=int(reply[0]),
        generation=int(lane["generation"]),
        seq=int(lane["seq"]),
        digest=lane["digest"],
        available=int(lane["available"]),
        held=int(lane["held"]),
        allotment=int(lane["allotment"]),
        nonce=lane["nonce"],
        config_version=int(config["config_version"]),
        paused=config["paused"] == "1",
        fault=lane.get("fault", ""),
        opens_at_ms=int(config["opens_at_ms"]),
        closes_at_ms=int(config["closes_at_ms"]),
        link_epoch=int(config["link_epoch"]),
        link_ttl_s=int(config["link_ttl_s"]),
        applied=entry_or_none(reply[4]),
        journal_left=int_or_none(reply[5]),
        cursor_left=int_or_none(reply[6]),
        cursor_digest=reply[7] or None,
        outcomes={name: int(value) for name, value in counts.items()},
    )


def differences(sums: Sequence[Mapping[str, str]], since_s: int) -> list[tuple[int, dict[str, int]]]:
    """Seconds out of running sums: each flush holds all outcomes up to its second."""
    series: list[tuple[int, dict[str, int]]] = []
    before: dict[str, int] = {}
    for flush in sums:
        now = {name: int(value) for name, value in flush.items()}
        second = now.pop("second", 0)
        grown = {name: value - before.get(name, 0) for name, value in now.items()}
        before = now
        changed = {name: value for name, value in grown.items() if value > 0}
        if second >= since_s and changed:
            series.append((second, changed))
    return series
