"""A SKU's pictures: sent, listed, taken away, and put beside the pages that show them.

The files' home is the ledger; the folder that nginx serves is filled from there at each publication, so a new or
emptied folder gets them back.
"""

import asyncio
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from backend.core.errors import Code, Refused
from backend.models import PictureFile
from backend.pages import repository_pictures as repository
from backend.pages.encoding import EncodedPicture, encode
from backend.pages.repository_pictures import PictureRow
from page_renderer import missing_files, write_files

PICTURES_MAX = 8
"""Of one SKU; more is a catalogue, and nobody scrolls through it at 20:00:00."""

_one_at_a_time = asyncio.Semaphore(1)
"""Decoding takes a core and, at worst, some 200 MB: two uploads at once must not take two of each."""


async def encode_upload(upload: bytes) -> EncodedPicture:
    """The files of an upload, in a thread. Raises ``INVALID_FIELD``."""
    async with _one_at_a_time:
        return await asyncio.to_thread(encode, upload)


async def add_picture(
    session: AsyncSession, sku_id: UUID, *, upload: bytes, alt: str, encoded: EncodedPicture
) -> PictureRow:
    """Keep a picture as the SKU's last. The same file again is the picture it already is.

    The caller holds the SKU's row. Raises ``CONFLICT`` when the SKU has ``PICTURES_MAX``.
    """
    digest = sha256(upload).digest()
    picture_id = await repository.picture_with_digest(session, sku_id, digest)
    if picture_id is None:
        count, last = await repository.count_and_last(session, sku_id)
        if count >= PICTURES_MAX:
            raise Refused(Code.CONFLICT, f"A SKU has at most {PICTURES_MAX} pictures; take one away first.")
        picture_id = await repository.insert_picture(
            session, sku_id, position=last + 1, alt=alt, digest=digest, encoded=encoded
        )
    rows = await repository.pictures_of(session, [sku_id])
    return next(row for row in rows[sku_id] if row.picture.id == picture_id)


async def remove_picture(session: AsyncSession, sku_id: UUID, picture_id: UUID) -> None:
    """Take a picture away; pages show it until they are published next. Raises ``NOT_FOUND``."""
    if not await repository.delete_picture(session, sku_id, picture_id):
        raise Refused(Code.NOT_FOUND)


async def change_picture(
    session: AsyncSession, sku_id: UUID, picture_id: UUID, *, alt: str | None = None, position: int | None = None
) -> dict[str, Any]:
    """Give a picture other words, or another place among the SKU's; its ``alt`` and ``position`` before.

    The caller holds the SKU's row. Places are counted anew from 0, without the gaps that pictures taken away left.
    Raises ``NOT_FOUND``.
    """
    rows = await pictures_of_sku(session, sku_id)
    at = next((place for place, row in enumerate(rows) if row.picture.id == picture_id), None)
    if at is None:
        raise Refused(Code.NOT_FOUND)
    before = {"alt": rows[at].picture.alt, "position": at}
    if alt is not None:
        await repository.set_alt(session, picture_id, alt)
    if position is not None:
        rows.insert(position, rows.pop(at))
        await repository.set_order(session, [row.picture.id for row in rows])
    return before


async def pictures_of_sku(session: AsyncSession, sku_id: UUID) -> list[PictureRow]:
    """A SKU's pictures, in the order in which the page shows them."""
    return (await repository.pictures_of(session, [sku_id]))[sku_id]


async def small_file(session: AsyncSession, sku_id: UUID, picture_id: UUID) -> PictureFile:
    """The smallest file of a picture, to look at in the console. Raises ``NOT_FOUND``."""
    found = await repository.smallest_file(session, sku_id, picture_id)
    if found is None:
        raise Refused(Code.NOT_FOUND)
    return found


async def put_beside_pages(session: AsyncSession, pages_dir: Path, names: Iterable[str]) -> None:
    """Write the files that are not there yet, before a page that names them is shown."""
    missing = await asyncio.to_thread(missing_files, pages_dir, tuple(names))
    # One at a time: eight pictures of four files each are some 3 MB.
    for name in missing:
        content = await repository.content(session, name)
        if content is not None:  # taken away meanwhile: the page is about to be published without it
            await asyncio.to_thread(write_files, pages_dir, {name: content})
