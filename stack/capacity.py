"""How much of everything a rush needs: a model of measured prices, without any input or output.

    Rush (what is to come) + Prices (what one of each costs, measured) ──► make_plan ──► Plan

The machines must survive the **busiest second**, taken to be the first after the opening: the share
``min(1, peak / in_s)`` of all that comes. With ``n`` of a kind of work in that second and a price of ``c`` CPU-µs:

    busy cores of a role    = Σ n · c / 1,000,000
    cores and processes     = ⌈busy / headroom⌉
    sold in that second     = min(stock, attempts in it, items · (burst + rate · 1 s))
    refused                 = the other attempts: repeats first (attempts − shoppers), the rest sold out, or throttled
                              as long as the bucket, and not the stock, is what holds them back
    links                   = shoppers, once each; looks at ``state.json`` = everybody, every 1.5 s
    polls                   = tickets of that second · polls a ticket; the last of them finds the order
    last unit given         = the later of: so many attempts have come; (stock − burst) / rate of the bucket
    all orders committed    = the later of: last unit given; stock / (rate of one drain · drains)
    memory of the gate      = sold · bytes a reservation + other shoppers · bytes a shopper (at most: of whom the
                              bucket never saw nothing is kept)

**What it leaves out**: the network and its cards, TLS (a handshake costs an edge core many times a request), disks
(``fsync`` is in the measured rate of the drain, not in CPU time), the console and the mails, the platform's idle
ticks, and that calls of the script carry fewer attempts, and so cost more each, when many processes share a crowd.
``headroom`` has to pay for all of that. Prices are one machine's: another one's cores are slower or faster.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

API, EDGE, GATE, POSTGRES, WORKER = "api", "edge", "gate", "postgres", "worker"
ROLES = (EDGE, API, GATE, WORKER, POSTGRES)

SHOPPERS_EACH = 3
"""Attempts of a shopper when nobody says how many there are: a first one, and two more for people and scripts alike."""
LOOK_EVERY_S = 1.5
"""How often a page looks at ``state.json`` around the opening (``page_renderer/static/feed.js``)."""
API_PROCESSES_MIN = 2
"""So that one answers while the other is restarted."""
ATTEMPTS_MAX = 10**12
WINDOW_MAX_S = 31 * 24 * 3_600.0
"""As long as a sale may be open."""
HEADROOM_MIN, HEADROOM_MAX = 0.05, 0.95
_ROUNDING = 1e-9


class Work(StrEnum):
    """What is asked of the platform, by what becomes of it."""

    PAGE = "page"
    LOOK = "look"
    LINK = "link"
    SOLD = "sold"
    THROTTLED = "throttled"
    SOLD_OUT = "sold_out"
    REPEAT = "repeat"
    FORGED = "forged"
    POLL = "poll"
    DECIDED = "decided"


STATIC = frozenset({Work.PAGE, Work.LOOK})
"""What the edge answers by itself; everything else it hands on to an API process."""


class Absurd(ValueError):
    """A rush that cannot be; the message says what would be possible."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What one of each costs, from a calibration."""

    us: Mapping[Work, Mapping[str, float]]
    """CPU-µs by work and role; a role that has no part in it may be missing."""
    proxied_us: float
    """CPU-µs of the edge for a request that it hands on."""
    orders_per_s: float
    """Orders that one drain commits in a second, from a full journal."""
    reservation_bytes: float
    """Memory of the gate for each unit sold."""
    shopper_bytes: float
    """Memory of the gate for each shopper who was turned away by the bucket."""

    def of(self, work: Work, role: str) -> float:
        """CPU-µs of one piece of work for one role."""
        if role == EDGE and work not in STATIC:
            return self.proxied_us
        return self.us[work].get(role, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rush:
    """What is to come. Raises ``Absurd`` when it cannot."""

    attempts: int
    in_s: float
    """Seconds in which the attempts arrive."""
    stock: int
    shoppers: int | None = None
    polls_per_ticket: float = 2.0
    pages_per_shopper: float = 1.0
    """Static files loaded in these seconds. A first visit is fifteen, most of them before the opening."""
    items: int = 1
    """Hot items that share attempts and stock evenly, each with a lane and a bucket of its own."""
    forged: int = 0
    """Attempts with links that nobody issued, on top."""
    peak: float = 3.0
    """How many times the mean the busiest second brings: a crowd that waits for a fixed second comes at once."""
    headroom: float = 0.6
    """How busy a core may be. A queue doubles its wait from 60 % to 80 % busy, and doubles it again to 90 %."""
    cores_per_host: int = 2
    bucket_rate_per_s: float = 500.0
    bucket_burst: int = 1_000
    backlog_max: int = 50_000
    """Undecided journal entries of a lane above which the gate answers ``BACKLOG``."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        crowd = self.crowd
        for wrong, words in (
            (not 1 <= self.attempts <= ATTEMPTS_MAX, f"attempts must be from 1 to {ATTEMPTS_MAX:,}"),
            (not 0 < self.in_s <= WINDOW_MAX_S, "they must arrive in more than 0 seconds and at most 31 days"),
            (self.stock < 1, "there must be at least 1 unit: a sale of nothing sells nothing"),
            (crowd < 1, "there must be at least 1 shopper"),
            (crowd > self.attempts, f"{crowd:,} shoppers cannot make {self.attempts:,} attempts: count who tries"),
            (self.items < 1, "there must be at least 1 hot item"),
            (self.items > min(self.stock, self.attempts), "more hot items than units or attempts: some are not hot"),
            (self.forged < 0, "forged attempts cannot be fewer than 0"),
            (not 0 <= self.polls_per_ticket <= 10_000, "polls of a ticket must be from 0 to 10,000"),
            (not 0 <= self.pages_per_shopper <= 10_000, "pages of a shopper must be from 0 to 10,000"),
            (not 1 <= self.peak <= 1_000, "the busiest second is from 1 to 1,000 times the mean"),
            (not HEADROOM_MIN <= self.headroom <= HEADROOM_MAX, f"headroom is from {HEADROOM_MIN} to {HEADROOM_MAX}"),
            (self.cores_per_host < 1, "a host has at least 1 core"),
            (not 0 < self.bucket_rate_per_s <= 1e9, "a throttle grants more than 0 units a second"),
            (self.bucket_burst < 1, "a throttle's burst is at least 1"),
            (self.backlog_max < 1, "the backlog's bound is at least 1"),
        ):
            if wrong:
                raise Absurd(words)

    @property
    def crowd(self) -> int:
        """Shoppers who try."""
        return -(-self.attempts // SHOPPERS_EACH) if self.shoppers is None else self.shoppers

    @property
    def sold(self) -> int:
        """Units that find a buyer."""
        return min(self.stock, self.attempts)

    @property
    def share(self) -> float:
        """Of all that comes, what comes in the busiest second."""
        return min(1.0, self.peak / self.in_s)

    @property
    def attempts_per_s(self) -> float:
        """Attempts in the busiest second, without the forged."""
        return self.attempts * self.share

    @property
    def granted_in_a_second(self) -> float:
        """Units that the buckets of all items give in their first second."""
        return self.items * (self.bucket_burst + self.bucket_rate_per_s)


@dataclass(frozen=True, slots=True)
class RolePlan:
    """One kind of process."""

    role: str
    per_s: float
    """Pieces of work in the busiest second."""
    us_each: float
    cores_busy: float
    processes: int
    """Processes of at most one busy core each; for PostgreSQL, which spreads itself, cores of its one server."""
    hosts: int


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that can run out."""

    name: str
    used: float
    """Of its bound, 1.0 is all."""
    words: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rush needs and what shoppers notice of it."""

    rush: Rush
    per_s: Mapping[Work, float]
    roles: Mapping[str, RolePlan]
    limits: tuple[Limit, ...]
    """The first to run out first."""
    lanes_per_item: int
    """Lanes that a hot item would need so that each fits one gate store; 1 is what is built."""
    gate_bytes: float
    last_unit_after_s: float
    committed_after_s: float
    backlog: float
    """Most entries of one lane that wait for the ledger."""
    one_host: bool
    by_name: Mapping[str, Limit] = field(repr=False)

    @property
    def cores_busy(self) -> float:
        """All roles together."""
        return sum(one.cores_busy for one in self.roles.values())

    @property
    def cores(self) -> int:
        """To have, so that ``headroom`` holds: all roles share one host's, or each has its own."""
        if self.one_host:
            return _whole(self.cores_busy / self.rush.headroom)
        return sum(one.processes for one in self.roles.values())

    @property
    def hosts(self) -> int:
        """To have: one if everything fits, else those of each kind."""
        return 1 if self.one_host else sum(one.hosts for one in self.roles.values())


HOST, GATE_THREAD, LEDGER, BACKLOG = "host", "gate", "ledger", "backlog"


def peak_second(rush: Rush) -> dict[Work, float]:
    """Pieces of work in the busiest second."""
    share = rush.share
    sold = min(float(rush.sold), rush.attempts_per_s, rush.granted_in_a_second)
    refused = rush.attempts_per_s - sold
    repeats = min(refused, (rush.attempts - rush.crowd) * share)
    turned_away = Work.THROTTLED if rush.sold > rush.granted_in_a_second else Work.SOLD_OUT
    found = dict.fromkeys(Work, 0.0)
    found |= {
        Work.PAGE: rush.crowd * share * rush.pages_per_shopper,
        Work.LOOK: rush.crowd / LOOK_EVERY_S,
        Work.LINK: rush.crowd * share,
        Work.SOLD: sold,
        Work.REPEAT: repeats,
        turned_away: refused - repeats,
        Work.FORGED: rush.forged * share,
        Work.POLL: sold * max(0.0, rush.polls_per_ticket - 1),
        Work.DECIDED: sold * min(1.0, rush.polls_per_ticket),
    }
    return found


def make_plan(rush: Rush, prices: Prices) -> Plan:
    """The whole calculation; see the head of this module."""
    per_s = peak_second(rush)
    busy = {role: sum(n * prices.of(work, role) for work, n in per_s.items()) / 1e6 for role in ROLES}
    lanes_per_item, stores = gate_stores(busy[GATE], rush)
    lanes = rush.items * lanes_per_item
    wanted = max(busy[WORKER], per_s[Work.SOLD] / prices.orders_per_s)
    processes = {
        EDGE: _whole(busy[EDGE] / rush.headroom),
        API: max(API_PROCESSES_MIN, _whole(busy[API] / rush.headroom)),
        GATE: stores,
        # One drain a lane: a second process finds the lane's cursor locked and passes on.
        WORKER: min(lanes, _whole(wanted / rush.headroom)),
        POSTGRES: _whole(busy[POSTGRES] / rush.headroom),
    }
    per_lane = rush.sold / lanes
    drained_per_s = prices.orders_per_s * processes[WORKER] / lanes
    given_after_s = last_unit_after_s(rush)
    backlog = max(0.0, per_s[Work.SOLD] / lanes - drained_per_s, per_lane - drained_per_s * max(1.0, given_after_s))
    limits = _limits(rush, busy, backlog)
    return Plan(
        rush=rush,
        per_s=per_s,
        roles={role: _role(role, per_s, busy[role], processes[role], rush) for role in ROLES},
        limits=tuple(sorted(limits.values(), key=lambda one: -one.used)),
        lanes_per_item=lanes_per_item,
        gate_bytes=rush.sold * prices.reservation_bytes + max(0, rush.crowd - rush.sold) * prices.shopper_bytes,
        last_unit_after_s=given_after_s,
        committed_after_s=max(given_after_s, per_lane / drained_per_s),
        backlog=backlog,
        one_host=limits[HOST].used <= 1.0,
        by_name=limits,
    )


def gate_stores(busy_cores: float, rush: Rush) -> tuple[int, int]:
    """Lanes for each item, and stores for all of them.

    A store is one thread: at most ``headroom`` of a core. Lanes of an item share its attempts evenly; a lane is
    never split over stores, a store may hold several lanes.
    """
    of_an_item = busy_cores / rush.items
    lanes = _whole(of_an_item / rush.headroom)
    in_a_store = (
        max(1, math.floor(rush.headroom * lanes / of_an_item + _ROUNDING)) if of_an_item else rush.items * lanes
    )
    return lanes, math.ceil(rush.items * lanes / in_a_store)


def last_unit_after_s(rush: Rush) -> float:
    """Seconds until the last unit is given away: as the attempts come, or as the buckets grant them.

    The busiest second comes first, the rest evenly. From then on everybody is told ``SOLD_OUT``.
    """
    in_first = rush.attempts_per_s
    if rush.sold <= in_first:
        arrived_after_s = rush.sold / in_first * min(1.0, rush.in_s)
    else:
        arrived_after_s = 1.0 + (rush.sold - in_first) / (rush.attempts - in_first) * (rush.in_s - 1.0)
    granted_after_s = max(0.0, rush.sold / rush.items - rush.bucket_burst) / rush.bucket_rate_per_s
    return max(arrived_after_s, granted_after_s)


def _limits(rush: Rush, busy: Mapping[str, float], backlog: float) -> dict[str, Limit]:
    total = sum(busy.values())
    host = rush.cores_per_host * rush.headroom
    most = max(ROLES, key=lambda role: busy[role])
    share = busy[most] / total if total else 0.0
    bound = f"{rush.headroom:.0%}"
    return {
        HOST: Limit(
            HOST,
            total / host,
            f"the {_cores(rush.cores_per_host)} of one host: {total:.2f} busy, {bound} of each may be; "
            f"{share:.0%} of it is {most}",
        ),
        GATE_THREAD: Limit(
            GATE_THREAD,
            busy[GATE] / rush.headroom,
            f"the gate store's one thread: {busy[GATE]:.2f} of a core busy, {bound} of one core may be",
        ),
        LEDGER: Limit(
            LEDGER,
            busy[POSTGRES] / host,
            f"the ledger's host: {busy[POSTGRES]:.2f} of {_cores(rush.cores_per_host)} busy with PostgreSQL",
        ),
        BACKLOG: Limit(
            BACKLOG,
            backlog / rush.backlog_max,
            f"the drain: {backlog:,.0f} entries of a lane wait for the ledger, the gate refuses above "
            f"{rush.backlog_max:,}",
        ),
    }


def _role(role: str, per_s: Mapping[Work, float], busy: float, processes: int, rush: Rush) -> RolePlan:
    asked = {
        EDGE: sum(per_s.values()),
        WORKER: per_s[Work.SOLD],
        POSTGRES: per_s[Work.SOLD] + per_s[Work.DECIDED],
    }.get(role, sum(count for work, count in per_s.items() if work not in STATIC))
    if role == GATE:
        # Links, forged attempts and polls are answered from what the API process remembers of the lane.
        asked = rush.attempts_per_s
    each = busy * 1e6 / asked if asked else 0.0
    return RolePlan(role, asked, each, busy, processes, math.ceil(processes / rush.cores_per_host))


def _whole(wanted: float) -> int:
    """At least one; 3.0000000001 processes are 3."""
    return max(1, math.ceil(wanted - _ROUNDING))


def _cores(count: int) -> str:
    return f"{count} core{'' if count == 1 else 's'}"
