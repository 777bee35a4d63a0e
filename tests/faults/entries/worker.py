"""``python -m tests.faults.entries.worker --seams DIR …``: ``python -m workers`` with its seams open."""

from typing import Any

from backend.gate import Gate
from backend.notifications.channel import EmailChannel
from backend.orders import relay, repository, repository_drain, repository_settlement
from tests.faults.entries.common import read_options, visit
from tests.faults.seams import Seams
from workers.__main__ import main


def open_seams(seams: Seams) -> None:
    """Every step of a worker's work at which it may die."""
    moved = False

    def cursor_moved(_: Any) -> None:
        nonlocal moved
        moved = True
        seams.pass_by("drain.before-commit")

    def before_publishing() -> None:
        # `applied` is published each turn, also when nothing is new: only a turn that committed something counts.
        nonlocal moved
        if moved:
            moved = False
            seams.pass_by("drain.after-commit")

    visit(Gate, "entries", before=lambda: seams.pass_by("drain.before-reading"))
    visit(repository_drain, "move_cursor", after=cursor_moved)
    visit(Gate, "publish_applied", before=before_publishing)
    visit(repository, "end_reservations", after=lambda _: seams.pass_by("expiry.before-commit"))
    visit(
        relay,
        "_tell",
        before=lambda: seams.pass_by("relay.before-telling"),
        after=lambda _: seams.pass_by("relay.after-telling"),
    )
    visit(repository_settlement, "settle", after=lambda _: seams.pass_by("settle.before-commit"))
    visit(
        EmailChannel,
        "send",
        before=lambda: seams.pass_by("notify.before-sending"),
        after=lambda _: seams.pass_by("notify.after-sending"),
    )


if __name__ == "__main__":
    open_seams(read_options())
    main()
