"""Items of a sale from a spreadsheet's CSV: every good line becomes an item, every bad one is named with its reason."""

import csv
import io
from dataclasses import dataclass

from console import money
from console.sale_draft import UNITS_LIMIT, ItemDraft

COLUMNS = ("sku", "price", "currency", "allotment", "per_shopper_limit")
REQUIRED = frozenset({"sku", "price", "allotment"})
LINES_LIMIT = 50
BYTES_LIMIT = 64 * 1024
EXAMPLE = "sku;price;currency;allotment;per_shopper_limit\nTEE-M;19,00;EUR;100;1\n"


class CsvError(ValueError):
    """The file as a whole cannot be read; the message says what to do."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not taken, by its number in the file."""

    line: int
    why: str


def read(raw: bytes, known: frozenset[str]) -> tuple[list[ItemDraft], list[BadLine]]:
    """The items of a CSV (comma, semicolon or tab; with a header), and the lines that are none.

    Raises:
        CsvError: when it is no such file, or has too many lines.
    """
    reader = _open(raw)
    items: list[ItemDraft] = []
    bad: list[BadLine] = []
    seen: set[str] = set()
    try:
        for record in reader:
            fields = {(key or "").strip().lower(): (value or "").strip() for key, value in record.items()
                      if isinstance(value, str | None)}  # fmt: skip
            if not any(fields.values()):
                continue
            if len(items) + len(bad) >= LINES_LIMIT:
                raise CsvError(f"A sale has at most {LINES_LIMIT} items; the file has more lines.")
            try:
                item = _item(fields, known, seen)
            except ValueError as error:
                bad.append(BadLine(reader.line_num, str(error)))
            else:
                seen.add(item.sku)
                items.append(item)
    except csv.Error as error:
        raise CsvError(f"The file is no CSV: {error}.") from None
    return items, bad


def _open(raw: bytes) -> "csv.DictReader[str]":
    """The file as records, when it is UTF-8 text whose first line names the columns."""
    if len(raw) > BYTES_LIMIT:
        raise CsvError(f"The file is larger than {BYTES_LIMIT // 1024} kB.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CsvError("The file is not UTF-8: save it as “CSV UTF-8”.") from None
    lines = text.splitlines()
    if not lines:
        raise CsvError("The file is empty.")
    separator = max(";,\t", key=lines[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    names = {(name or "").strip().lower() for name in reader.fieldnames or ()}
    if not names >= REQUIRED:
        missing = ", ".join(sorted(REQUIRED - names))
        raise CsvError(f"The first line must name the columns; missing: {missing}.")
    return reader


def _item(fields: dict[str, str], known: frozenset[str], seen: set[str]) -> ItemDraft:
    sku = fields.get("sku", "")
    if sku not in known:
        raise ValueError(f"There is no product “{sku}”: add it under Products first." if sku else "No SKU.")
    if sku in seen:
        raise ValueError(f"“{sku}” stands twice.")
    currency = fields.get("currency", "").upper() or "EUR"
    if currency not in money.CURRENCIES:
        raise ValueError(f"“{currency}” is no currency we know.")
    money.to_minor(fields.get("price", ""), currency)
    return ItemDraft(
        sku=sku,
        price=fields["price"],
        currency=currency,
        allotment=_whole(fields.get("allotment", ""), "allotment", UNITS_LIMIT),
        per_shopper_limit=_whole(fields.get("per_shopper_limit", "") or "1", "per_shopper_limit", UNITS_LIMIT),
    )


def _whole(text: str, name: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most:,}, not “{text}”.")
    return int(text)
