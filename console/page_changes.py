"""What has changed of a sale's page since it was published, in words: lines of the API's `changes`."""

from collections.abc import Mapping
from typing import Any

from console import happenings, money, wording, zones

SHOWN = {
    "title": "Title", "slug": "Address", "opens_at": "Opening", "closes_at": "Closing", "time_zone": "Time zone",
    "description": "Description", "language": "Language", "delivery_required": "Asks where to deliver",
    "items": "Products and prices", "hold_s": "Time to pay", "payment_required": "Payment",
    "repeat_window_ms": "Repeat window", "name": "Name", "options": "Options", "usual_price": "Usual price",
}  # fmt: skip
"""What a page shows of a sale and its products; the rest of a change (the throttle, say) is not on it."""
_PICTURES = {
    "sku.picture": "Picture added",
    "sku.picture_removed": "Picture taken away",
    "sku.picture_changed": "Picture moved or described anew",
}
_LONG = frozenset({"description", "items", "options"})


def said(line: Mapping[str, Any], zone: str) -> list[str]:
    """What one change did to the page: "Title: Friday tee → Friday tee, again"; nothing for what no page shows."""
    if line["kind"] in _PICTURES:
        alt = (line.get("after") or {}).get("alt")
        return [_PICTURES[line["kind"]] + (f": {wording.plain(alt)}" if alt else "")]
    old, new = happenings.difference(line.get("before"), line.get("after"))
    sku = f"{wording.plain(new['sku'])}, " if line["kind"].startswith("sku.") and "sku" in new else ""
    return [
        f"{sku}{words[0].lower() if sku else words[0]}{words[1:]}"
        for name, words in ((name, _words(name, old, new, zone)) for name in SHOWN if name in new or name in old)
        if words
    ]


def _words(name: str, old: Mapping[str, Any], new: Mapping[str, Any], zone: str) -> str:
    if name in _LONG:
        return f"{SHOWN[name]} changed"
    return f"{SHOWN[name]}: {_value(name, old.get(name), zone)} → {_value(name, new.get(name), zone)}"


def _value(name: str, value: Any, zone: str) -> str:
    if value is None:
        return "–"
    if name in {"opens_at", "closes_at"}:
        return zones.reading(str(value), zone)
    if name == "usual_price" and isinstance(value, dict):
        return money.label(value) if {"amount_minor", "currency"} <= value.keys() else wording.said(value)
    return wording.said(value) or "–"
