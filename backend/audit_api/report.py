"""A reconciliation run as one HTML file that stands alone: no script, no other file, plots as SVG.

An auditor can keep it, print it and open it in ten years. Stored words go in escaped, numbers as numbers.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from sqlalchemy import Row

from backend.core.clock import rfc3339
from backend.models import ReconciliationRun, Sale

HTML_MEDIA_TYPE = "text/html"
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Inside the file too: opened from a disk it still loads and runs nothing."""

_STYLE = """
:root{color-scheme:light}body{margin:0 auto;max-width:900px;padding:32px 20px;background:#fbfaf7;color:#16181d;
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:26px;letter-spacing:-.02em;margin:0}h2{font-size:18px;letter-spacing:-.02em;margin:32px 0 8px}
.grey{color:#5b606b}.good{color:#17714a}.bad{color:#b8320f}section,table{background:#fff;border:1px solid #e6e3dc;
border-radius:12px}section{padding:16px 20px}table{border-collapse:separate;border-spacing:0;width:100%}
th,td{padding:8px 12px;text-align:left;border-bottom:1px solid #e6e3dc;vertical-align:top}tr:last-child td{border:0}
th{color:#5b606b;font-weight:600}td.n,th.n{text-align:right}strong{font-size:20px}dl{display:flex;flex-wrap:wrap;
gap:12px 32px;margin:0}dt{color:#5b606b;font-size:13px}dd{margin:0;font-size:20px;font-weight:650}
svg{display:block;width:100%;height:auto}
"""
_UNIT_COLOURS = (("sold", "#1f8a5b"), ("reserved", "#8fc4aa"), ("available", "#d9d6ce"))


def run_as_html(
    run: ReconciliationRun, sale: Sale, sign_offs: Sequence[Row[Any]], movements: Sequence[Row[Any]]
) -> bytes:
    """The report. ``movements``: (at, available, reserved, sold) over the sale's life, oldest first."""
    items = run.balance.get("items", [])
    parts = [
        _head(run, sale),
        _equation(items),
        "<h2>Units over time</h2>",
        f"<section>{_over_time(movements)}</section>",
        "<h2>Balance by item</h2>",
        _items(items),
        "<h2>Findings</h2>",
        _findings(run.findings),
        "<h2>Sign-off</h2>",
        _sign_offs(sign_offs, str(run.id)),
    ]
    title = f"Reconciliation of {escape(sale.title)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    ).encode()


def _head(run: ReconciliationRun, sale: Sale) -> str:
    clean = run.verdict.value == "clean"
    words = (
        "Clean: every unit is available, reserved, sold, or explained."
        if clean
        else f"Findings: {len(run.findings)}. Not every unit is explained."
    )
    figures = "".join(
        f"<div><dt>{name.capitalize()}</dt><dd>{getattr(run, name):,}</dd></div>"
        for name in ("oversold", "stranded", "drift", "duplicates")
    )
    return (
        f'<h1>{escape(sale.title)}</h1><p class="grey">Reconciliation {run.id} of sale {escape(sale.slug)} '
        f"({sale.id}), "
        f"{rfc3339(run.started_at)} to {rfc3339(run.finished_at)}, started by {escape(run.trigger)}. "
        f"The sale was open from {rfc3339(sale.opens_at)} to {rfc3339(sale.closes_at)}. All times are UTC.</p>"
        f'<section><p class="{"good" if clean else "bad"}"><strong>{words}</strong></p><dl>{figures}</dl></section>'
    )


def _equation(items: Sequence[dict[str, Any]]) -> str:
    """The sum over all items, which can be read aloud, and the same as a bar."""
    allotment = sum(int(item["allotment"]) for item in items)
    parts = {name: sum(int(item["ledger"][name]) for item in items) for name, _ in _UNIT_COLOURS}
    x, bars = 0.0, []
    for name, colour in _UNIT_COLOURS:
        width = 860 * parts[name] / max(1, allotment)
        bars.append(
            f'<rect x="{x:.2f}" width="{width:.2f}" height="18" fill="{colour}">'
            f"<title>{name} {parts[name]}</title></rect>"
        )
        x += width
    return (
        f"<h2>The equation</h2><section><p>{allotment:,} allotment = {parts['available']:,} available + "
        f"{parts['reserved']:,} reserved + {parts['sold']:,} sold</p>"
        f'<svg viewBox="0 0 860 18" role="img" aria-label="Sold, reserved and available units">{"".join(bars)}</svg>'
        "</section>"
    )


def _over_time(movements: Sequence[Row[Any]]) -> str:
    """Steps, stacked: sold at the bottom, then reserved, then available up to the allotment."""
    if len(movements) < 2:
        return '<p class="grey">Nothing has moved yet.</p>'
    start, end = movements[0].at, movements[-1].at
    span_s = max(1.0, (end - start).total_seconds())
    top = max(1, *(row.available + row.reserved + row.sold for row in movements))
    layers, base = [], [0] * len(movements)
    for name, colour in _UNIT_COLOURS:
        upper = [low + int(getattr(row, name)) for low, row in zip(base, movements, strict=True)]
        xs = [760 * (row.at - start).total_seconds() / span_s + 60 for row in movements]
        forth = _steps(xs, [180 - 170 * value / top for value in upper])
        back = _steps(xs, [180 - 170 * value / top for value in base])[::-1]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*forth, *back))
        layers.append(f'<polygon points="{points}" fill="{colour}"><title>{name}</title></polygon>')
        base = upper
    labels = (
        f'<text x="54" y="16" text-anchor="end">{top:,}</text><text x="54" y="184" text-anchor="end">0</text>'
        f'<text x="60" y="202">{start:%Y-%m-%d %H:%M:%S}</text>'
        f'<text x="820" y="202" text-anchor="end">{end:%H:%M:%S} UTC</text>'
    )
    legend = " · ".join(f'<span style="color:{colour}">■</span> {name}' for name, colour in _UNIT_COLOURS)
    return (
        f'<svg viewBox="0 0 840 210" role="img" aria-label="Units over time by state" font-size="12" fill="#5b606b">'
        f'{"".join(layers)}{labels}</svg><p class="grey">{legend}</p>'
    )


def _steps(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """A value holds until the next: the corners of its stairs."""
    corners = [(xs[0], ys[0])]
    for i in range(1, len(xs)):
        corners += [(xs[i], ys[i - 1]), (xs[i], ys[i])]
    return corners


def _table(heads: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """Numbers stand right. Every text is escaped here and nowhere else."""
    numeric = [bool(rows) and isinstance(rows[0][i], int) for i in range(len(heads))]
    css = [' class="n"' if one else "" for one in numeric]
    head = "".join(f"<th{c}>{escape(name)}</th>" for name, c in zip(heads, css, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{c}>{_cell(cell)}</td>" for cell, c in zip(row, css, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(value)


def _items(items: Sequence[dict[str, Any]]) -> str:
    rows = [
        (item["sku"], int(item["allotment"]), int(item["ledger"]["available"]), int(item["ledger"]["reserved"]),
         int(item["ledger"]["sold"]), int(item["gate"]["available"]), int(item["gate"]["held"]), int(item["in_flight"]),
         int(item["drift"]))
        for item in items
    ]  # fmt: skip
    heads = ("SKU", "Allotment", "Available", "Reserved", "Sold", "Gate available", "Gate held", "In flight", "Drift")
    return _table(heads, rows)


def _findings(findings: Sequence[dict[str, Any]]) -> str:
    if not findings:
        return '<section class="good">None.</section>'
    rows = [
        (
            one["rule"],
            one["message"],
            " ".join(f"{name}={value}" for name, value in {**one["ids"], **one["numbers"]}.items()),
        )
        for one in findings
    ]
    return _table(("Rule", "What it says", "Where"), rows)


def _sign_offs(rows: Sequence[Row[Any]], run_id: str) -> str:
    mine = [row for row in rows if row.run_id == run_id]
    if not mine:
        return '<section class="grey">Nobody has signed this run off.</section>'
    return _table(
        ("When", "Who", "Remark"), [(rfc3339(row.at), f"{row.email} ({row.role})", row.remark) for row in mine]
    )
