"""What was published when and by whom; an earlier version again; and a look before anything is published."""

import asyncio
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused
from backend.core.log import get_logger
from backend.pages import repository
from backend.pages.pictures import put_beside_pages
from backend.pages.publication import picture_names, sale_page
from backend.settings import Settings
from page_renderer import Target, activate, render_preview, render_sale, versions, write_assets, write_preview

log = get_logger()

VERSIONS_SHOWN = 50
PREVIEW_KEPT = timedelta(days=1)
_TOKEN_BYTES = 24


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """One published version. ``kept``: it can be shown again."""

    version: int
    published_at: datetime
    published_by: str | None
    """An operator's address; None for the clock."""
    kept: bool


@dataclass(frozen=True, slots=True)
class Preview:
    path: str
    expires_at: datetime


async def page_versions(session: AsyncSession, settings: Settings, sale_id: UUID, slug: str) -> list[ShownVersion]:
    """Versions of a sale's page, the newest first."""
    kept = set(await asyncio.to_thread(versions, settings.pages_dir, Target.sale(slug)))
    return [
        ShownVersion(row.version, row.published_at, email, row.version in kept)
        for row, email in await repository.versions_of(session, sale_id, limit=VERSIONS_SHOWN)
    ]


async def roll_back(session: AsyncSession, settings: Settings, sale_id: UUID, version: int) -> int | None:
    """Show an earlier version again, until the page is published next; the version shown before.

    The file's switch comes before the commit, as in ``publish``. Raises ``NOT_FOUND`` for a version that never was
    or is no longer kept.
    """
    await repository.lock_sale(session, sale_id)
    row = await repository.sale_row(session, sale_id)
    try:
        await asyncio.to_thread(activate, settings.pages_dir, Target.sale(row.sale.slug), version)
    except FileNotFoundError:
        raise Refused(Code.NOT_FOUND, f"Version {version} is not kept any more.") from None
    before = row.sale.published_version
    await repository.mark_published(session, sale_id, version)
    await repository.has_what_was_wanted(session, row.sale)
    log.info("page.rolled_back", sale_id=str(sale_id), version=version)
    return before


async def preview(session: AsyncSession, settings: Settings, sale_id: UUID) -> Preview:
    """Render a sale as it is now, draft or not, under an address that nobody can guess."""
    row = await repository.sale_row(session, sale_id)
    files = {**render_sale(sale_page(row, settings)).files, **render_preview(row.sale.title).files}
    await put_beside_pages(session, settings.pages_dir, picture_names(row))
    token = token_urlsafe(_TOKEN_BYTES)
    await asyncio.to_thread(_write, settings.pages_dir, token, files)
    return Preview(f"/preview/{token}/", datetime.now(UTC) + PREVIEW_KEPT)


def _write(pages_dir: Path, token: str, files: dict[str, bytes]) -> None:
    write_assets(pages_dir)
    write_preview(pages_dir, token, files)
    # Whoever makes a new one clears away the old ones.
    for folder in (pages_dir / "preview").iterdir():
        if time.time() - folder.stat().st_mtime > PREVIEW_KEPT.total_seconds():
            shutil.rmtree(folder, ignore_errors=True)
