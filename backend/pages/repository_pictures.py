"""Queries about pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from backend.models import Picture, PictureFile
from backend.pages.encoding import EncodedPicture


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file without its content, which is read by itself when it is missing beside the pages."""

    name: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class PictureRow:
    picture: Picture
    files: tuple[FileRow, ...]
    """The largest first."""


async def pictures_of(session: AsyncSession, sku_ids: Iterable[UUID]) -> dict[UUID, list[PictureRow]]:
    """Each SKU's pictures, in their order."""
    wanted = list(sku_ids)
    found = await session.execute(
        select(Picture)
        .where(col(Picture.sku_id).in_(wanted))
        .order_by(col(Picture.sku_id), col(Picture.position), col(Picture.id))
    )
    pictures = list(found.scalars())
    files: dict[UUID, list[FileRow]] = {}
    for picture_id, name, width, height in await session.execute(
        select(col(PictureFile.picture_id), col(PictureFile.name), col(PictureFile.width), col(PictureFile.height))
        .where(col(PictureFile.picture_id).in_([one.id for one in pictures]))
        .order_by(col(PictureFile.width).desc(), col(PictureFile.name))
    ):
        files.setdefault(picture_id, []).append(FileRow(name, width, height))
    rows: dict[UUID, list[PictureRow]] = {sku_id: [] for sku_id in wanted}
    for picture in pictures:
        rows[picture.sku_id].append(PictureRow(picture, tuple(files.get(picture.id, ()))))
    return rows


async def picture_with_digest(session: AsyncSession, sku_id: UUID, digest: bytes) -> UUID | None:
    found = await session.execute(
        select(col(Picture.id)).where(col(Picture.sku_id) == sku_id, col(Picture.digest) == digest)
    )
    return found.scalar_one_or_none()


async def count_and_last(session: AsyncSession, sku_id: UUID) -> tuple[int, int]:
    """How many pictures a SKU has, and the position of the last, -1 without any."""
    found = await session.execute(
        select(func.count(), func.coalesce(func.max(col(Picture.position)), -1)).where(col(Picture.sku_id) == sku_id)
    )
    count, last = found.one()
    return count, last


async def insert_picture(
    session: AsyncSession, sku_id: UUID, *, position: int, alt: str, digest: bytes, encoded: EncodedPicture
) -> UUID:
    picture = Picture(
        sku_id=sku_id, position=position, alt=alt, width=encoded.width, height=encoded.height, digest=digest
    )
    session.add(picture)
    await session.flush()
    await session.execute(
        insert(PictureFile),
        [
            {
                "picture_id": picture.id,
                "name": one.name,
                "width": one.width,
                "height": one.height,
                "content": one.content,
            }
            for one in encoded.files
        ],
    )
    return picture.id


async def set_alt(session: AsyncSession, picture_id: UUID, alt: str) -> None:
    await session.execute(update(Picture).where(col(Picture.id) == picture_id).values(alt=alt))


async def set_order(session: AsyncSession, picture_ids: Sequence[UUID]) -> None:
    """Places from 0 on, in the order given."""
    for position, picture_id in enumerate(picture_ids):
        await session.execute(update(Picture).where(col(Picture.id) == picture_id).values(position=position))


async def delete_picture(session: AsyncSession, sku_id: UUID, picture_id: UUID) -> bool:
    """False when the SKU has no such picture. Its files go with it."""
    done = await session.execute(
        delete(Picture).where(col(Picture.id) == picture_id, col(Picture.sku_id) == sku_id).returning(col(Picture.id))
    )
    return done.first() is not None


async def content(session: AsyncSession, name: str) -> bytes | None:
    """A file by its name. Pictures of two SKUs may share one: the same name is the same content."""
    found = await session.execute(select(col(PictureFile.content)).where(col(PictureFile.name) == name).limit(1))
    return found.scalar_one_or_none()


async def smallest_file(session: AsyncSession, sku_id: UUID, picture_id: UUID) -> PictureFile | None:
    """The smallest encoding of a picture."""
    found = await session.execute(
        select(PictureFile)
        .join(Picture, col(Picture.id) == col(PictureFile.picture_id))
        .where(col(Picture.id) == picture_id, col(Picture.sku_id) == sku_id)
        .order_by(col(PictureFile.width), col(PictureFile.name).desc())
        .limit(1)
    )
    return found.scalar_one_or_none()
