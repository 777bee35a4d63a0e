"""WCAG AA by arithmetic: every pair of colours that the style puts together, in both themes."""

import re

import pytest

from page_renderer import assets

_TEXT = 4.5
# Large text (19 px bold, the two buying buttons), focus rings and the outlines of fields.
_LARGE = 3.0

_PAIRS = [
    ("ink", "paper", _TEXT),
    ("ink", "card", _TEXT),
    ("ink", "wait-ground", _TEXT),
    ("grey", "paper", _TEXT),
    ("grey", "card", _TEXT),
    ("grey", "wait-ground", _TEXT),
    ("accent-text", "paper", _TEXT),
    ("accent-text", "card", _TEXT),
    ("good", "paper", _TEXT),
    ("good-ink", "good-ground", _TEXT),
    ("amber-ink", "amber-ground", _TEXT),
    ("amber-ink", "paper", _TEXT),
    ("on-accent", "accent", _LARGE),
    ("on-accent", "accent-press", _LARGE),
    ("accent", "paper", _LARGE),
    ("good", "line", _LARGE),
    ("edge", "card", _LARGE),
    ("edge", "paper", _LARGE),
    ("focus", "paper", _LARGE),
    ("focus", "card", _LARGE),
    ("focus", "good-ground", _LARGE),
]


def _themes() -> dict[str, dict[str, str]]:
    css = next(text.decode() for name, text in assets().items() if name.endswith(".css"))
    roots = re.findall(r":root\s*\{([^}]*)\}", css)
    light, dark = (dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6})", root)) for root in roots)
    return {"light": light, "dark": dark}


def _luminance(colour: str) -> float:
    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("front", "ground", "least"), _PAIRS)
def test_contrast(theme: str, front: str, ground: str, least: float) -> None:
    colours = _themes()[theme]
    assert _contrast(colours[front], colours[ground]) >= least


def test_both_themes_have_the_same_roles() -> None:
    themes = _themes()
    assert themes["light"].keys() == themes["dark"].keys()


def test_the_measure_itself() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") < _TEXT
