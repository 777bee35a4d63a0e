"""``python -m tests.faults.entries.clock --seams DIR``: ``python -m workers.clock`` with its seams open."""

import asyncio

from backend.gate import Gate
from tests.faults.entries.common import read_options, visit
from tests.faults.seams import Seams
from workers.clock import main


def open_seams(seams: Seams) -> None:
    """The clock has one step that leaves something behind."""
    visit(Gate, "take_slots", after=lambda _: seams.pass_by("clock.after-slots"))


if __name__ == "__main__":
    open_seams(read_options())
    asyncio.run(main())
