"""The ledger browser: every movement of units, found by what caused it."""

import re
from typing import Any

import streamlit as st

from console import downloads, session, wording, zones
from console.views import parts

KINDS = ("allot", "reserve", "sell", "release", "reject", "adjust")
_ID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}", re.ASCII)


def show(sale: dict[str, Any]) -> None:
    """Entries, newest first, by cause, item and kind. A `cause` in the address is looked for at once."""
    zone = sale["time_zone"]
    parts.asked_for("cause", "ledger-cause")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        cause = st.text_input(
            "Cause", key="ledger-cause", placeholder="Id of a reservation, an order or a command", type="search"
        )
        sku = st.selectbox(
            "Item", ["", *(i["sku"] for i in sale["items"])], key="ledger-sku", width=200,
            format_func=lambda s: wording.plain(s) if s else "All",
        )  # fmt: skip
        kind = st.selectbox(
            "Kind", ["", *KINDS], key="ledger-kind", width=160,
            format_func=lambda s: wording.kind(s) if s else "All",
        )  # fmt: skip
    parts.download_links(("Download ledger (NDJSON)", downloads.ledger_href(sale["id"])))
    wanted = (cause or "").strip()
    if wanted and not _ID.fullmatch(wanted):
        st.caption(":orange[That is no id. Copy one from an order, a finding or the activity.]")
        return
    query = (sale["id"], wanted, sku or "", kind or "")
    trail = parts.trail("ledger", query)
    answer = session.read(
        f"/audit/sales/{sale['id']}/entries", cause=wanted, sku=sku or "", kind=kind or "",
        before=trail[-1] if trail else "",
    )  # fmt: skip
    rows = [_row(entry, zone) for entry in answer["entries"]]
    if not rows:
        parts.empty("No entries", "Stock, reservations, sales and releases each leave an entry that nobody can change.")
        return
    st.dataframe(rows, hide_index=True, width="stretch", alt="Ledger entries")
    parts.pager("ledger", trail, answer.get("next_before"))


def _row(entry: dict[str, Any], zone: str) -> dict[str, Any]:
    return {
        "Entry": entry["id"],
        "Time": zones.short(entry["at"], zone),
        "SKU": wording.plain(entry["sku"]),
        "Kind": wording.kind(entry["kind"]),
        "Units": entry["quantity"],
        "Allotment": f"{entry['allotment_delta']:+d}" if entry["allotment_delta"] else "",
        "Available": f"{entry['available_delta']:+d}" if entry["available_delta"] else "",
        "Reserved": f"{entry['reserved_delta']:+d}" if entry["reserved_delta"] else "",
        "Sold": f"{entry['sold_delta']:+d}" if entry["sold_delta"] else "",
        "Journal": wording.plain(entry.get("journal_entry", "")),
        "Order": wording.plain(entry.get("order_id", "")),
        "Reservation": wording.plain(entry.get("reservation_id", "")),
        "Command": wording.plain(entry.get("command_id", "")),
    }
