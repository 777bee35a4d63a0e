"""Sold-out markers: files that let nginx answer link requests, and the race they have with returning units.

A marker that stays while units are to be had strands them behind a "sold out". Two parties touch it:

    the relay        R1 reads outbox rows (committed before)   R2 clears the marker   R3 gives the units to the gate
    the publisher    W1 reads the clearing's count   W2 reads the outbox   W3 reads the gate   W4 sets the marker

W4 must not happen after R2 when W3 saw the gate before R3. If R2 came after W1, the count has changed: W4 compares
it under the same lock under which R2 raises it, and does nothing. If R2 came before W1 and R3 comes after W3, then
the row, committed before R1, is pending at W2: the publisher sees it and does nothing. There is no third case,
however long either party sleeps between its steps; a row stays pending until the drain has read the journal entry
that R3 wrote. Nothing more is needed than that the relay clears after it has read the rows and before it tells the
gate, and that the publisher keeps its order.

Removing a marker is always safe: the API then answers what nginx had answered.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from backend.settings import Settings
from page_renderer import set_sold_out
from page_renderer.model import check_sku, check_slug

_COUNT_CHARS = 20


async def clear_sold_out(settings: Settings, slug: str, sku: str) -> None:
    """Remove an item's marker, and keep every publisher that has looked before this from setting it again.

    For whoever gives units to the gate: after reading what to give, before giving it.
    """
    await asyncio.to_thread(_clear, settings.pages_dir, slug, sku)


def clearings(pages_dir: Path, slug: str, sku: str) -> int:
    """How often the marker was cleared; to be read before the outbox and the gate."""
    with _counter(pages_dir, slug, sku) as descriptor:
        return _read(descriptor)


def mark_sold_out(pages_dir: Path, slug: str, sku: str, *, seen_clearings: int) -> bool:
    """Set the marker, unless it was cleared since ``seen_clearings`` was read; whether it stands now."""
    with _counter(pages_dir, slug, sku) as descriptor:
        if _read(descriptor) != seen_clearings:
            return False
        set_sold_out(pages_dir, slug, sku, True)
        return True


def unmark(pages_dir: Path, slug: str, sku: str) -> None:
    """Remove the marker because units are available, or because the sale is over and has another answer."""
    set_sold_out(pages_dir, slug, sku, False)


def _clear(pages_dir: Path, slug: str, sku: str) -> None:
    with _counter(pages_dir, slug, sku) as descriptor:
        os.pwrite(descriptor, f"{_read(descriptor) + 1:0{_COUNT_CHARS}d}".encode(), 0)
        set_sold_out(pages_dir, slug, sku, False)


@contextmanager
def _counter(pages_dir: Path, slug: str, sku: str) -> Iterator[int]:
    """The item's count of clearings, locked. Its name starts with a dot, which no SKU does."""
    folder = pages_dir / "soldout" / check_slug(slug)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f".{check_sku(sku)}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        flock(descriptor, LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> int:
    return int(os.pread(descriptor, _COUNT_CHARS, 0) or b"0")
