"""``GET activity/verify``: whether the activity log is the one that was recorded."""

from typing import Annotated

from fastapi import APIRouter, Query

from backend.accounts import Checked, Kept, check_activity
from backend.api import AnyOperator, State
from backend.core.errors import invalid_field
from backend.core.fields import Id, Moment, View
from backend.core.http import StrictRoute

router = APIRouter(route_class=StrictRoute)

CHECK_MAX_AGE_S = 2.0
"""A check reads the whole log, so those who ask at the same time share one."""


class HeadView(View):
    """What to note down, to compare a later log with."""

    entries: int
    digest: str


class BrokenView(View):
    reason: str
    """``altered removed added cut seal marked forked``."""
    entry: int | None = None
    command_id: Id | None = None
    kind: str | None = None
    at: Moment | None = None
    since: Moment | None = None


class VerifiedView(View):
    verified: bool
    entries: int
    """Entries that were read and are good: up to the first broken one."""
    head: HeadView
    checked_at: Moment
    first_broken: BrokenView | None = None


@router.get("/activity/verify")
async def verify_activity(
    actor: AnyOperator,
    state: State,
    entries: Annotated[int | None, Query(ge=1, le=2**62, description="`head.entries` as it was noted")] = None,
    digest: Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$", description="`head.digest` as noted")] = None,
) -> VerifiedView:
    """Read the merchant's log from its first entry. With a noted head also whether the log still goes on from it."""
    if (entries is None) != (digest is None):
        raise invalid_field("digest" if digest is None else "entries", "Give both numbers of the head, or neither.")
    kept = Kept(entries, bytes.fromhex(digest)) if entries is not None and digest is not None else None
    checked = await state.shared.get(
        ("activity", actor.merchant_id, kept),
        CHECK_MAX_AGE_S,
        lambda: check_activity(state.database, state.seal_key, actor.merchant_id, kept=kept),
    )
    return _view(checked)


def _view(checked: Checked) -> VerifiedView:
    broken = checked.first_broken
    return VerifiedView(
        verified=checked.verified,
        entries=checked.entries,
        head=HeadView(entries=checked.head.entries, digest=checked.head.digest.hex()),
        checked_at=checked.at,
        first_broken=None
        if broken is None
        else BrokenView(
            reason=broken.reason.value,
            entry=broken.entry,
            command_id=broken.command_id,
            kind=broken.kind,
            at=broken.at,
            since=broken.since,
        ),
    )
