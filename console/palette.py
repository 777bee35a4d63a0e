"""Colours that mean something, in both themes (docs: LOOK; the theme file has the rest)."""

from typing import Literal

Mode = Literal["light", "dark"]

# The first five are fixed by the design, the same in every chart and table and in both themes.
OUTCOME_COLOURS = {
    "reserved": "#1f8a5b",
    "throttled": "#e0a021",
    "repeated": "#b9bdc6",
    "sold_out": "#7a8190",
    "link_refused": "#3a3f4a",
    "other": "#d8d2c4",
}

UNIT_COLOURS: dict[Mode, dict[str, str]] = {
    "light": {"sold": "#1f8a5b", "reserved": "#8fc4aa", "available": "#d9d6ce"},
    "dark": {"sold": "#1f8a5b", "reserved": "#8fc4aa", "available": "#454a56"},
}
"""Sold and reserved share the green of "explained"; available is near the paper it is drawn on."""

_ROLES: dict[Mode, dict[str, str]] = {
    "light": {
        "ink": "#16181d", "grey": "#5b606b", "line": "#e6e3dc", "card": "#ffffff",
        "accent": "#d9401f", "danger": "#b8320f", "good": "#17714a", "warn": "#8a5a00", "outline": "#ffffff",
    },
    "dark": {
        "ink": "#eceae5", "grey": "#a6abb6", "line": "#343842", "card": "#1e2128",
        "accent": "#ff7a5c", "danger": "#ff9179", "good": "#5cc796", "warn": "#e9b44c", "outline": "#5b606b",
    },
}  # fmt: skip


def roles(mode: Mode) -> dict[str, str]:
    """The colour of each role in one theme; text against `card` has a contrast of 4.5 or more."""
    return _ROLES[mode]
