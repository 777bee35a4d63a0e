"""One reading of a sale's live figures a second, shared by everybody who watches it.

Each viewer first proves who they are (`session.operator`, with their own token); then they share
what was read for their merchant. The cache is keyed by merchant and sale, so operators of another
merchant can never be given it: under their key the API answers their token with 404. The token
itself is no part of the key (its name starts with an underscore), or ten colleagues would cost the
API ten times what one costs.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from console import happenings, zones
from console.client import LIVE_TIMEOUT, ApiClient
from console.errors import ApiError, Unreachable, explain
from console.history import POINT_LIMIT, Units, UnitsHistory
from console.session import api_client, operator, token

# A little under the second of the fragments: with exactly one second every other tick of a lone
# viewer would find the reading not quite expired, and show it for two.
READING_TTL_S = 0.9
WATCHED_LIMIT = 256
HISTORY_TTL_S = 6 * 3_600
GAP_MS = 5_000
"""Readings come once a second while somebody watches; a few may be lost. A longer gap is filled from the ledger."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one poll brought. `failure` says why `live` is missing; it is shared like figures are,
    so that an API that is down is asked once a second and not once for each viewer."""

    live: dict[str, Any] | None
    series: list[dict[str, Any]]
    failure: str
    read_at_s: float
    """`time.monotonic()` when the live figures had come."""

    def age_s(self) -> float:
        """How old the shown figures are now: the API's own delay and the time since it answered."""
        delay_ms = self.live.get("view_age_ms", 0) if self.live else 0
        return time.monotonic() - self.read_at_s + delay_ms / 1_000


@st.cache_resource(ttl=HISTORY_TTL_S, max_entries=WATCHED_LIMIT, show_spinner=False)
def _history(merchant_id: str, sale_id: str) -> UnitsHistory:
    return UnitsHistory()


@st.cache_data(ttl=READING_TTL_S, max_entries=WATCHED_LIMIT, show_spinner=False)
def _poll(merchant_id: str, sale_id: str, _bearer: str) -> Reading:
    """Read anew when the last reading has expired. Streamlit lets one thread do so; the others wait for it."""
    client = api_client()
    try:
        live = client.get(f"/operator/sales/{sale_id}/live", _bearer, timeout=LIVE_TIMEOUT, attempts=1).data
    except (ApiError, Unreachable) as error:
        if isinstance(error, ApiError) and error.status < 500:
            raise  # about this caller (signed out, not theirs): never shared with another
        return Reading(None, [], explain(error).what, time.monotonic())
    read_at_s = time.monotonic()
    history = _history(merchant_id, sale_id)
    units, known = units_of(live), history.points()
    if not known or units.at_ms - known[-1].at_ms > GAP_MS:
        _catch_up(history, client, sale_id, _bearer, live["throttle"]["rate_per_s"])
    history.add(units)
    return Reading(live, _series(client, sale_id, _bearer), "", read_at_s)


def _catch_up(history: UnitsHistory, client: ApiClient, sale_id: str, bearer: str, now_per_s: float) -> None:
    """What happened while nobody watched, from the ledger. Without it the chart would say that nothing did: its steps
    hold the last value they know until the next one. What is known already stays: an older point is dropped."""
    with suppress(ApiError, Unreachable):
        answer = client.get(f"/operator/sales/{sale_id}/replay", bearer, timeout=LIVE_TIMEOUT, attempts=1)
        answered = answer.data
        for units in replayed_units(answered["points"], happenings.rates(answered["events"], now_per_s)):
            history.add(units)


def _series(client: ApiClient, sale_id: str, bearer: str) -> list[dict[str, Any]]:
    """The throughput; none while the gate, which counts it, is away. The rest of the view goes on."""
    try:
        answer = client.get(
            f"/operator/sales/{sale_id}/throughput",
            bearer,
            params={"seconds": POINT_LIMIT},
            timeout=LIVE_TIMEOUT,
            attempts=1,
        )
    except Unreachable:
        return []
    except ApiError as error:
        if error.status < 500:
            raise
        return []
    series: list[dict[str, Any]] = answer.data["series"]
    return series


def watch(sale_id: str) -> tuple[Reading, list[Units]]:
    """The shared reading of a sale and its units over time, for a viewer who may see them.

    Raises:
        SessionEnded, ApiError: when this viewer may not.
    """
    merchant_id = operator().merchant_id
    reading = _poll(merchant_id, sale_id, token())
    return reading, _history(merchant_id, sale_id).points()


def replayed_units(points: list[dict[str, Any]], rates: list[tuple[str, float]]) -> list[Units]:
    """The equation and the throttle (`happenings.rates`) at each point of a replay. A ledger's past has no drift: it is
    compared with itself."""
    since = [(zones.parse(at) if at else datetime.min.replace(tzinfo=UTC), rate) for at, rate in rates]
    return [
        Units(
            at_ms=int(zones.parse(p["at"]).timestamp() * 1_000),
            allotment=p["allotment"],
            available=p["available"],
            reserved=p["reserved"],
            sold=p["sold"],
            drift=0,
            rate_per_s=[rate for at, rate in since if at <= zones.parse(p["at"])][-1],
            delay_ms=p.get("delay_p95_ms"),
        )
        for p in points
    ]


def units_of(live: dict[str, Any]) -> Units:
    """The equation of a whole sale: the sums over its items."""
    items = live["items"]
    return Units(
        at_ms=int(zones.parse(live["now"]).timestamp() * 1_000),
        allotment=sum(i["allotment"] for i in items),
        available=sum(i["available"] for i in items),
        reserved=sum(i["reserved"] for i in items),
        sold=sum(i["sold"] for i in items),
        drift=live.get("drift"),
        rate_per_s=live["throttle"]["rate_per_s"],
        delay_ms=live.get("order_delay_p95_ms"),
        backlog=live.get("backlog"),
        gate_call_ms=live.get("gate_call_p99_ms"),
    )


def forget(sale_id: str) -> None:
    """Read anew at the next tick: this operator has just changed something."""
    _poll.clear(operator().merchant_id, sale_id, token())
