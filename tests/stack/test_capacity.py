"""The capacity model: sums done by hand, what must never fall, and the rung that each limit leads to."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.capacity import (
    API,
    API_PROCESSES_MIN,
    BACKLOG,
    EDGE,
    GATE,
    GATE_THREAD,
    HOST,
    LEDGER,
    POSTGRES,
    ROLES,
    WORKER,
    Absurd,
    Plan,
    Prices,
    Rush,
    Work,
    gate_stores,
    last_unit_after_s,
    make_plan,
    peak_second,
)
from stack.scaling import FLEET_CORES, STEPS, Rung, climb

# Round prices, about those of the reference machine.
PRICES = Prices(
    us={
        Work.PAGE: {EDGE: 20},
        Work.LOOK: {EDGE: 10},
        Work.LINK: {API: 50, GATE: 2},
        Work.SOLD: {API: 60, GATE: 30, WORKER: 40, POSTGRES: 50},
        Work.THROTTLED: {API: 45, GATE: 15},
        Work.SOLD_OUT: {API: 40, GATE: 10},
        Work.REPEAT: {API: 42, GATE: 12},
        Work.FORGED: {API: 35, GATE: 1},
        Work.POLL: {API: 38},
        Work.DECIDED: {API: 60, POSTGRES: 25},
    },
    proxied_us=30,
    orders_per_s=10_000,
    reservation_bytes=400,
    shopper_bytes=80,
)


def rush(**changes: object) -> Rush:
    """6,000 attempts of 2,000 shoppers in a minute, 300 in the busiest second, on 100 units."""
    terms: dict[str, object] = {"attempts": 6_000, "in_s": 60.0, "stock": 100, "shoppers": 2_000}
    return Rush(**terms | changes)  # type: ignore[arg-type]


def planned(**changes: object) -> Plan:
    return make_plan(rush(**changes), PRICES)


# -- by hand -------------------------------------------------------------------------------------------


def test_the_busiest_second_by_hand():
    """A twentieth of the minute's crowd: 300 attempts, 100 of them sold; 200 of the tries are a shopper's second."""
    assert peak_second(rush()) == {
        Work.PAGE: 100,
        Work.LOOK: pytest.approx(2_000 / 1.5),
        Work.LINK: 100,
        Work.SOLD: 100,
        Work.THROTTLED: 0,
        Work.SOLD_OUT: 0,
        Work.REPEAT: 200,
        Work.FORGED: 0,
        Work.POLL: 100,
        Work.DECIDED: 100,
    }


def test_the_roles_by_hand():
    plan = planned()
    busy = {role: plan.roles[role].cores_busy * 1e6 for role in ROLES}
    assert busy[API] == pytest.approx(100 * 50 + 100 * 60 + 200 * 42 + 100 * 38 + 100 * 60)
    assert busy[GATE] == pytest.approx(100 * 2 + 100 * 30 + 200 * 12)
    assert busy[WORKER] == pytest.approx(100 * 40)
    assert busy[POSTGRES] == pytest.approx(100 * 50 + 100 * 25)
    handed_on = 100 + 100 + 200 + 100 + 100  # links, sold, repeats, polls twice
    assert busy[EDGE] == pytest.approx(100 * 20 + 2_000 / 1.5 * 10 + handed_on * 30)
    assert plan.gate_bytes == 100 * 400 + 1_900 * 80
    assert plan.cores == 1
    assert plan.hosts == 1


def test_only_the_stock_costs_a_sale():
    """Ten times the crowd on the same stock: what is added costs the refusals' prices, and orders cost the same."""
    few, many = planned(shoppers=6_000), planned(attempts=60_000, shoppers=60_000)
    assert many.per_s[Work.SOLD] == few.per_s[Work.SOLD] == 100
    assert many.per_s[Work.SOLD_OUT] == 3_000 - 100
    assert many.roles[WORKER].cores_busy == few.roles[WORKER].cores_busy
    added = 3_000 - 300
    api_us = (many.roles[API].cores_busy - few.roles[API].cores_busy) * 1e6
    assert api_us == pytest.approx(added * 40 + added * 50)  # each also asks for a link


def test_while_the_bucket_holds_units_back_nobody_is_told_sold_out():
    """1,500 of 2,000 units are granted in the first second; who is refused then is throttled."""
    per_s = peak_second(rush(attempts=600_000, shoppers=600_000, stock=2_000))
    assert per_s[Work.SOLD] == 1_000 + 500
    assert per_s[Work.THROTTLED] == 30_000 - 1_500
    assert per_s[Work.SOLD_OUT] == 0
    two_items = peak_second(rush(attempts=600_000, shoppers=600_000, stock=2_000, items=2))
    assert two_items[Work.SOLD] == 2_000
    assert two_items[Work.SOLD_OUT] == 30_000 - 2_000


def test_everything_in_less_than_a_second_is_one_busiest_second():
    per_s = peak_second(rush(in_s=0.2))
    assert per_s[Work.SOLD] + per_s[Work.REPEAT] + per_s[Work.SOLD_OUT] == 6_000


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 100 / 300),  # as they come
        ({"stock": 300}, 1.0),
        ({"stock": 6_000, "bucket_burst": 6_000}, 60.0),  # the last attempt gets the last unit
        ({"attempts": 600_000, "stock": 10_000}, (10_000 - 1_000) / 500),  # as the bucket grants
        ({"attempts": 600_000, "stock": 10_000, "items": 10}, 10_000 / 30_000),
    ],
)
def test_when_the_last_unit_is_given(changes, seconds):
    assert last_unit_after_s(rush(**changes)) == pytest.approx(seconds)


def test_orders_are_committed_as_fast_as_one_drain_can():
    """60,000 units granted at once, 10,000 orders a second: six seconds, and 50,000 wait after the first."""
    plan = planned(attempts=600_000, in_s=1, stock=60_000, shoppers=600_000, bucket_burst=60_000)
    assert plan.lanes_per_item == 14  # the gate needs them, and so up to fourteen drains can work
    assert plan.roles[WORKER].processes == 10  # 6 busy drains at 60 %
    assert plan.committed_after_s == pytest.approx(60_000 / (10_000 * 10))
    cheap_gate = dataclasses.replace(PRICES, us={work: {**us, GATE: 0.0} for work, us in PRICES.us.items()})
    alone = make_plan(plan.rush, cheap_gate)
    assert alone.roles[WORKER].processes == 1
    assert alone.committed_after_s == pytest.approx(6.0)
    assert alone.backlog == pytest.approx(50_000)


# -- the ladder ----------------------------------------------------------------------------------------


def _gate_plan(busy_cores: float) -> Plan:
    """A crowd whose sold-out answers keep the gate's thread exactly so busy, and nothing else costs anything."""
    us = {work: dict.fromkeys(ROLES, 0.0) for work in Work} | {Work.SOLD_OUT: {GATE: 10.0}}
    prices = dataclasses.replace(PRICES, us=us, proxied_us=0.0)
    attempts = round(busy_cores * 1e6 / 10.0) + 1  # one is sold
    terms = Rush(attempts=attempts, in_s=1, stock=1, shoppers=attempts, cores_per_host=64)
    return make_plan(terms, prices)


def test_lanes_begin_exactly_where_one_thread_is_too_busy():
    within, beyond = _gate_plan(0.6), _gate_plan(0.600_01)
    assert within.by_name[GATE_THREAD].used == pytest.approx(1.0)
    assert (within.lanes_per_item, within.roles[GATE].processes, climb(within).rung) == (1, 1, Rung.ONE_HOST)
    assert (beyond.lanes_per_item, beyond.roles[GATE].processes, climb(beyond).rung) == (2, 2, Rung.LANES)
    assert beyond.limits[0].name == GATE_THREAD
    assert _gate_plan(1.8).lanes_per_item == 3
    assert _gate_plan(1.801).lanes_per_item == 4


@pytest.mark.parametrize(
    ("busy", "items", "lanes", "stores"),
    [
        (0.6, 3, 1, 1),  # 0.2 each: three lanes fill a store exactly
        (0.61, 3, 1, 2),
        (1.8, 3, 1, 3),
        (1.81, 3, 2, 6),  # a lane is never split over stores, and two of 0.3 would be too much for one
        (0.0, 2, 1, 1),
    ],
)
def test_lanes_and_stores(busy, items, lanes, stores):
    assert gate_stores(busy, rush(items=items)) == (lanes, stores)


def test_the_rungs_in_order_of_the_crowd():
    """The same sale for growing crowds on hosts of 16 cores climbs the ladder, and never down."""
    # In the busiest second 500, 30,000, 100,000, 500,000 and 20 million attempts.
    crowds = (10_000, 600_000, 2_000_000, 10_000_000, 400_000_000)
    climbed = [climb(planned(attempts=many, shoppers=None, cores_per_host=16)).rung for many in crowds]
    assert climbed == [
        Rung.ONE_HOST,
        Rung.API_PROCESSES,
        Rung.LANES,
        Rung.LANES,
        Rung.REFUSE_AT_THE_EDGE,
    ]
    assert climb(planned(attempts=200_000, shoppers=None, cores_per_host=1)).rung is Rung.OWN_HOSTS


def test_own_hosts_begin_where_one_host_is_full():
    busy = planned(attempts=60_000).cores_busy
    for headroom, fits in ((busy + 0.01, True), (busy - 0.01, False)):
        plan = planned(attempts=60_000, cores_per_host=1, headroom=headroom)
        assert plan.one_host is fits
        assert (plan.by_name[HOST].used <= 1) is fits
        assert (Rung.OWN_HOSTS in climb(plan).fired) is not fits


def test_orders_are_partitioned_when_the_backlog_or_the_ledger_is_full():
    terms = {"attempts": 700_000, "in_s": 1, "shoppers": 700_000, "stock": 700_000, "bucket_burst": 700_000}
    slow = dataclasses.replace(
        PRICES, us={work: {**us, GATE: 0.0} for work, us in PRICES.us.items()}, orders_per_s=10_000
    )
    plan = make_plan(rush(**terms, cores_per_host=64), slow)
    assert plan.backlog == pytest.approx(700_000 - 10_000)
    assert plan.by_name[BACKLOG].used > 1
    assert climb(plan).rung is Rung.PARTITIONED_ORDERS
    full = make_plan(rush(**terms, cores_per_host=64, backlog_max=700_000), slow)
    assert full.by_name[BACKLOG].used < 1
    assert full.by_name[LEDGER].used == pytest.approx(700_000 * 75e-6 / (64 * 0.6))
    assert climb(full).rung is Rung.PARTITIONED_ORDERS


def test_refusing_at_the_edge_begins_with_a_fleet():
    plan = planned(attempts=400_000_000, shoppers=None)
    assert plan.roles[API].processes > FLEET_CORES
    found = climb(plan)
    assert found.rung is max(Rung)
    assert found.next is None
    assert climb(planned()).next is Rung.API_PROCESSES


def test_every_rung_is_explained():
    assert set(STEPS) == set(Rung)


def test_limits_stand_with_the_first_to_run_out_in_front():
    plan = planned(attempts=300_000, shoppers=None)
    assert [one.used for one in plan.limits] == sorted((one.used for one in plan.limits), reverse=True)
    assert {one.name for one in plan.limits} == {HOST, GATE_THREAD, LEDGER, BACKLOG}


# -- absurd --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attempts": 0, "shoppers": None}, "attempts must be from 1"),
        ({"attempts": -5, "shoppers": None}, "attempts must be from 1"),
        ({"attempts": 10**13}, "attempts must be from 1"),
        ({"in_s": 0}, "more than 0 seconds"),
        ({"in_s": math.nan}, "more than 0 seconds"),
        ({"in_s": math.inf}, "at most 31 days"),
        ({"stock": 0}, "at least 1 unit"),
        ({"shoppers": 0}, "at least 1 shopper"),
        ({"shoppers": 6_001}, "6,001 shoppers cannot make 6,000 attempts"),
        ({"items": 0}, "at least 1 hot item"),
        ({"items": 101}, "more hot items than units"),
        ({"forged": -1}, "forged"),
        ({"polls_per_ticket": -1}, "polls"),
        ({"polls_per_ticket": math.nan}, "polls"),
        ({"pages_per_shopper": -0.1}, "pages"),
        ({"peak": 0.9}, "busiest second"),
        ({"peak": math.nan}, "busiest second"),
        ({"headroom": 0}, "headroom"),
        ({"headroom": 1.0}, "headroom"),
        ({"cores_per_host": 0}, "at least 1 core"),
        ({"bucket_rate_per_s": 0}, "throttle"),
        ({"bucket_burst": 0}, "burst"),
        ({"backlog_max": 0}, "backlog"),
    ],
)
def test_what_cannot_be_is_refused_with_words(changes, words):
    with pytest.raises(Absurd, match=words):
        rush(**changes)


# -- whatever comes ------------------------------------------------------------------------------------

rushes = st.builds(
    dict,
    attempts=st.integers(1, 10**9),
    in_s=st.floats(0.01, 86_400),
    stock=st.integers(1, 10**7),
    polls_per_ticket=st.floats(0, 50),
    pages_per_shopper=st.floats(0, 50),
    peak=st.floats(1, 100),
    headroom=st.floats(0.05, 0.95),
    cores_per_host=st.integers(1, 256),
    bucket_rate_per_s=st.floats(1, 1e6),
    bucket_burst=st.integers(1, 10**6),
    forged=st.integers(0, 10**8),
)


@given(rushes, st.integers(1, 10**9))
def test_more_attempts_never_need_less(terms, more):
    less_plan = make_plan(Rush(**terms), PRICES)
    more_plan = make_plan(Rush(**{**terms, "attempts": terms["attempts"] + more}), PRICES)
    for role in ROLES:
        before, after = less_plan.roles[role], more_plan.roles[role]
        assert after.cores_busy >= before.cores_busy * (1 - 1e-9)
        assert after.processes >= before.processes
        assert after.hosts >= before.hosts
    assert more_plan.cores >= less_plan.cores
    assert more_plan.hosts >= less_plan.hosts
    assert more_plan.lanes_per_item >= less_plan.lanes_per_item
    assert climb(more_plan).rung >= climb(less_plan).rung or Rung.PARTITIONED_ORDERS in climb(less_plan).fired


@given(rushes, st.integers(1, 1_000))
def test_every_attempt_is_answered_once_and_no_unit_twice(terms, items):
    items = min(items, terms["stock"], terms["attempts"])
    terms = Rush(**terms, items=items)
    per_s = peak_second(terms)
    answers = sum(per_s[work] for work in (Work.SOLD, Work.THROTTLED, Work.SOLD_OUT, Work.REPEAT))
    assert answers == pytest.approx(terms.attempts_per_s)
    assert all(count >= 0 for count in per_s.values())
    assert per_s[Work.SOLD] <= terms.sold <= terms.stock


@given(rushes, st.floats(1.0, 10.0))
def test_dearer_prices_and_less_headroom_never_need_less(terms, factor):
    plan = make_plan(Rush(**terms), PRICES)
    us = {work: {role: cost * factor for role, cost in costs.items()} for work, costs in PRICES.us.items()}
    dearer = make_plan(Rush(**terms), dataclasses.replace(PRICES, us=us, proxied_us=PRICES.proxied_us * factor))
    careful = make_plan(Rush(**{**terms, "headroom": max(0.05, terms["headroom"] / factor)}), PRICES)
    for other in (dearer, careful):
        assert other.cores >= plan.cores
        assert all(other.roles[role].processes >= plan.roles[role].processes for role in ROLES)


@given(rushes)
def test_what_is_recommended_is_enough(terms):
    plan = make_plan(Rush(**terms), PRICES)
    headroom = plan.rush.headroom
    for role in (EDGE, API, GATE, POSTGRES):
        one = plan.roles[role]
        assert one.cores_busy <= one.processes * headroom * (1 + 1e-6) + 1e-6
        assert one.hosts * plan.rush.cores_per_host >= one.processes
    assert plan.roles[API].processes >= API_PROCESSES_MIN
    lanes = plan.rush.items * plan.lanes_per_item
    assert 1 <= plan.roles[WORKER].processes <= lanes
    assert plan.roles[GATE].cores_busy / lanes <= headroom * (1 + 1e-6)
    assert plan.committed_after_s >= plan.last_unit_after_s >= 0
    assert plan.last_unit_after_s < math.inf
