"""CSV that a spreadsheet opens as text, not as formulas.

A cell that starts with ``=``, ``+``, ``-`` or ``@`` is a formula to spreadsheets, and a merchant's or shopper's
words can start with one: ``=HYPERLINK(…)`` in a title would run on the auditor's desk. Programs also skip blanks and
control characters in front of it, and fold full-width forms, so those are looked through as well.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence

_FORMULA = frozenset("=+-@")
# Zs, Zl, Zp: blanks of every width; Cc: tab, CR, LF; Cf: zero-width marks, the byte order mark.
_SKIPPED = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
_LEADING_CONTROLS = frozenset("\t\r\n")
_MINUS_SIGNS = frozenset("\u2212\u2010\u2011\u2012\u2013\u2014")
"""Compatibility folding leaves these as they are; a spreadsheet's input line does not always."""


def neutral(text: str) -> str:
    """The text, with an apostrophe in front where a spreadsheet could take it for a formula."""
    if not text:
        return text
    first = next((char for char in text if unicodedata.category(char) not in _SKIPPED), "")
    folded = unicodedata.normalize("NFKC", first)[:1]
    if folded in _FORMULA or first in _MINUS_SIGNS or text[0] in _LEADING_CONTROLS:
        return "'" + text
    return text


def csv_of(header: Sequence[str], rows: Iterable[Sequence[str | int]]) -> bytes:
    """RFC 4180 in UTF-8. Numbers stay numbers, so that −3 can be added up; every text is neutralised."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([neutral(cell) if isinstance(cell, str) else cell for cell in row])
    return out.getvalue().encode()
