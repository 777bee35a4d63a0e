"""What a throttle will do, said before it is done."""

from typing import Any

WINDOW_S = 10
"""The crowd is counted over the last seconds: one second alone says little."""


def waiting(series: list[dict[str, Any]], window_s: int = WINDOW_S, repeat_window_s: float = 10.0) -> int:
    """Roughly how many shoppers are still trying: tries a second that were not let through, over a repeat window.

    A shopper who is turned away comes back once a repeat window, so tries times window is heads.
    """
    recent = series[-window_s - 1 : -1]
    if not recent:
        return 0
    tries = sum(int(point.get("THROTTLED", 0)) + int(point.get("BACKLOG", 0)) for point in recent) / len(recent)
    return round(tries * max(1.0, repeat_window_s))


def effect(rate_per_s: float, crowd: int, available: int) -> str:
    """What this rate means now, as one sentence."""
    if available <= 0:
        return "Nothing is available: the rate decides who comes first when units come back."
    sold_out_s = available / rate_per_s
    if crowd <= 0:
        return f"At this rate {available:,} available units would last at least {_span(sold_out_s)}."
    if crowd <= available:
        return f"About {_span(crowd / rate_per_s)} to clear the crowd of about {crowd:,}."
    return (
        f"About {_span(sold_out_s)} until the {available:,} available units are taken; "
        f"about {crowd:,} shoppers are trying."
    )


def outlook(rate_per_s: float, crowd: int, available: int) -> str:
    """The same in a few words, for under a figure; what ends first is what is said."""
    if available <= 0:
        return "nothing available"
    if crowd <= 0:
        return "nobody turned away"
    if crowd <= available:
        return f"crowd clears in ~{_span(crowd / rate_per_s)}"
    return f"sold out in ~{_span(available / rate_per_s)}"


def pace(rate_per_s: float, burst: int, units: int) -> str:
    """How fast a sale can sell out under its throttle: the figure that a rate is chosen by."""
    if units <= burst:
        return (
            f"All {units:,} units fit into the first burst: the fastest {units:,} shoppers decide it in the first "
            "second. A burst below the units gives the others a chance."
        )
    return (
        f"At this pace {units:,} units last {_span((units - burst) / rate_per_s)} or longer: {burst:,} in the first "
        f"second, then {rate_per_s:,.10g} a second. Slower is fairer; faster is over sooner."
    )


def _span(seconds: float) -> str:
    if seconds < 1:
        return "1 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h"
