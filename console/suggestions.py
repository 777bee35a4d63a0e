"""What the sale form suggests, and why."""

from dataclasses import dataclass

WHEN = (
    "Suggested: in a week, so that it can be announced, at eight in the evening, when most people are at home. "
    "An hour is enough: the rush is over in minutes, and what unpaid holds give back is sold in the rest."
)
LIMIT = "One for each shopper is suggested: it is the fairest, and buying to resell gains the least."
LEAD = "Ten minutes leave time to mend what the pre-flight finds."
LINKS = "Five minutes: long enough to press the button, too short to pass a link around."
HOLD = "A quarter of an hour is enough to fetch a card; what is not paid by then goes to the next."
REPEAT = "Ten seconds: pressing faster gains nothing, so nobody needs a machine to press."

LASTS_S = 60
"""A minute: those on slow lines come through too, and nobody waits for long."""
_NICE = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Pace:
    """A throttle for a number of units, with its reason."""

    rate_per_s: float
    burst: int
    why: str


def pace(units: int) -> Pace:
    """A rate at which the units last for about a minute, whatever the crowd: a round figure, at least one a second."""
    rate = _round(max(1.0, units / LASTS_S))
    return Pace(
        rate,
        max(1, round(rate)),
        f"For {units:,} units: {rate:,.10g} a second, so that they last about {_lasts(units / rate)} however large the "
        "crowd is. Those on slow lines come through too, and a fast machine gains nothing.",
    )


def _round(rate: float) -> float:
    """The nearest of 1, 2, 5, 10, 20, 50 …"""
    scale = 1.0
    while scale * 10 <= rate:
        scale *= 10
    return min((scale * one for one in (*_NICE, 10)), key=lambda nice: abs(nice - rate))


def _lasts(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes"
