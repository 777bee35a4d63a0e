"""What is live, what comes next, and what needs a hand, each with the way to it."""

import time
from dataclasses import dataclass
from typing import Any

import streamlit as st

from console import faults, navigation, session, strips, wording, zones
from console.client import LIVE_TIMEOUT
from console.errors import ApiError, Unreachable, explain
from console.views import parts

TICK_S = 2.0
READING_TTL_S = 1.8

NEED_WORDS = {
    "fault": ("Stopped by the platform", "See what to do", "Control room"),
    "preflight": ("Not ready", "Open the pre-flight list", "Preparation"),
    "draft_due": ("Opens soon, but is a draft", "Schedule it", "Preparation"),
    "findings": ("The last reconciliation has findings", "Read the findings", "Reconciliation"),
    "dead_letters": ("Waiting for a decision", "Decide", "Activity"),
    "refunds_due": ("Refunds due", "List the orders", "Orders"),
    "messages_dead": ("Messages that did not arrive", "Look and send again", "Notifications"),
    "dependency": ("Not well", "", ""),
}
"""(what it is, what to do, the tab of the sale where it is done)"""
URGENT = frozenset({"fault", "dependency", "findings"})


@dataclass(frozen=True, slots=True)
class Reading:
    """The page's figures, or why there are none."""

    home: dict[str, Any] | None
    failure: str
    read_at_s: float


@st.cache_data(ttl=READING_TTL_S, max_entries=256, show_spinner=False)
def _poll(merchant_id: str, _bearer: str) -> Reading:
    """One reading for all of a merchant's people who have the page open; see `console.poller`."""
    try:
        home = session.api_client().get("/operator/home", _bearer, timeout=LIVE_TIMEOUT, attempts=1).data
    except (ApiError, Unreachable) as error:
        if isinstance(error, ApiError) and error.status < 500:
            raise
        return Reading(None, explain(error).what, time.monotonic())
    return Reading(home, "", time.monotonic())


def page() -> None:
    st.title("Home", anchor=False)
    _live()


@st.fragment(run_every=TICK_S)
def _live() -> None:
    with parts.guarded(fragment=True):
        reading = _poll(session.operator().merchant_id, session.token())
        if reading.home is None:
            st.warning(f"{reading.failure} The page comes back by itself.", title="No figures now")
            return
        home = reading.home
        _health(home, time.monotonic() - reading.read_at_s)
        if not (home["live"] or home["next"] or home["needs"]):
            _nothing()
            return
        _needs(home["needs"])
        for key, title, empty in (
            ("live", "Live now", "No sale is open. It opens by itself at its stored second."),
            ("next", "Next", "No sale is scheduled."),
        ):
            st.subheader(title, anchor=False)
            if not home[key]:
                st.caption(empty)
            for sale in home[key]:
                _sale(sale, home["now"])


def _health(home: dict[str, Any], age_s: float) -> None:
    dots = strips.health_html(home["dependencies"])
    st.html(f'<div class="sp-facts">{dots}<span>view {age_s:.1f} s old</span></div>')


def _needs(needs: list[dict[str, Any]]) -> None:
    st.subheader("Needs a hand", anchor=False)
    if not needs:
        st.markdown(":green[**Nothing.**] :gray[Faults, findings, refunds and whatever the platform cannot settle "
                    "by itself appear here.]")  # fmt: skip
        return
    for index, need in enumerate(needs):
        what, label, tab = NEED_WORDS.get(need["kind"], (wording.kind(need["kind"]), "Open the sale", ""))
        with st.container(key=f"card-need-{index}", border=True):
            words, way = st.columns([4, 1.2], vertical_alignment="center")
            colour = "red" if need["kind"] in URGENT else "orange"
            number = f" ({need['count']})" if need["count"] > 1 else ""
            detail = _fault_words(need["detail"]) if need["kind"] == "fault" else wording.plain(need["detail"], 400)
            words.markdown(
                f":{colour}[**{what}{number}**] · **{wording.literal(need['title'])}**  \n"
                f":gray[{wording.literal(detail, 400)}]"
            )
            if need.get("sale_id") and label:
                with way:
                    navigation.link("sale", f"**{label} →**", sale=need["sale_id"], tab=tab)


def _fault_words(fault: str) -> str:
    found = faults.advice(fault)
    return f"{found.what} {found.under_way or found.do}"


def _sale(sale: dict[str, Any], now: str) -> None:
    taken = sale["sold"] + sale["reserved"]
    zone = sale["time_zone"]
    with st.container(key=f"card-home-{sale['id']}", border=True):
        # Columns and not one row: names of different lengths would put every countdown elsewhere.
        name, when, units = st.columns([2, 2.4, 1.4], vertical_alignment="center")
        with name, st.container(horizontal=True, vertical_alignment="center"):
            navigation.link("sale", f"**{wording.literal(sale['title'])}**", sale=sale["id"])
            parts.badge(sale["status"])
        ahead = sale["status"] == "scheduled"
        word, stamp = ("opens", sale["opens_at"]) if ahead else ("closes", sale["closes_at"])
        left_s = (zones.parse(stamp) - zones.parse(now)).total_seconds()
        when.markdown(f"{word} in **{wording.duration(left_s)}**  \n:gray[{zones.reading(stamp, zone)}]")
        bar = "" if ahead else strips.bar_html(sale["allotment"], sale["sold"], sale["reserved"], parts.mode())
        told = f"{wording.count(taken)} of {wording.count(sale['allotment'])} units taken"
        units.html(f'<div class="sp-units"><span>{told if not ahead else _stock(sale)}</span>{bar}</div>')


def _stock(sale: dict[str, Any]) -> str:
    return f"{wording.count(sale['allotment'])} units"


def _nothing() -> None:
    parts.empty(
        "Your first sale",
        "A sale is a small stock, a fixed second and a crowd. Three steps lead to the first:",
    )
    steps = (
        ("products", "**1. Add the products** it will sell, with their usual prices →"),
        ("new-sale", "**2. Describe the sale**: what, when, how many, by which rules →"),
        ("sales", "**3. Schedule it** on its own page. It opens by itself at the stored second →"),
    )
    for name, label in steps:
        navigation.link(name, label)
