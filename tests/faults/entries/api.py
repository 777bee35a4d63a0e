"""``python -m tests.faults.entries.api --seams DIR …``: ``python -m backend.main`` with its seams open."""

import sys
from typing import Any

from backend.gate import Gate, Outcome
from backend.main import main
from backend.orders import repository_settlement
from tests.faults.entries.common import read_options, visit
from tests.faults.seams import Seams


def open_seams(seams: Seams) -> None:
    """Every step of an API process's work at which it may die."""

    def answered(batch: Any) -> None:
        # A batch of refusals has taken no unit: dying with it would prove nothing.
        if any(one.outcome is Outcome.RESERVED for one in batch.decisions):
            seams.pass_by("admit.after-script")

    visit(Gate, "admit", before=lambda: seams.pass_by("admit.before-script"), after=answered)
    visit(repository_settlement, "settle", after=lambda _: seams.pass_by("settle.before-commit"))


if __name__ == "__main__":
    open_seams(read_options())
    sys.exit(main(sys.argv[1:]))
