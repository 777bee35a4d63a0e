"""A reconciliation run as CSV, and which form a caller wants."""

from collections.abc import Iterator

from backend.core.cells import csv_of
from backend.core.clock import rfc3339
from backend.models import ReconciliationRun, Sale

CSV_MEDIA_TYPE = "text/csv"
_HEADER = ("record", "rule", "message", "sku", "reference", "allotment", "available", "reserved", "sold",
           "gate_available", "gate_held", "in_flight", "drift")  # fmt: skip
_ITEM_NUMBERS = 8


def wants_csv(accept: str, asked: str | None) -> bool:
    """``?format=`` decides; without it CSV is sent to those who prefer it to JSON."""
    if asked is not None:
        return asked == "csv"
    return _quality(accept, CSV_MEDIA_TYPE) > _quality(accept, "application/json")


def wants_html(accept: str, asked: str | None) -> bool:
    """The same for HTML: what a browser that is sent to the address asks for."""
    if asked is not None:
        return asked == "html"
    wanted = _quality(accept, "text/html")
    return wanted > max(_quality(accept, "application/json"), _quality(accept, CSV_MEDIA_TYPE))


def _quality(accept: str, media_type: str) -> float:
    """The weight of a media type in an ``Accept`` header (RFC 9110): the most specific range counts."""
    ranges = {"*/*": 0, f"{media_type.partition('/')[0]}/*": 1, media_type: 2}
    best, quality = -1, 0.0
    for one in accept[:1_000].split(","):
        name, _, parameters = one.partition(";")
        rank = ranges.get(name.strip().lower(), -1)
        if rank > best:
            best, quality = rank, _weight(parameters)
    return quality


def _weight(parameters: str) -> float:
    for one in parameters.split(";"):
        name, _, value = one.strip().partition("=")
        if name.lower() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def run_as_csv(run: ReconciliationRun, sale: Sale) -> bytes:
    """One row for the run, one for each item, one for each finding; every row has every column."""
    return csv_of(_HEADER, _rows(run, sale))


def _rows(run: ReconciliationRun, sale: Sale) -> Iterator[tuple[str | int, ...]]:
    summary = (
        f"{sale.slug}: oversold {run.oversold}, stranded {run.stranded}, drift {run.drift}, "
        f"duplicates {run.duplicates}; {rfc3339(run.started_at)} to {rfc3339(run.finished_at)}"
    )
    yield ("run", run.verdict.value, summary, "", str(run.id), *[""] * (_ITEM_NUMBERS - 1), run.drift)
    for item in run.balance.get("items", ()):
        ledger, gate = item["ledger"], item["gate"]
        yield (
            "item",
            "",
            "",
            item["sku"],
            "",
            item["allotment"],
            ledger["available"],
            ledger["reserved"],
            ledger["sold"],
            gate["available"],
            gate["held"],
            item["in_flight"],
            item["drift"],
        )
    for finding in run.findings:
        ids = dict(finding["ids"])
        sku = ids.pop("sku", "")
        reference = " ".join(f"{name}={value}" for name, value in {**ids, **finding["numbers"]}.items())
        yield ("finding", finding["rule"], finding["message"], sku, reference, *[""] * _ITEM_NUMBERS)
