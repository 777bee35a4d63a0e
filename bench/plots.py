"""Horizontal bars as SVG: a few lines of markup instead of a plotting library."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#3b6fb6", "#d98c28", "#4c9a5f", "#a0529f", "#7a7a7a", "#c2514e")
"""Told apart by brightness too, on the white ground that the plots bring along."""
_WIDTH, _LABEL, _RIGHT, _ROW, _BAR = 760, 230, 90, 30, 18
_HEAD, _FOOT = 44, 34


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a median in parts, and the whiskers of its sum."""

    label: str
    parts: Sequence[float]
    lowest: float
    highest: float

    @property
    def total(self) -> float:
        return sum(self.parts)


def draw(title: str, unit: str, bars: Sequence[Bar], parts: Sequence[str] = ()) -> str:
    """An SVG document. ``parts`` names what bars are stacked of; none for plain bars."""
    most = max((max(bar.highest, bar.total) for bar in bars), default=0.0) or 1.0
    scale = (_WIDTH - _LABEL - _RIGHT) / most
    height = _HEAD + _ROW * len(bars) + (_FOOT if parts else 10)
    size = f'width="{_WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {size} role="img"',
        f'     aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect {size} fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="600" fill="#111111">{escape(title)}, {escape(unit)}</text>',
    ]
    for at, bar in enumerate(bars):
        lines += _bar(bar, _HEAD + at * _ROW, scale)
    lines += _legend(parts, height - 14)
    return "\n".join([*lines, "</svg>", ""])


def _bar(bar: Bar, top: float, scale: float) -> list[str]:
    middle = top + _BAR / 2
    lines = [
        f'<text x="{_LABEL - 10}" y="{middle + 4.5:.1f}" text-anchor="end" fill="#222222">{escape(bar.label)}</text>'
    ]
    left = float(_LABEL)
    for at, part in enumerate(bar.parts):
        colour = COLOURS[at % len(COLOURS)]
        lines.append(
            f'<rect x="{left:.1f}" y="{top}" width="{max(part * scale, 0.5):.1f}" height="{_BAR}" fill="{colour}"/>'
        )
        left += part * scale
    low, high = _LABEL + bar.lowest * scale, _LABEL + bar.highest * scale
    lines.append(f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#111111" stroke-width="1.5"/>')
    end = max(left, high) + 6
    lines.append(f'<text x="{end:.1f}" y="{middle + 4.5:.1f}" fill="#222222">{_number(bar.total)}</text>')
    return lines


def _legend(parts: Sequence[str], y: float) -> list[str]:
    lines, x = [], float(_LABEL)
    for at, part in enumerate(parts):
        lines.append(f'<rect x="{x:.0f}" y="{y - 10:.0f}" width="11" height="11" fill="{COLOURS[at % len(COLOURS)]}"/>')
        lines.append(f'<text x="{x + 16:.0f}" y="{y:.0f}" fill="#222222">{escape(part)}</text>')
        x += 34 + 7.5 * len(part)
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
